//! What is written in settings and by whom, for a person: secrets are taken out.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use weir_protocol::settings::{SettingsError, Source, Written};

use crate::redact;

/// One key that somebody wrote; what nobody wrote has its default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// Its path, as `uplink.window` or `serial[0].path`.
    pub key: String,
    /// What it is set to.
    pub value: Value,
    /// Who says so: file and line, remote settings and line, or a variable of the environment.
    pub source: String,
}

impl Setting {
    /// All that are written, by their keys.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub(super) fn all(source: &Source) -> Result<Vec<Self>, SettingsError> {
        let hidden = |Written { key, mut value, source }: Written<Value>| {
            redact::hide(&key, &mut value);
            Self { key, value, source }
        };
        Ok(source.written()?.into_iter().map(hidden).collect())
    }

    /// The keys that two sets of settings do not agree on.
    pub fn differences<'a>(some: &'a [Self], others: &'a [Self]) -> Vec<&'a str> {
        let missing = |from: &'a [Self], to: &'a [Self]| {
            let is_in = move |of: &Self| to.iter().any(|other| other.key == of.key && other.value == of.value);
            from.iter().filter(move |setting| !is_in(setting)).map(|setting| setting.key.as_str())
        };
        let mut keys: Vec<&str> = missing(some, others).chain(missing(others, some)).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_keeps_its_secrets_and_what_differs_is_named() {
        let of = |text: &str| Setting::all(&Source::new("a.toml", text)).unwrap();
        let one = of(
            "drain = \"3s\"\n[uplink]\nproxy = \"http://joe:s3cret@proxy:1\"\n[[exec]]\ncommand = [\"/a\", \"tok3n\"]\n",
        );
        let text = serde_json::to_string(&one).unwrap();
        assert!(!text.contains("s3cret") && !text.contains("tok3n") && text.contains("proxy:1"), "{text}");
        let other = of("drain = \"4s\"\nname = \"a\"\n");
        assert_eq!(Setting::differences(&one, &other), ["drain", "exec[0].command", "name", "uplink.proxy"]);
        assert!(Setting::differences(&one, &one).is_empty());
    }
}

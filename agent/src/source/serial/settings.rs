//! The section `[[serial]]`.

use serde::Deserialize;
use weir_protocol::settings::{Period, SettingsError, Source, Spanned};

/// One serial line, or as many as match a pattern.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SerialConfig {
    /// A path; `*` and `?` in its last part match.
    pub path: Spanned<String>,
    /// Bits per second.
    #[serde(default = "default_baud")]
    pub baud: u32,
    /// Time between two looks for lines that came.
    #[serde(default = "default_poll")]
    pub poll: Period,
}

impl SerialConfig {
    /// What tells it from other lines: its path, short.
    pub(crate) fn name(&self) -> String {
        let path = self.path.get_ref();
        path.strip_prefix("/dev/").unwrap_or(path).to_owned()
    }
}

const fn default_baud() -> u32 {
    115_200
}

const fn default_poll() -> Period {
    Period::millis(500)
}

/// Checks all lines.
pub(crate) fn check(lines: &[SerialConfig], source: &Source) -> Result<(), SettingsError> {
    for (at, serial) in lines.iter().enumerate() {
        let path = serial.path.get_ref();
        if !path.starts_with('/') || path.ends_with('/') {
            let help = "write the whole path of a line, such as \"/dev/ttyACM*\"";
            return Err(source.error(serial.path.span(), format!("got {path:?}")).with_help(help));
        }
        if lines[..at].iter().any(|other| other.path.get_ref() == path) {
            return Err(source.error(serial.path.span(), "this line is there twice").with_help("remove one"));
        }
    }
    Ok(())
}

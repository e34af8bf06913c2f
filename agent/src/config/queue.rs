//! `[queue]`: the class `default`, and the classes that go before it.

use serde::Deserialize;
use weir_protocol::name::Name;
use weir_protocol::settings::{ByteSize, Period, SettingsError, Source, Spanned};

use super::{EncryptionConfig, unwritten};
use crate::queue::{ClassId, DEFAULT_CLASS, MAX_CLASSES, MIN_CAP, MIN_CLASS_CAP, Policy};

/// The shortest `max_age`: segments are looked at no more often.
const MIN_AGE: Period = Period::secs(1);

/// The queue on disk.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueConfig {
    /// The most bytes on disk.
    pub cap: Spanned<ByteSize>,
    /// What to do when it is full.
    pub policy: Policy,
    /// How long readings are kept that the gateway does not take. Not set: for ever.
    pub max_age: Option<Spanned<Period>>,
    /// Time between two checkpoints of what was shipped.
    pub checkpoint: Spanned<Period>,
    /// The least time between two commits.
    pub commit_interval: Period,
    /// Where the key is, if it is encrypted.
    pub encryption: Option<Spanned<EncryptionConfig>>,
    /// Classes that go before `default`, the most urgent first.
    pub class: Vec<ClassConfig>,
}

/// One class of the queue.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassConfig {
    /// What rules call it.
    pub name: Spanned<Name>,
    /// The most bytes on disk, beside those of `default`.
    #[serde(default = "default_cap")]
    pub cap: Spanned<ByteSize>,
    /// What to do when it is full.
    #[serde(default)]
    pub policy: Policy,
    /// As [`QueueConfig::max_age`].
    #[serde(default)]
    pub max_age: Option<Spanned<Period>>,
}

fn default_cap() -> Spanned<ByteSize> {
    unwritten(ByteSize::mib(16))
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            cap: unwritten(ByteSize::mib(256)),
            policy: Policy::Block,
            max_age: None,
            checkpoint: unwritten(Period::secs(60)),
            commit_interval: Period::millis(0),
            encryption: None,
            class: Vec::new(),
        }
    }
}

impl QueueConfig {
    /// The class that a rule names.
    pub fn class_named(&self, name: &str) -> Option<ClassId> {
        if name == DEFAULT_CLASS.as_str() {
            return Some(ClassId::DEFAULT);
        }
        let at = self.class.iter().position(|class| class.name.get_ref().as_str() == name)?;
        Some(ClassId(at as u8 + 1))
    }

    /// Whether it makes sense.
    pub(super) fn check(&self, source: &Source) -> Result<(), SettingsError> {
        let at_least = |cap: &Spanned<ByteSize>, least: u64| match cap.get_ref() {
            got if got.0 < least => {
                Err(source.error(cap.span(), format!("got {got}, expected {} or more", ByteSize(least))))
            }
            _ => Ok(()),
        };
        let old_enough = |age: &Option<Spanned<Period>>| match age {
            Some(age) if *age.get_ref() < MIN_AGE => {
                Err(source.error(age.span(), format!("got {}, expected {MIN_AGE} or more", age.get_ref())))
            }
            _ => Ok(()),
        };
        at_least(&self.cap, MIN_CAP)?;
        old_enough(&self.max_age)?;
        self.encryption.iter().try_for_each(|section| EncryptionConfig::check(section, source))?;
        for (at, class) in self.class.iter().enumerate() {
            let name = class.name.get_ref();
            if at >= MAX_CLASSES {
                let message = format!("got more than {MAX_CLASSES} classes, expected at most {MAX_CLASSES}");
                return Err(source.error(class.name.span(), message).with_help("remove one"));
            }
            if *name == DEFAULT_CLASS {
                let help = "set queue.cap, queue.policy and queue.max_age for it";
                return Err(source.error(class.name.span(), "the class `default` is always there").with_help(help));
            }
            if self.class[..at].iter().any(|other| other.name.get_ref() == name) {
                return Err(source.error(class.name.span(), "this class is there twice").with_help("remove one"));
            }
            at_least(&class.cap, MIN_CLASS_CAP)?;
            old_enough(&class.max_age)?;
        }
        Ok(())
    }
}

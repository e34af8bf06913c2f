//! What a metered link may carry: bytes in a day, and hours of each class.

use std::collections::BTreeMap;

use serde::Deserialize;
use weir_protocol::settings::{ByteSize, SettingsError, Source, Spanned};

use super::QueueConfig;
use super::hours::{Hours, UtcOffset};

/// What may be sent, and when. Default: everything, always.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BudgetConfig {
    /// The most bytes from one midnight to the next, estimated on the safe side.
    pub bytes_per_day: Option<Spanned<ByteSize>>,
    /// Classes of the queue that go even when the day's bytes are used up.
    pub exempt: Vec<Spanned<String>>,
    /// When a class may go; one that is not named may always.
    pub hours: BTreeMap<Spanned<String>, Hours>,
    /// How far midnight and hours are ahead of UTC.
    pub utc_offset: UtcOffset,
}

/// Below this a connection alone, with what it must say, uses up the day.
const LEAST: ByteSize = ByteSize::kib(64);

impl BudgetConfig {
    pub(super) fn check(&self, source: &Source, queue: &QueueConfig) -> Result<(), SettingsError> {
        if let Some(bytes) = &self.bytes_per_day
            && *bytes.get_ref() < LEAST
        {
            return Err(source.error(bytes.span(), format!("got {}, expected {LEAST} or more", bytes.get_ref())));
        }
        for name in self.exempt.iter().chain(self.hours.keys()) {
            if queue.class_named(name.get_ref()).is_none() {
                let message = format!("the queue has no class {:?}", name.get_ref());
                let classes = queue.class.iter().map(|class| class.name.get_ref().as_str());
                let classes: Vec<_> = classes.chain(["default"]).collect();
                let help = format!("classes of this queue: {}", classes.join(", "));
                return Err(source.error(name.span(), message).with_help(help));
            }
        }
        Ok(())
    }
}

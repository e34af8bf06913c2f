//! The section `[[serial]]`.

use std::ops::RangeInclusive;

use serde::Deserialize;
use weir_protocol::settings::{Period, SettingsError, Source, Spanned};

use crate::config::check::{at_least, unwritten, within};

/// One serial line, or as many as match a pattern.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SerialConfig {
    /// A path; `*` and `?` in its last part match.
    pub path: Spanned<String>,
    /// Bits per second.
    #[serde(default = "default_baud")]
    pub baud: Spanned<u32>,
    /// Time between two looks for lines that came.
    #[serde(default = "default_poll")]
    pub poll: Spanned<Period>,
}

impl SerialConfig {
    /// What tells it from other lines: its path, short.
    pub(crate) fn name(&self) -> String {
        let path = self.path.get_ref();
        path.strip_prefix("/dev/").unwrap_or(path).to_owned()
    }
}

/// Rates that some driver takes, in bits per second.
const BAUDS: RangeInclusive<u32> = 300..=4_000_000;
/// The shortest time between two looks for lines.
const MIN_POLL: Period = Period::millis(1);

fn default_baud() -> Spanned<u32> {
    unwritten(115_200)
}

fn default_poll() -> Spanned<Period> {
    unwritten(Period::millis(500))
}

/// Checks all lines.
pub(crate) fn check(lines: &[SerialConfig], source: &Source) -> Result<(), SettingsError> {
    for (at, serial) in lines.iter().enumerate() {
        let path = serial.path.get_ref();
        if !path.starts_with('/') || path.ends_with('/') {
            let help = "write the whole path of a line, such as \"/dev/ttyACM*\"";
            return Err(source.error(serial.path.span(), format!("got {path:?}")).with_help(help));
        }
        if path.rsplit_once('/').is_some_and(|(dir, _)| dir.contains(['*', '?'])) {
            let message = format!("got {path:?}, expected * and ? in the last part alone");
            return Err(source.error(serial.path.span(), message).with_help("write a [[serial]] for each directory"));
        }
        within(source, &serial.baud, BAUDS, "bits per second")?;
        at_least(source, &serial.poll, MIN_POLL)?;
        if lines[..at].iter().any(|other| other.path.get_ref() == path) {
            return Err(source.error(serial.path.span(), "this line is there twice").with_help("remove one"));
        }
    }
    Ok(())
}

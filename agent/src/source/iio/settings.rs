//! The section `[[iio]]`.

use std::path::PathBuf;

use serde::Deserialize;
use weir_protocol::DeviceId;
use weir_protocol::settings::{Period, SettingsError, Source, Spanned};

use crate::config::check::{at_least, unwritten};

/// The most sections.
const MAX_SECTIONS: usize = 32;
/// The most patterns of one.
const MAX_PATTERNS: usize = 64;

/// Sensors that the kernel's Industrial I/O subsystem knows.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IioConfig {
    /// The device whose readings they give.
    pub device: Spanned<DeviceId>,
    /// Which sensors, by name or directory; `*` and `?` match.
    #[serde(default = "default_sensors")]
    pub sensors: Spanned<Vec<String>>,
    /// Time between two measurements.
    #[serde(default = "default_interval")]
    pub interval: Spanned<Period>,
    /// What `/sys` is below; for tests.
    #[serde(default = "default_root")]
    pub root: PathBuf,
}

fn default_sensors() -> Spanned<Vec<String>> {
    unwritten(vec!["*".to_owned()])
}

fn default_interval() -> Spanned<Period> {
    unwritten(Period::secs(10))
}

fn default_root() -> PathBuf {
    PathBuf::from("/")
}

/// Checks all sections.
pub(crate) fn check(sections: &[IioConfig], source: &Source) -> Result<(), SettingsError> {
    if let Some(section) = sections.get(MAX_SECTIONS) {
        let message = format!("got {} sections [[iio]], expected at most {MAX_SECTIONS}", sections.len());
        return Err(source.error(section.device.span(), message));
    }
    for (at, section) in sections.iter().enumerate() {
        at_least(source, &section.interval, Period::millis(1))?;
        let patterns = section.sensors.get_ref().len();
        if !(1..=MAX_PATTERNS).contains(&patterns) {
            let message = format!("got {patterns} patterns, expected 1 to {MAX_PATTERNS}");
            return Err(source.error(section.sensors.span(), message).with_help("sensors = [\"*\"] is all of them"));
        }
        if sections[..at].iter().any(|other| other.device.get_ref() == section.device.get_ref()) {
            let message = format!("device {} has a section [[iio]] already", section.device.get_ref());
            return Err(source
                .error(section.device.span(), message)
                .with_help("name all its sensors in one: sensors = [\"bme280\", \"ina219\"]"));
        }
    }
    Ok(())
}

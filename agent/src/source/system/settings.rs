//! The section `[system]`.

use std::path::PathBuf;

use serde::Deserialize;
use weir_protocol::DeviceId;
use weir_protocol::settings::{Period, SettingsError, Source, Spanned};

use crate::config::check::{at_least, host_name, unwritten, within};

/// This machine as a device.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SystemConfig {
    /// Whether this machine is a device.
    pub enabled: bool,
    /// Its name.
    pub device: DeviceId,
    /// Time between two samples.
    pub interval: Spanned<Period>,
    /// Readings kept in memory while the queue takes none.
    pub ring: Spanned<u32>,
    /// What `/proc` and `/sys` are below; for tests.
    pub root: PathBuf,
    /// Filesystems to measure.
    pub disks: Spanned<Vec<PathBuf>>,
}

impl Default for SystemConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            device: DeviceId(host_name()),
            interval: unwritten(Period::secs(10)),
            ring: unwritten(4096),
            root: PathBuf::from("/"),
            disks: unwritten(vec![PathBuf::from("/")]),
        }
    }
}

impl SystemConfig {
    pub(crate) fn check(&self, source: &Source) -> Result<(), SettingsError> {
        at_least(source, &self.interval, Period::millis(1))?;
        within(source, &self.ring, 256..=1 << 20, "readings")?;
        match self.disks.get_ref().len() {
            0..=16 => Ok(()),
            got => Err(source.error(self.disks.span(), format!("got {got} filesystems, expected at most 16"))),
        }
    }
}

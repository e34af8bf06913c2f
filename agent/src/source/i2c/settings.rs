//! The section `[[i2c]]`.

use std::path::PathBuf;

use serde::Deserialize;
use weir_protocol::DeviceId;
use weir_protocol::settings::{Period, SettingsError, Source, Spanned};

use super::sensor::Kind;
use crate::config::check::{at_least, unwritten};

/// The most sensors; each has a thread.
const MAX_SENSORS: usize = 32;
/// The addresses that a device may have (the others mean something to the bus itself).
const ADDRESSES: std::ops::RangeInclusive<u8> = 0x08..=0x77;

/// A sensor on an I2C bus of this machine.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct I2cConfig {
    /// The device whose readings it gives.
    pub device: DeviceId,
    /// The bus, such as `/dev/i2c-1`.
    pub bus: Spanned<PathBuf>,
    /// What it is.
    pub sensor: Kind,
    /// Its address; that of its kind without one.
    pub address: Option<Spanned<u8>>,
    /// What its channels begin with, where a device has several sensors.
    pub name: Option<Spanned<String>>,
    /// Time between two measurements.
    #[serde(default = "default_interval")]
    pub interval: Spanned<Period>,
}

fn default_interval() -> Spanned<Period> {
    unwritten(Period::secs(10))
}

impl I2cConfig {
    /// Its address.
    pub(super) fn address(&self) -> u8 {
        self.address.as_ref().map_or(self.sensor.address(), |address| *address.get_ref())
    }

    /// The name of a channel of it.
    pub(super) fn channel(&self, quantity: &str) -> String {
        match &self.name {
            Some(name) => format!("{}.{quantity}", name.get_ref()),
            None => quantity.to_owned(),
        }
    }

    fn prefix(&self) -> Option<&String> {
        self.name.as_ref().map(Spanned::get_ref)
    }

    fn check(&self, source: &Source) -> Result<(), SettingsError> {
        at_least(source, &self.interval, Period::millis(50))?;
        if !self.bus.get_ref().is_absolute() {
            let help = "write the whole path of a bus, such as \"/dev/i2c-1\"";
            let message = format!("got {:?}", self.bus.get_ref().display().to_string());
            return Err(source.error(self.bus.span(), message).with_help(help));
        }
        let Some(address) = &self.address else { return Ok(()) };
        let possible = self.sensor.addresses().unwrap_or(ADDRESSES);
        if !possible.contains(address.get_ref()) {
            let (first, last) = possible.into_inner();
            let message = format!("got 0x{:02x}, expected 0x{first:02x} to 0x{last:02x}", address.get_ref());
            return Err(source.error(address.span(), message));
        }
        Ok(())
    }
}

/// Checks all sensors.
pub(crate) fn check(sensors: &[I2cConfig], source: &Source) -> Result<(), SettingsError> {
    for (at, sensor) in sensors.iter().enumerate() {
        sensor.check(source)?;
        if at == MAX_SENSORS {
            let message = format!("got {} sensors, expected at most {MAX_SENSORS}", sensors.len());
            return Err(source.error(sensor.bus.span(), message));
        }
        let same = |other: &&I2cConfig| other.device == sensor.device && other.prefix() == sensor.prefix();
        if sensors[..at].iter().any(|other| same(&other)) {
            let place = sensor.name.as_ref().map_or(sensor.bus.span(), Spanned::span);
            return Err(source
                .error(place, format!("device {} has two sensors whose channels have the same names", sensor.device))
                .with_help("give each a name of its own: name = \"rack\""));
        }
    }
    Ok(())
}

//! What the sensors really handed out, known outside the system.
//!
//! A measurement of the SHT4x is two readings: `temperature` in Cel at an even sequence and
//! `humidity` in % at the odd one behind it. One of the TMP105 is a `temperature` alone.

mod temperatures;
mod ticks;

use std::collections::BTreeMap;

use serde_json::Value as Json;
use weir_protocol::{DeviceId, Restart};

use self::temperatures::Temperatures;
use self::ticks::Ticks;
use crate::board;
use crate::emulator::Kind;
use crate::ledger::RestartKey;
use crate::load::values;

/// The outcome of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub enum Truth {
    /// The reading is what the sensor handed out.
    Agrees,
    /// It is not; holds what it should be.
    Differs(String),
    /// Nobody outside knows what this source measured.
    Unknown,
}

/// How a device's readings can be known without asking it.
#[derive(Clone, Debug)]
enum Source {
    /// The host board's sensor is a pure function of its seed, the boot and the number of the measurement.
    HostBoard { seed: u64 },
    /// The lab is the device: a pure function of device, restart and sequence.
    Driven,
    /// The emulator prints what its sensor hands out.
    Emulator(HandedOut),
}

/// What the sensor of an emulated board handed out, as far as it said so.
#[derive(Clone, Debug)]
pub enum HandedOut {
    /// Of an SHT4x: each measurement.
    Ticks(Ticks),
    /// Of a TMP105: whatever it was set to, measured or not.
    Temperatures(Temperatures),
}

impl HandedOut {
    /// How often its values changed.
    pub fn count(&self) -> u64 {
        match self {
            Self::Ticks(ticks) => ticks.count(),
            Self::Temperatures(temperatures) => temperatures.count(),
        }
    }

    /// Takes what the emulator prints.
    pub fn take(&self, event: &Json) {
        match self {
            Self::Ticks(ticks) => ticks.take(event),
            Self::Temperatures(temperatures) => temperatures.take(event),
        }
    }
}

/// What is known of every device.
#[derive(Clone, Debug, Default)]
pub struct Truths(BTreeMap<DeviceId, Source>);

impl Truths {
    /// The device is a host board with this seed.
    pub fn host_board(&mut self, device: DeviceId, seed: u64) {
        self.0.insert(device, Source::HostBoard { seed });
    }

    /// The lab drives the device by itself ([`crate::load`]).
    pub fn driven(&mut self, device: DeviceId) {
        self.0.insert(device, Source::Driven);
    }

    /// The device is an emulated board; what comes back is filled with its values as they are handed out.
    pub fn emulator(&mut self, device: DeviceId, kind: Kind) -> HandedOut {
        let handed_out = match kind {
            Kind::Rp2040js => HandedOut::Ticks(Ticks::default()),
            Kind::Lm3s6965 => HandedOut::Temperatures(Temperatures::default()),
        };
        self.0.insert(device, Source::Emulator(handed_out.clone()));
        handed_out
    }

    /// Compares the reading in the record `value` with what the sensor handed out.
    pub fn check(&self, key: &RestartKey, sequence: u64, value: &Json) -> Truth {
        // Single precision travels as the shortest decimal that reads back as itself.
        let got = (value["channel"].as_str(), value["value"].as_f64().map(|v| v as f32));
        let expected = match self.0.get(&key.0) {
            None => return Truth::Unknown,
            Some(Source::HostBoard { seed }) => host_board(*seed, key.1, sequence),
            Some(Source::Driven) => Some((values::CHANNEL, values::value(key, sequence))),
            Some(Source::Emulator(HandedOut::Ticks(ticks))) => ticks.nearest(got.0, got.1),
            Some(Source::Emulator(HandedOut::Temperatures(temperatures))) => temperatures.nearest(got.1),
        };
        match expected {
            Some((channel, number)) if got == (Some(channel), Some(number)) => Truth::Agrees,
            Some((channel, number)) => Truth::Differs(format!("{channel} {number}")),
            None => Truth::Differs("nothing like it".to_owned()),
        }
    }
}

/// What sequence `sequence` of a host board must hold.
fn host_board(seed: u64, restart: Restart, sequence: u64) -> Option<(&'static str, f32)> {
    let (for_temperature, for_humidity) = board::ticks(seed, restart, sequence / 2);
    Some(match sequence % 2 {
        0 => ("temperature", temperature(for_temperature)),
        _ => ("humidity", humidity(for_humidity)),
    })
}

/// Degrees Celsius of a tick count (SHT4x datasheet, section 4.6), in single precision from left to right.
fn temperature(ticks: u16) -> f32 {
    -45.0 + 175.0 * f32::from(ticks) / 65535.0
}

/// Percent of relative humidity of a tick count (same section).
fn humidity(ticks: u16) -> f32 {
    -6.0 + 125.0 * f32::from(ticks) / 65535.0
}

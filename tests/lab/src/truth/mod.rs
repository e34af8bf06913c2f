//! What the sensors really handed out, known outside the system.
//!
//! A measurement of the SHT4x is two readings: `temperature` in Cel at an even sequence and
//! `humidity` in % at the odd one behind it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value as Json;
use weir_protocol::{DeviceId, Restart};

use crate::board;
use crate::ledger::RestartKey;

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
    /// The emulator prints each pair of ticks that its sensor hands out.
    Emulator(Ticks),
}

/// What is known of every device.
#[derive(Clone, Debug, Default)]
pub struct Truths(BTreeMap<DeviceId, Source>);

impl Truths {
    /// The device is a host board with this seed.
    pub fn host_board(&mut self, device: DeviceId, seed: u64) {
        self.0.insert(device, Source::HostBoard { seed });
    }

    /// The device is an emulated board; what comes back is filled with its ticks as they are handed out.
    pub fn emulator(&mut self, device: DeviceId) -> Ticks {
        let ticks = Ticks::default();
        self.0.insert(device, Source::Emulator(ticks.clone()));
        ticks
    }

    /// Compares the reading in the record `value` with what the sensor handed out.
    pub fn check(&self, key: &RestartKey, sequence: u64, value: &Json) -> Truth {
        // Single precision travels as the shortest decimal that reads back as itself.
        let got = (value["channel"].as_str(), value["value"].as_f64().map(|v| v as f32));
        let expected = match self.0.get(&key.0) {
            None => return Truth::Unknown,
            Some(Source::HostBoard { seed }) => host_board(*seed, key.1, sequence),
            Some(Source::Emulator(ticks)) => ticks.nearest(got.0, got.1),
        };
        match expected {
            Some((channel, number)) if got == (Some(channel), Some(number)) => Truth::Agrees,
            Some((channel, number)) => Truth::Differs(format!("{channel} {number}")),
            None => Truth::Differs("nothing like it".to_owned()),
        }
    }
}

/// Ticks that an emulated sensor handed out: 64 Ki flags, so bounded however long it runs.
#[derive(Clone, Debug)]
pub struct Ticks(Arc<Mutex<Flags>>);

/// Ticks handed out, one flag each.
#[derive(Debug)]
struct Flags {
    count: u64,
    temperature: Vec<bool>,
    humidity: Vec<bool>,
}

impl Default for Ticks {
    fn default() -> Self {
        let flags = || vec![false; 1 << 16];
        Self(Arc::new(Mutex::new(Flags { count: 0, temperature: flags(), humidity: flags() })))
    }
}

impl Ticks {
    /// The sensor handed out this pair.
    pub fn handed_out(&self, temperature: u16, humidity: u16) {
        let mut flags = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        flags.count += 1;
        flags.temperature[usize::from(temperature)] = true;
        flags.humidity[usize::from(humidity)] = true;
    }

    /// How many pairs it handed out.
    pub fn count(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).count
    }

    /// What a reading must be, if it is of ticks that were handed out.
    fn nearest(&self, channel: Option<&str>, value: Option<f32>) -> Option<(&'static str, f32)> {
        let flags = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (channel, handed_out, convert): (_, _, fn(u16) -> f32) = match channel {
            Some("temperature") => ("temperature", &flags.temperature, temperature),
            Some("humidity") => ("humidity", &flags.humidity, humidity),
            _ => return None,
        };
        let value = value?;
        // Both conversions grow with the ticks, so the only candidate is the first that reaches the value.
        let (mut low, mut high) = (0_u32, 1 << 16);
        while low < high {
            let middle = (low + high) / 2;
            if convert(middle as u16) < value { low = middle + 1 } else { high = middle }
        }
        let tick = u16::try_from(low).ok()?;
        handed_out[usize::from(tick)].then(|| (channel, convert(tick)))
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

//! What an SHT4x handed out, as ticks.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value as Json;

use super::{humidity, temperature};

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
    /// `{"event":"sample","temperature_ticks":1234,"humidity_ticks":99,"count":1}`
    pub(super) fn take(&self, event: &Json) {
        let tick = |name: &str| event[name].as_u64().and_then(|t| u16::try_from(t).ok());
        let ticks = (tick("temperature_ticks"), tick("humidity_ticks"));
        let (Some("sample"), (Some(temperature), Some(humidity))) = (event["event"].as_str(), ticks) else { return };
        let mut flags = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        flags.count += 1;
        flags.temperature[usize::from(temperature)] = true;
        flags.humidity[usize::from(humidity)] = true;
    }

    /// How many pairs it handed out.
    pub(super) fn count(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).count
    }

    /// What a reading must be, if it is of ticks that were handed out.
    pub(super) fn nearest(&self, channel: Option<&str>, value: Option<f32>) -> Option<(&'static str, f32)> {
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

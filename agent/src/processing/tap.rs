//! What the rules do, as it happens: for whoever listens, and free while nobody does.
//!
//! A listener that is too slow misses some, and is told how many: nothing ever waits for it.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value as Json;
use tokio::sync::broadcast;
use weir_protocol::{Clock, DeviceId, Reading, Restart, Sequence, Value};

/// The most readings that wait for a listener.
const WAITING: usize = 1024;

/// Where the readings come by.
#[derive(Clone, Debug)]
pub struct Tap(broadcast::Sender<Arc<Tapped>>);

impl Default for Tap {
    fn default() -> Self {
        Self(broadcast::Sender::new(WAITING))
    }
}

impl Tap {
    /// From now on every reading.
    pub fn listen(&self) -> broadcast::Receiver<Arc<Tapped>> {
        self.0.subscribe()
    }

    /// Whether somebody listens.
    pub(crate) fn is_open(&self) -> bool {
        self.0.receiver_count() > 0
    }

    pub(crate) fn show(&self, tapped: Tapped) {
        // Nobody listens any more.
        let _ = self.0.send(Arc::new(tapped));
    }
}

/// One reading, before and after.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tapped {
    /// The device.
    pub device: String,
    /// Its restart; text, because JSON numbers lose bits.
    pub restart: String,
    /// The sequence.
    pub sequence: u64,
    /// The channel as the device calls it; its number if it was not described.
    pub channel: String,
    /// Its unit, if it was described.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Microseconds since 1970, or since power-on if the clock was not synchronised.
    pub time_us: i64,
    /// Whether the clock was synchronised.
    pub synchronised: bool,
    /// What was measured.
    pub value: Json,
    /// The rule, counted from 1 in the order of the settings; none if no rule names the channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<u16>,
    /// What became of it.
    pub then: Then,
}

/// What became of a reading.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Then {
    /// It goes on.
    Passed {
        /// The channel from here on.
        channel: String,
        /// Its unit.
        unit: String,
        /// The value.
        value: Json,
        /// The class of the queue, counted from 1; 0 is `default`.
        class: u8,
    },
    /// It becomes a dead letter.
    Refused {
        /// The value that was looked at.
        value: Json,
        /// What was expected.
        expected: String,
    },
    /// A rule drops it.
    Dropped,
    /// It does not differ enough from the one before.
    Suppressed,
    /// It is part of a window.
    Held {
        /// The value that was taken in.
        value: Json,
    },
}

impl Tapped {
    pub(crate) fn new(
        (device, restart): (DeviceId, Restart),
        sequence: Sequence,
        reading: &Reading<'_>,
        name: Option<(&str, &str)>,
        (rule, then): (Option<u16>, Then),
    ) -> Self {
        Self {
            device: device.to_string(),
            restart: restart.to_string(),
            sequence: sequence.0,
            channel: name.map_or_else(|| reading.channel.to_string(), |(name, _)| name.to_owned()),
            unit: name.map(|(_, unit)| unit.to_owned()),
            time_us: reading.time.0,
            synchronised: reading.clock == Clock::Synchronised,
            value: json(reading.value),
            rule,
            then,
        }
    }
}

/// A value as JSON says it; null for what it has no number for.
pub(crate) fn json(value: Value<'_>) -> Json {
    match value {
        // The shortest number that gives the same bits back.
        Value::Float(value) => value.to_string().parse::<f64>().map_or(Json::Null, Json::from),
        Value::Double(value) => value.into(),
        Value::Integer(value) => value.into(),
        Value::Boolean(value) => value.into(),
        Value::Text(value) => value.into(),
    }
}

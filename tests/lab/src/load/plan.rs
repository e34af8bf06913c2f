//! What is driven, checked before anything begins.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::ValueEnum;
use weir_protocol::DeviceId;

use super::wire::Version;

/// The most devices, and the most connections that they come over.
pub const MAX_DEVICES: u32 = 100_000;
/// See [`MAX_DEVICES`].
pub const MAX_CONNECTIONS: u32 = 16_000;
/// The most boards: each is a process and two terminals.
pub const MAX_BOARDS: u32 = 64;
/// The most readings a second, of all devices.
pub const MAX_RATE: f64 = 1e6;
/// The most readings of one batch.
pub const MAX_BATCH: u32 = 5000;
/// The longest name of a load: that of a device or a client is longer by a number.
const MAX_NAME: usize = 32;
/// A device of a slow drip has a reading this often, or less.
const DRIP: Duration = Duration::from_secs(60);

/// As what the devices come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// Agents over MQTT: batches of readings, as the agent sends them
    Agents,
    /// Devices of others over MQTT: a message each, at QoS 1
    Foreign,
    /// Boards: the firmware behind ptys, for an agent that runs
    Boards,
}

/// When their readings are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Evenly, each device in a phase of its own.
    Steady,
    /// All devices within 10 ms, each so often: as many readings each as the rate gives, at least one.
    Burst {
        /// From burst to burst.
        every: Duration,
    },
    /// Evenly, while all connections are cut at once, each so often, and come back at once.
    Storm {
        /// From cut to cut.
        every: Duration,
    },
    /// Evenly, each device once a minute or less.
    Drip,
}

/// What is driven.
#[derive(Clone, Debug)]
pub struct LoadPlan {
    /// As what the devices come.
    pub shape: Shape,
    /// When their readings are due.
    pub pattern: Pattern,
    /// How many devices, 1 to [`MAX_DEVICES`].
    pub devices: u32,
    /// Over how many connections, at most one a device and [`MAX_CONNECTIONS`]; each is a client of its own.
    pub connections: u32,
    /// Readings a second, of all devices together.
    pub rate: f64,
    /// Values and waits are a function of it.
    pub seed: u64,
    /// What the names of devices and clients begin with, and the topics of messages: two loads at a time need two.
    pub name: String,
    /// The most readings of a batch of an agent.
    pub batch: u32,
    /// How long an agent collects readings for a batch that is not full.
    pub gather: Duration,
    /// Messages of one connection that may be under way, if the gateway allows as many.
    pub window: u16,
    /// Which MQTT.
    pub version: Version,
    /// A reading is late if its acknowledgement comes so long after it was due.
    pub late: Duration,
    /// A connection on which the oldest message waits so long for its answer is given up, and another one made.
    pub ack_timeout: Duration,
}

impl LoadPlan {
    /// A thousand devices of a hundred agents with 10,000 readings a second.
    pub fn new(seed: u64) -> Self {
        Self {
            shape: Shape::Agents,
            pattern: Pattern::Steady,
            devices: 1000,
            connections: 100,
            rate: 10_000.0,
            seed,
            name: "load".to_owned(),
            batch: 500,
            gather: Duration::from_millis(200),
            window: 20,
            version: Version::V5,
            late: Duration::from_secs(10),
            ack_timeout: Duration::from_secs(30),
        }
    }

    /// Whether it can be driven.
    ///
    /// # Errors
    /// What cannot, with what to type instead.
    pub fn check(&self) -> Result<()> {
        let Self { devices, connections, rate, batch, window, name, .. } = self;
        ensure!((1..=MAX_DEVICES).contains(devices), "{devices} devices; type --devices 1 to {MAX_DEVICES}");
        ensure!(
            (1..=MAX_CONNECTIONS).contains(connections),
            "{connections} connections; type --connections 1 to {MAX_CONNECTIONS}"
        );
        ensure!(
            connections <= devices,
            "{connections} connections for {devices} devices, each connection has one at least; \
             type --connections {devices} or fewer, or more --devices"
        );
        ensure!(*rate > 0.0 && *rate <= MAX_RATE, "{rate} readings a second; type --rate above 0, up to {MAX_RATE}");
        ensure!((1..=MAX_BATCH).contains(batch), "batches of {batch} readings; type --batch 1 to {MAX_BATCH}");
        ensure!(*window >= 1, "a window of {window}; type --window 1 or more");
        let named = DeviceId::new(name);
        ensure!(
            named.is_ok() && name.len() <= MAX_NAME,
            "the name {name:?}; type --name with 1 to {MAX_NAME} of A-Z a-z 0-9 . _ - :"
        );
        let slowest = f64::from(*devices) / DRIP.as_secs_f64();
        if self.pattern == Pattern::Drip && *rate > slowest * 1.000_001 {
            bail!(
                "{rate} readings a second of {devices} devices is more than one a minute each; \
                 type --rate {slowest:.3} or less, or another --pattern"
            );
        }
        if self.shape == Shape::Boards {
            ensure!(*devices <= MAX_BOARDS, "{devices} boards; type --devices 1 to {MAX_BOARDS}");
            ensure!(!matches!(self.pattern, Pattern::Burst { .. }), "boards sample evenly; type --pattern steady");
        }
        Ok(())
    }

    /// The device of this number.
    pub(crate) fn device(&self, number: u32) -> Result<DeviceId> {
        let name = format!("{}-{number:05}", self.name);
        DeviceId::new(&name).map_err(|error| anyhow::anyhow!("{name}: {error}"))
    }

    /// The number of the device of this name, if it is one of these.
    pub(crate) fn number(&self, device: &str) -> Option<u32> {
        let number = device.strip_prefix(&*self.name)?.strip_prefix('-')?.parse().ok()?;
        (number < self.devices && self.device(number).is_ok_and(|named| named.as_str() == device)).then_some(number)
    }

    /// The client id of this connection: of an agent its name.
    pub(crate) fn client(&self, connection: u32) -> String {
        match self.shape {
            Shape::Agents => format!("{}-agent-{connection:05}", self.name),
            Shape::Foreign | Shape::Boards => format!("{}-client-{connection:05}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_known_by_its_name_and_a_similar_one_is_not() {
        let plan = LoadPlan { devices: 11, ..LoadPlan::new(1) };
        assert_eq!(
            (0..11).map(|number| plan.number(plan.device(number).unwrap().as_str())).collect::<Vec<_>>(),
            (0..11).map(Some).collect::<Vec<_>>()
        );
        for other in ["load-00011", "load-1", "load-000001", "load-+0001", "load", "loads-00001", "x-00001"] {
            assert_eq!(plan.number(other), None, "{other}");
        }
    }

    #[test]
    fn a_plan_that_cannot_be_driven_says_what_to_type() {
        let wrong = [
            (LoadPlan { devices: 0, ..LoadPlan::new(1) }, "--devices 1 to 100000"),
            (LoadPlan { devices: 100_001, ..LoadPlan::new(1) }, "--devices 1 to 100000"),
            (LoadPlan { devices: 50, ..LoadPlan::new(1) }, "--connections 50 or fewer"),
            (LoadPlan { devices: 20_000, connections: 16_001, ..LoadPlan::new(1) }, "--connections 1 to 16000"),
            (LoadPlan { rate: 0.0, ..LoadPlan::new(1) }, "--rate above 0"),
            (LoadPlan { rate: f64::NAN, ..LoadPlan::new(1) }, "--rate above 0"),
            (LoadPlan { pattern: Pattern::Drip, rate: 17.0, ..LoadPlan::new(1) }, "--rate 16.667 or less"),
            (LoadPlan { batch: 0, ..LoadPlan::new(1) }, "--batch 1 to 5000"),
            (LoadPlan { name: "a/b".to_owned(), ..LoadPlan::new(1) }, "--name with"),
            (LoadPlan { shape: Shape::Boards, ..LoadPlan::new(1) }, "--devices 1 to 64"),
        ];
        for (plan, expected) in wrong {
            let error = plan.check().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}, expected {expected}");
        }
        LoadPlan::new(1).check().unwrap();
    }
}

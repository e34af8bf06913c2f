//! What a device says. Append-only: see [`crate::version`].

use serde::{Deserialize, Serialize};

use crate::channel::{Channel, SchemaHash};
use crate::identity::{DeviceId, Restart, Sequence};
use crate::items::Items;
use crate::reading::Reading;

/// The most restarts that one [`Hello`] lists: the oldest ones and the newest. The rest follow in a later
/// Hello, once these are acknowledged.
pub const MAX_HELD: usize = 8;

/// From device to agent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Up<'a> {
    /// Said at start, when asked, and when the set of held restarts changed.
    #[serde(borrow)]
    Hello(Hello<'a>),
    /// The channels of one schema.
    #[serde(borrow)]
    Describe(Describe<'a>),
    /// Unacknowledged readings of one restart, in order.
    #[serde(borrow)]
    Readings(Readings<'a>),
    /// Asks for the time; the agent answers with `TimeSync` at once.
    TimeRequest {
        /// The device's own monotonic clock when it asked, in microseconds.
        sent: u64,
    },
    /// The outcome of a command or a configuration.
    CommandResult(CommandResult),
}

/// Who the device is and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello<'a> {
    /// The device.
    pub device: DeviceId,
    /// The schema of the running firmware.
    pub schema: SchemaHash,
    /// What survives a loss of power.
    pub ring: Ring,
    /// Every restart of which readings are held, oldest first; the last one is the running restart, even
    /// when it holds nothing. At most [`MAX_HELD`].
    #[serde(borrow)]
    pub held: Items<'a, Held>,
}

/// What the device's ring is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ring {
    /// RAM: a restart that is no longer held ended with an unknown tail.
    Volatile,
    /// Flash: an ended restart is held until all of it is acknowledged, up to its exact `next`.
    Durable,
}

/// The unacknowledged readings `[base, next)` of one restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The restart, or [`Restart::UNBOUND`] while it waits for the agent to assign one.
    pub restart: Restart,
    /// The schema of its readings.
    pub schema: SchemaHash,
    /// The oldest sequence that is still held.
    pub base: Sequence,
    /// The sequence that the next sample takes.
    pub next: Sequence,
}

/// The channels of one schema of this device.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Describe<'a> {
    /// The hash of `channels`; a receiver recomputes it.
    pub schema: SchemaHash,
    /// The channels, in the order that the hash covers.
    #[serde(borrow)]
    pub channels: Items<'a, Channel<'a>>,
}

/// Consecutive readings `first, first + 1, ...` of one restart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Readings<'a> {
    /// The restart that all of them belong to.
    pub restart: Restart,
    /// The schema of the readings.
    pub schema: SchemaHash,
    /// The oldest sequence that the device still holds: what is below and was not acknowledged is lost.
    pub base: Sequence,
    /// The sequence that the next sample takes.
    pub next: Sequence,
    /// The sequence of the first reading. Without readings: of the next one that will be sent, so that the agent asks for
    /// what it misses below it.
    pub first: Sequence,
    /// The readings; may be empty, to report how far the device is.
    #[serde(borrow)]
    pub readings: Items<'a, Reading<'a>>,
}

/// What came of a command or a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandResult {
    /// The id of the command.
    pub id: u32,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a command. Append-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Done.
    Done,
    /// This device cannot do it.
    Unsupported,
    /// A value was out of range; nothing changed.
    OutOfRange,
    /// It was tried and did not work, such as a sample without a sensor.
    Failed,
}

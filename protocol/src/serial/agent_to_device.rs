//! What an agent says to a device. Append-only: see [`crate::version`].

use serde::{Deserialize, Serialize};

use crate::channel::SchemaHash;
use crate::identity::{Restart, Sequence};
use crate::time::Timestamp;

/// From agent to device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Down {
    /// Every sequence of `restart` below `accepted` is durable at the agent, as a reading or as a claim.
    Ack {
        /// The restart that is acknowledged.
        restart: Restart,
        /// The first sequence that is not.
        accepted: Sequence,
    },
    /// The device may send sequences of `restart` below `upto`; an absolute limit, so a lost or repeated
    /// message does no harm.
    Credit {
        /// The restart it is for.
        restart: Restart,
        /// The first sequence that may not be sent.
        upto: Sequence,
    },
    /// What arrived did not follow on: send again from `from`.
    Resend {
        /// The restart it is for.
        restart: Restart,
        /// The first sequence wanted.
        from: Sequence,
    },
    /// Say Hello: the agent does not know who is on this line.
    HelloRequest,
    /// Describe this schema: the agent does not know it.
    DescribeRequest {
        /// The hash that is unknown.
        schema: SchemaHash,
    },
    /// The running restart, which the device could not number itself, gets this number. A device that has
    /// one ignores it.
    AssignRestart {
        /// The number.
        restart: Restart,
    },
    /// The answer to `TimeRequest`.
    TimeSync {
        /// `sent` of the request, unchanged; the device takes half the round trip off.
        sent: u64,
        /// The agent's wall clock when it answered.
        time: Timestamp,
    },
    /// New settings; answered by a `CommandResult`.
    Configure {
        /// Comes back in the result.
        id: u32,
        /// Time between samples, in milliseconds.
        interval_ms: u32,
    },
    /// Something to do; answered by a `CommandResult`.
    Command {
        /// Comes back in the result.
        id: u32,
        /// What to do.
        command: Command,
    },
}

/// What a device can be told to do. Append-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Sample now, besides the regular interval.
    Sample,
    /// Make the device show itself to a person (a blinking light).
    Identify,
    /// Restart the device.
    Reboot,
}

//! Ingest: from the payload of a PUBLISH to a committed record and a verdict.
//!
//! What it guarantees (the README's section on commit and acknowledgement says it for users):
//! - a [`Verdict`] of `Stored` or `DeadLettered` comes only after `fdatasync` of every partition that the
//!   batch touched returned, and after the records were exposed to consumers;
//! - every sequence has at most one reading, one dead letter and one covering loss in the log, whatever is
//!   resent and in whatever order, across restarts of the gateway too;
//! - verdicts come in the order of the messages of a connection, exactly one per message, and after a
//!   `Failed` or `Unreadable` everything later on that connection is `Failed`;
//! - memory is bounded: payloads wait in byte budgets, and [`Connection::submit`] waits for room.
//!
//! ```text
//! Connection::submit -> budget -> decode (caller's task) -> engine (one thread) -> Committer (its thread)
//!                                                             plan, devices, group     |
//!      Event <------------------------------------------------ move, expose, answer <--+
//! ```
//!
//! The engine owns all state and reads no clock, no socket and no file, so every rule is tested by driving it
//! step by step; [`service`] gives it a thread, a clock and a committer.

mod budget;
mod buried;
mod channels;
pub(crate) mod checkpoint;
pub mod clients;
mod connection;
mod damage;
pub mod decode;
mod devices;
mod engine;
mod exposure;
mod group;
pub(crate) mod keeper;
mod ledger;
mod log_state;
mod moves;
pub mod options;
mod plan;
#[cfg(feature = "plant")]
pub mod plant;
mod recovery;
mod rows;
mod schemas;
pub mod service;
mod settled;
mod shares;
mod snapshots;
pub mod stats;
#[cfg(any(test, feature = "sim"))]
pub(crate) mod stepwise;
mod waited;

use bytes::Bytes;
use weir_protocol::batch::Refusal;
use weir_protocol::batch::command::AgentCommand;
use weir_protocol::{AgentId, Restart, Sequence, Tenant};

use crate::access::ClientId;
use crate::mqtt::packet::{Properties, QoS};
use crate::schemas::evolution::Rule;

pub use options::{Binding, IngestOptions, Limits};
pub use recovery::{PartitionReport, RecoveryReport};
pub use rows::{RestartRow, restarts_on_disk};
pub use service::{Connection, Ingest, Letter, MoveError, StartError};
pub use stats::Stats;

pub use crate::topics::Retention;

/// Who sends on a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sender {
    /// The tenant that scopes every identity it sends.
    pub tenant: Tenant,
    /// Its MQTT client id.
    pub client: ClientId,
}

impl Sender {
    /// The agent that it is, if its name can be that of an agent: only agents send batches and descriptions.
    pub fn agent(&self) -> Option<AgentId> {
        AgentId::new(self.client.as_str()).ok()
    }
}

impl From<(Tenant, AgentId)> for Sender {
    fn from((tenant, agent): (Tenant, AgentId)) -> Self {
        Self { tenant, client: agent.into() }
    }
}

/// One PUBLISH that asks to be stored.
#[derive(Clone, Debug)]
pub struct Message {
    /// The connection's own number for it, such as a count of its PUBLISHes; comes back in the [`Outcome`].
    pub ticket: u64,
    /// What it is.
    pub body: Body,
    /// At most [`weir_protocol::batch::MAX_PAYLOAD`] bytes.
    pub payload: Bytes,
}

/// What a message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Readings and claims of an agent.
    Batch,
    /// The channels of a device, by an agent.
    Describe,
    /// A message of any client, stored as it came.
    Published(Box<Published>),
}

/// What a PUBLISH said beside its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The topic name.
    pub topic: Bytes,
    /// How surely it was sent.
    pub qos: QoS,
    /// Whether it is to be retained.
    pub retain: bool,
    /// What else it carries.
    pub properties: Properties,
    /// Of a message that is to be stored exactly once: the restart of the client's session, and the message's place in it.
    pub identity: Option<(Restart, Sequence)>,
}

/// What happened to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The ticket of the message.
    pub ticket: u64,
    /// How it ended.
    pub verdict: Verdict,
}

/// How a message ended. The MQTT reason codes are the front's business; the meaning is fixed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every sequence in it is on disk. PUBACK with success.
    Stored,
    /// Durable as well, but some of it only as a dead letter: do not resend. PUBACK with 0x99; on 3.1.1 a
    /// plain PUBACK.
    DeadLettered(Reason),
    /// Not even the manifest could be read, nothing was stored. PUBACK with 0x83; on 3.1.1 close. Everything
    /// later on the connection is `Failed`.
    Unreadable(&'static str),
    /// Nothing is promised; close the connection without PUBACK, the agent comes back and resends.
    Failed(Failure),
}

impl Verdict {
    /// Whether everything later on the connection is refused after it.
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Unreadable(_) | Self::Failed(_))
    }
}

/// Why something became a dead letter. The text is the `reason` of the record, of metrics and of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The body of the batch does not decode; the manifest names its identities.
    UnreadableBody,
    /// No description arrived within the wait. Redrivable.
    UnknownSchema,
    /// The description has no such channel.
    UnknownChannel,
    /// The channel carries another kind of value.
    WrongKind,
    /// A float or double that is not a finite number.
    NotFinite,
    /// A text longer than [`weir_protocol::reading::MAX_TEXT`] bytes.
    TextTooLong,
    /// The reading does not decode; neither does anything after it in its run.
    UnreadableReading,
    /// A description that does not decode or does not match its hash.
    UnreadableDescription,
    /// A description of a device that has as many schemas as a device may have. Its readings are `UnknownSchema`.
    TooManySchemas,
    /// What the gateway knew about the sequences in front was lost with its checkpoints: it may be in the log already.
    HistoryUnknown,
    /// The channel's unit is not what it was ([`crate::schemas::evolution`]). Redrivable, as the next two.
    UnitChanged,
    /// The channel is a number no more, or was none.
    KindChanged,
    /// The channel's kind no longer holds what it held.
    KindNarrowed,
    /// The device is bound to another agent. It is no verdict on the sequences: their owner may still send them. Redrivable
    /// once the device is moved.
    NotBound,
    /// The agent's rules refuse its value. A redrive stores it all the same.
    OutOfRange,
}

impl From<Rule> for Reason {
    fn from(rule: Rule) -> Self {
        match rule {
            Rule::Unit => Self::UnitChanged,
            Rule::Kind => Self::KindChanged,
            Rule::Narrowed => Self::KindNarrowed,
        }
    }
}

impl From<Refusal> for Reason {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::OutOfRange => Self::OutOfRange,
        }
    }
}

impl Reason {
    /// Every reason, for metrics that must exist before they count.
    pub const ALL: [Self; 15] = [
        Self::UnreadableBody,
        Self::UnknownSchema,
        Self::UnknownChannel,
        Self::WrongKind,
        Self::NotFinite,
        Self::TextTooLong,
        Self::UnreadableReading,
        Self::UnreadableDescription,
        Self::TooManySchemas,
        Self::HistoryUnknown,
        Self::UnitChanged,
        Self::KindChanged,
        Self::KindNarrowed,
        Self::NotBound,
        Self::OutOfRange,
    ];

    /// The name in records, metrics and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnreadableBody => "unreadable-body",
            Self::UnknownSchema => "unknown-schema",
            Self::UnknownChannel => "unknown-channel",
            Self::WrongKind => "wrong-kind",
            Self::NotFinite => "not-finite",
            Self::TextTooLong => "text-too-long",
            Self::UnreadableReading => "unreadable-reading",
            Self::UnreadableDescription => "unreadable-description",
            Self::TooManySchemas => "too-many-schemas",
            Self::HistoryUnknown => "history-unknown",
            Self::UnitChanged => Rule::Unit.as_str(),
            Self::KindChanged => Rule::Kind.as_str(),
            Self::KindNarrowed => Rule::Narrowed.as_str(),
            Self::NotBound => NOT_BOUND,
            Self::OutOfRange => Refusal::OutOfRange.as_str(),
        }
    }
}

/// The name of [`Reason::NotBound`].
pub(crate) const NOT_BOUND: &str = "not-bound";

/// Why nothing is promised about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The commit failed on a partition that the message touched, or on one that was to be committed before.
    /// v5: DISCONNECT 0x83.
    Commit,
    /// An earlier message of this connection was refused, so order forbids this one. v5: PUBACK 0x80, because 0x83
    /// would make the agent halve a good batch.
    AfterRefusal,
    /// A bound on devices, restarts or ranges is reached: refused, never forgotten. v5: PUBACK 0x97.
    Quota,
    /// The gateway is stopping. v5: DISCONNECT 0x8B.
    Stopping,
}

impl Failure {
    /// Every failure, for metrics that must exist before they count.
    pub const ALL: [Self; 4] = [Self::Commit, Self::AfterRefusal, Self::Quota, Self::Stopping];

    /// The name in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::AfterRefusal => "after-refusal",
            Self::Quota => "quota",
            Self::Stopping => "stopping",
        }
    }
}

/// What ingest tells a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The next outcomes in the order of the messages; those of one commit come together, so that one write
    /// carries all PUBACKs.
    Outcomes(Vec<Outcome>),
    /// Publish this on the agent's command topic.
    Ask(AgentCommand),
}

/// Where a connection gets its [`Event`]s. Unbounded in type, bounded in fact: one outcome per message, and
/// one `Ask` per message at most; the messages are bounded by the budgets and by Receive Maximum.
pub type Events = tokio::sync::mpsc::UnboundedSender<Event>;

#[cfg(test)]
mod tests;

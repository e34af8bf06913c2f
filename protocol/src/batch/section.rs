//! Sections: the unit that the agent queues and the gateway ingests.
//!
//! On the wire and in the queue: the postcard encoding of [`Section`]. Times within a run are differences,
//! because readings of one device lie close together.

use core::fmt;
use serde::{Deserialize, Serialize};

use super::processed::{SetAside, Summary};
use crate::channel::SchemaHash;
use crate::identity::{DeviceId, Restart, Sequence};
use crate::items::{self, Items};
use crate::reading::{ChannelId, Reading, Value};
use crate::time::{Clock, Timestamp};

/// One thing that a batch says. Append-only: see [`crate::version`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Section<'a> {
    /// Consecutive readings.
    #[serde(borrow)]
    Readings(ReadingRun<'a>),
    /// Sequences that are lost.
    Claim(Claim),
    /// A restart that ended without anyone knowing how far it had sampled.
    End(RestartEnd),
    /// What the agent accepted of a restart, and what of it the agent still holds.
    #[serde(borrow)]
    Position(Position<'a>),
    /// Readings that stand for others, and which.
    #[serde(borrow)]
    Summary(Summary<'a>),
    /// Readings that the agent's rules refuse.
    #[serde(borrow)]
    SetAside(SetAside<'a>),
}

/// Readings with consecutive sequences `first, first + 1, ...`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadingRun<'a> {
    /// The device that sampled.
    pub device: DeviceId,
    /// Its restart.
    pub restart: Restart,
    /// The schema of the readings.
    pub schema: SchemaHash,
    /// The sequence of the first reading.
    pub first: Sequence,
    /// How many readings follow.
    pub count: u32,
    /// The time that the first difference is from.
    pub start: Timestamp,
    /// The readings.
    #[serde(borrow)]
    pub readings: Items<'a, RunItem<'a>>,
}

/// A reading within a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunItem<'a> {
    /// See [`Reading::channel`].
    pub channel: ChannelId,
    /// Microseconds since the reading before, or since the start of the run.
    pub delta: i64,
    /// See [`Reading::clock`].
    pub clock: Clock,
    /// See [`Reading::value`].
    #[serde(borrow)]
    pub value: Value<'a>,
}

impl<'a> ReadingRun<'a> {
    /// The first sequence after the run; `None` if the run leaves the range of sequences.
    pub fn end(&self) -> Option<Sequence> {
        self.first.0.checked_add(u64::from(self.count)).map(Sequence)
    }

    /// The readings with their sequences. A run that holds fewer or more items than `count` says ends with
    /// an error.
    pub fn iter(&self) -> impl Iterator<Item = Result<(Sequence, Reading<'a>), postcard::Error>> + use<'a> {
        let mut items = self.readings.iter();
        let (first, count) = (self.first, u64::from(self.count));
        let mut time = self.start;
        let mut index = 0;
        core::iter::from_fn(move || {
            if index == count {
                let left_over = !items.rest().is_empty();
                index += 1;
                return left_over.then_some(Err(postcard::Error::DeserializeBadEncoding));
            }
            if index > count {
                return None;
            }
            let item: RunItem<'a> = match items.next() {
                Some(Ok(item)) => item,
                Some(Err(error)) => {
                    index = count + 1;
                    return Some(Err(error));
                }
                None => {
                    index = count + 1;
                    return Some(Err(postcard::Error::DeserializeUnexpectedEnd));
                }
            };
            time = time.plus_micros(item.delta);
            let sequence = Sequence(first.0.saturating_add(index));
            index += 1;
            Some(Ok((sequence, Reading { channel: item.channel, time, clock: item.clock, value: item.value })))
        })
    }
}

/// Collects readings into a run.
#[derive(Debug)]
pub struct RunBuilder {
    device: DeviceId,
    restart: Restart,
    schema: SchemaHash,
    first: Sequence,
    count: u32,
    start: Timestamp,
    last: Timestamp,
    items: Vec<u8>,
}

impl RunBuilder {
    /// An empty run whose first reading takes `first`.
    pub fn new(device: DeviceId, restart: Restart, schema: SchemaHash, first: Sequence) -> Self {
        let zero = Timestamp::default();
        Self { device, restart, schema, first, count: 0, start: zero, last: zero, items: Vec::new() }
    }

    /// Appends the reading with the next sequence.
    pub fn push(&mut self, reading: &Reading<'_>) {
        if self.count == 0 {
            self.start = reading.time;
            self.last = reading.time;
        }
        let delta = reading.time.since(self.last);
        self.last = self.last.plus_micros(delta);
        self.count += 1;
        let item = RunItem { channel: reading.channel, delta, clock: reading.clock, value: reading.value };
        items::push(&mut self.items, &item);
    }

    /// How many readings it holds.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The run.
    pub fn run(&self) -> ReadingRun<'_> {
        ReadingRun {
            device: self.device,
            restart: self.restart,
            schema: self.schema,
            first: self.first,
            count: self.count,
            start: self.start,
            readings: Items::new(&self.items),
        }
    }

    /// The run as a section.
    pub fn section(&self) -> Section<'_> {
        Section::Readings(self.run())
    }
}

/// The claim that the sequences `[start, end)` are lost. The gateway counts those that it has not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Claim {
    /// The device that sampled.
    pub device: DeviceId,
    /// Its restart.
    pub restart: Restart,
    /// Where the sequences were lost.
    pub kind: LossKind,
    /// The first sequence lost.
    pub start: Sequence,
    /// The first sequence after those.
    pub end: Sequence,
}

/// Where a sequence was lost. Append-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossKind {
    /// The device's ring was full: the oldest readings made room.
    Ring,
    /// The agent's queue was full and its policy dropped readings.
    Queue,
    /// Sampled before this agent first heard of the restart.
    UnknownHistory,
    /// Accepted by an agent that no longer has it.
    Unaccounted,
    /// On a damaged part of the log.
    Damage,
    /// The gateway refused the reading alone, and it can never be stored.
    Rejected,
    /// Taken out of an agent's queue into a file; not lost if that file is imported, which heals it.
    Exported,
    /// The agent's rules dropped it, suppressed it or put a summary in its place: a decision, not a loss.
    Reduced,
    /// It was in the agent's queue for longer than it may be.
    Expired,
}

impl LossKind {
    /// The name in records, metrics and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Queue => "queue",
            Self::UnknownHistory => "unknown-history",
            Self::Unaccounted => "unaccounted",
            Self::Damage => "damage",
            Self::Rejected => "rejected",
            Self::Exported => "exported",
            Self::Reduced => "reduced",
            Self::Expired => "expired",
        }
    }

    /// Whether somebody decided that the gateway need not have it, and nothing went wrong.
    pub const fn is_decision(self) -> bool {
        matches!(self, Self::Reduced | Self::Exported)
    }
}

impl fmt::Display for LossKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A restart ended and its ring was lost with it: sequences from `from` on may have been sampled, and nobody
/// knows how many. Reported apart from loss, because it names no sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RestartEnd {
    /// The device.
    pub device: DeviceId,
    /// The restart that ended.
    pub restart: Restart,
    /// The first sequence that was never accepted.
    pub from: Sequence,
}

/// How far an agent has come with a restart. Every sequence of `[from, upto)` was durable at the agent once, as a
/// reading or as a claim; those that are neither in `held` nor known to the gateway are gone, and the gateway counts
/// them as [`LossKind::Unaccounted`]. Names no identity in the manifest: a position that cannot be read is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Position<'a> {
    /// The device.
    pub device: DeviceId,
    /// Its restart.
    pub restart: Restart,
    /// The first sequence that the agent accounts for. An agent that claimed what came before its first reading
    /// accounts for that too and says 0: should the gateway's record of the claim be damaged, this brings it back.
    pub from: Sequence,
    /// The first sequence that the agent has not accepted.
    pub upto: Sequence,
    /// Covers everything that the agent still holds or has in flight: ascending, disjoint, at most [`MAX_HELD`].
    #[serde(borrow)]
    pub held: Items<'a, Held>,
}

/// The most ranges that a position names; an agent that holds more names covering ranges, which only delays the
/// accounting.
pub const MAX_HELD: usize = 256;

/// Sequences `[start, end)` that an agent still holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Held {
    /// The first sequence.
    pub start: Sequence,
    /// The first sequence after those.
    pub end: Sequence,
}

//! What an agent's rules make of readings before they are queued: summaries, and readings that are refused.
//!
//! Both end with their run, so that whoever keeps the encoded section finds the readings at its end.

use core::fmt;
use serde::{Deserialize, Serialize};

use super::section::{Held, ReadingRun};
use crate::identity::Restart;
use crate::items::Items;

/// The longest text that says why readings were refused, in bytes.
pub const MAX_DETAIL: usize = 96;

/// Readings that stand for others, in one section because neither may arrive without the other: the gateway stores the
/// readings and counts the sequences that they stand for as [`super::LossKind::Reduced`]. A run of no readings says that
/// the rules left nothing of those sequences.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary<'a> {
    /// The restart that the device sampled under; the run has one of its own, which the agent issued.
    pub of: Restart,
    /// The sequences that are not sent: ascending, disjoint, at least one range and at most [`super::MAX_HELD`].
    #[serde(borrow)]
    pub ranges: Items<'a, Held>,
    /// What is sent instead.
    #[serde(borrow)]
    pub run: ReadingRun<'a>,
}

/// Readings that the agent's rules refuse: the gateway keeps them as dead letters, from which they can be redriven.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetAside<'a> {
    /// Which rule they broke.
    pub refusal: Refusal,
    /// What was expected, for people, such as `-40 to 85 Cel`; at most [`MAX_DETAIL`] bytes.
    pub expected: &'a str,
    /// The readings.
    #[serde(borrow)]
    pub run: ReadingRun<'a>,
}

/// Why the rules of an agent refuse a reading. Append-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// Its value is outside of what the channel may say.
    OutOfRange,
}

impl Refusal {
    /// The name in records, metrics and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OutOfRange => "out-of-range",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

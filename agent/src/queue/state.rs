//! What the agent must know besides the records of its queue.
//!
//! The state covers the records of each class below its `covered`; on open the rest of the logs is read on top of it.
//! What an unlink depends on (`restarts`, `shipped`) is durable before it. [`super::stored`] is how it is kept. Claims
//! beside the logs are in a file of their own.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use weir_protocol::RangeSet;
use weir_protocol::name::Name;
use weir_storage::Reader;

use super::{Blocks, Claims, ClassId, DEFAULT_CLASS, Descriptions, Key, Restarts};
use crate::processing::Held;

/// Which life of the queue this is: 128 random bits, new whenever the queue starts from nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incarnation(pub u128);

impl fmt::Display for Incarnation {
    /// As a UUID of version 4 (RFC 9562).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.0 & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
        let part = |shift: u32, digits: u32| (bits >> shift) & ((1 << (4 * digits)) - 1);
        let [a, b, c, d, e] = [part(96, 8), part(80, 4), part(64, 4), part(48, 4), part(0, 12)];
        write!(f, "{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}")
    }
}

/// The state of the queue, in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Which life of the queue this is.
    pub incarnation: Incarnation,
    /// How far each restart was accepted, durable readings and claims only.
    pub restarts: Restarts,
    /// What devices described.
    pub descriptions: Descriptions,
    /// When [`ClassState::ages`] were noted, in milliseconds since 1970; 0 if they never were.
    pub aged_ms: i64,
    /// Claims that wait beside the logs, durable before they are here.
    pub claims: Claims,
    /// Readings in open windows, durable before they are here.
    pub held: Held,
    /// What is known of each log; the first is that of `default`.
    pub classes: Vec<ClassState>,
}

/// What is known of the log of one class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassState {
    /// What the class is called.
    pub name: Name,
    /// Records below this offset are in [`State::restarts`].
    pub covered: u64,
    /// Offsets of records that the gateway has.
    pub shipped: RangeSet,
    /// What the records below `covered` name.
    pub blocks: Blocks,
    /// How long each closed segment has been closed, and the last one written, in milliseconds, by its base offset; empty
    /// without `max_age`.
    pub ages: BTreeMap<u64, u64>,
    /// Records below this offset are in flight, or were, at the front of the log; 0 while there is no connection. Not
    /// kept on disk.
    pub sent_below: u64,
}

/// The state as its users share it; every hold is short and never across an await.
#[derive(Clone, Debug)]
pub struct SharedState(Arc<Mutex<State>>);

impl State {
    /// A queue that holds nothing yet.
    pub fn new(incarnation: Incarnation) -> Self {
        Self {
            incarnation,
            restarts: Restarts::default(),
            descriptions: Descriptions::default(),
            aged_ms: 0,
            claims: Claims::default(),
            held: Held::default(),
            classes: vec![ClassState::new(DEFAULT_CLASS)],
        }
    }

    /// What is known of a class of the open queue.
    pub fn of(&self, class: ClassId) -> &ClassState {
        &self.classes[class.index()]
    }

    /// The same, to change it.
    pub fn of_mut(&mut self, class: ClassId) -> &mut ClassState {
        &mut self.classes[class.index()]
    }

    /// What is known of a class by its name.
    pub fn named(&self, name: Name) -> Option<&ClassState> {
        self.classes.iter().find(|class| class.name == name)
    }
}

impl ClassState {
    /// Of a log that holds nothing yet.
    pub fn new(name: Name) -> Self {
        let (shipped, blocks, ages) = Default::default();
        Self { name, covered: 0, shipped, blocks, ages, sent_below: 0 }
    }

    /// Notes that records are durable at `offsets`, in a segment that began at `began` if one did, and what they name.
    pub fn note(&mut self, offsets: &Range<u64>, began: Option<u64>, named: &BTreeMap<Key, RangeSet>) {
        let begins = began.is_some_and(|began| began >= self.covered);
        self.covered = offsets.end;
        if !offsets.is_empty() {
            let ranges = named.iter().flat_map(|(key, set)| set.iter().map(|range| (*key, range)));
            self.blocks.note(offsets.clone(), begins, ranges);
        }
    }

    /// The first offset at or above `start` that the gateway does not have yet.
    pub fn first_unshipped(&self, start: u64) -> u64 {
        self.shipped.gaps(start..u64::MAX).next().map_or(u64::MAX, |gap| gap.start)
    }

    /// Forgets what the blocks need not name any more; records below the offset that comes back may go.
    pub(super) fn trim(&mut self, reader: &Reader) -> u64 {
        let start = reader.start_offset();
        self.blocks.forget(start, &self.shipped);
        // What is shipped but not covered yet stays: the file does not know its restart.
        self.first_unshipped(start).min(self.covered)
    }

    /// The end of what it knows of its log.
    pub(super) fn known_end(&self) -> u64 {
        self.shipped.end().unwrap_or(0).max(self.covered)
    }
}

impl SharedState {
    /// Shares a state.
    pub fn new(state: State) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    /// Looks at it, or changes it.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

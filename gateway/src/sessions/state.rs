//! What a session is made of. While a client is attached its connection owns it; else the table does.
//!
//! A change is noted as the part that it changed ([`Part`]), and what is written is that part as it is then. So what could
//! not be written is written again by noting its parts once more, whatever has become of them since.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use weir_storage::Batch;

use super::Key;
use super::record::{self, History, Part, SessionRecord};
use crate::delivery::{Positions, Subscription, Unfinished};
use crate::mqtt::packet::Will;

/// What whoever sends to the client works with.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// What it asked for, by filter.
    pub subscriptions: Subscriptions,
    /// Where in the log it is.
    pub positions: Positions,
    /// What was sent and not acknowledged.
    pub outbound: Unfinished,
}

/// The subscriptions of a client, in the order of their filters; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Subscriptions(Arc<Vec<Subscription>>);

impl Subscriptions {
    /// The one with this filter.
    pub fn get(&self, filter: &str) -> Option<&Subscription> {
        self.find(filter).ok().map(|at| &self.0[at])
    }

    /// Adds one, or puts it in the place of the one with its filter; whether there was none.
    pub(super) fn set(&mut self, subscription: Subscription) -> bool {
        let at = self.find(&subscription.filter.filter);
        let all = Arc::make_mut(&mut self.0);
        match at {
            Ok(at) => all[at] = subscription,
            Err(at) => all.insert(at, subscription),
        }
        at.is_err()
    }

    /// Takes one out; whether it was there.
    pub(super) fn remove(&mut self, filter: &str) -> bool {
        let found = self.find(filter);
        if let Ok(at) = found {
            Arc::make_mut(&mut self.0).remove(at);
        }
        found.is_ok()
    }

    fn find(&self, filter: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|known| (*known.filter.filter).cmp(filter))
    }
}

impl Deref for Subscriptions {
    type Target = [Subscription];

    fn deref(&self) -> &[Subscription] {
        &self.0
    }
}

/// What of a session its connection changes through [`super::Session`] alone.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// None: the session ends with its connection, and nothing of it is written.
    pub(super) number: Option<u64>,
    /// Seconds that it outlives its connection; `u32::MAX`: for ever.
    pub(super) expiry: u32,
    pub(super) history: Option<History>,
    /// Sequences of the messages at QoS 2 that are not released, by packet id.
    pub(super) open: BTreeMap<u16, u64>,
    pub(super) will: Option<Box<Will>>,
    /// Parts that changed since they were handed in.
    pub(super) changed: BTreeSet<Part>,
    /// Parts that were handed in and could not be written.
    pub(super) failed: Arc<Failed>,
    /// Bytes that it is accounted with.
    pub(super) bytes: usize,
}

/// Parts that could not be written: whoever writes next writes them too.
#[derive(Debug, Default)]
pub(super) struct Failed(Mutex<BTreeSet<Part>>);

impl Failed {
    pub(super) fn add(&self, mut parts: BTreeSet<Part>) {
        self.lock().append(&mut parts);
    }

    pub(super) fn take(&self) -> BTreeSet<Part> {
        mem::take(&mut *self.lock())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<Part>> {
        // A set is whole between any two changes.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A whole session.
#[derive(Debug, Default)]
pub(super) struct Whole {
    pub(super) state: State,
    pub(super) kept: Kept,
}

/// A look at a whole session.
#[derive(Clone, Copy)]
pub(super) struct Contents<'a> {
    pub(super) state: &'a State,
    pub(super) kept: &'a Kept,
}

/// When a part is written: what stands in session records and in timestamps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) attached: bool,
    pub(super) clock_ms: i64,
    pub(super) wall_ms: i64,
}

impl Whole {
    pub(super) fn contents(&self) -> Contents<'_> {
        Contents { state: &self.state, kept: &self.kept }
    }

    /// Every part of which there may be a record, but for the history, which stays.
    pub(super) fn parts(&self) -> BTreeSet<Part> {
        let filters = self.state.subscriptions.iter().map(|known| Part::Subscription((*known.filter.filter).into()));
        let ids = self.kept.open.keys().map(|id| Part::OpenId(*id));
        let mut parts = self.kept.failed.take();
        parts.extend(self.kept.changed.iter().cloned());
        parts.extend([Part::Session, Part::Positions, Part::Will].into_iter().chain(filters).chain(ids));
        parts
    }
}

impl Contents<'_> {
    /// Bytes that it takes, about: what clients make long is counted, and the rest of it roughly.
    pub(super) fn measure(self) -> usize {
        const FIXED: usize = 512;
        const OF_EACH: usize = 64;
        let of_subscription =
            |known: &Subscription| size_of::<Subscription>() + known.filter.filter.len() + OF_EACH * known.since.len();
        let subscriptions: usize = self.state.subscriptions.iter().map(of_subscription).sum();
        let will = self.kept.will.as_deref().map_or(0, will_bytes);
        let others = self.state.positions.len() + self.kept.open.len() + self.state.outbound.sent.len();
        FIXED + subscriptions + will + OF_EACH * others
    }

    /// Adds the records of `parts` to `batch`: as they are, or that they are no more.
    pub(super) fn write(self, key: &Key, parts: &BTreeSet<Part>, at: Moment, batch: &mut Batch) {
        let (mut name, mut value) = (Vec::new(), Vec::new());
        for part in parts {
            record::encode_key(key, part, &mut name);
            let is_there = self.encode(part, at, &mut value);
            let pushed = batch.push(at.wall_ms, Some(&name), is_there.then_some(&value[..]), &[]);
            debug_assert!(pushed.is_ok(), "filters, wills and positions are bounded");
        }
    }

    /// Replaces `value` by the part; whether there is one.
    fn encode(self, part: &Part, at: Moment, value: &mut Vec<u8>) -> bool {
        let Self { state, kept } = self;
        if let Part::History = part {
            return kept.history.map(|history| history.encode(value)).is_some();
        }
        let Some(number) = kept.number else { return false };
        match part {
            Part::Session => {
                let (attached, clock_ms) = (at.attached, at.clock_ms);
                SessionRecord { number, expiry: kept.expiry, attached, clock_ms }.encode(value);
                true
            }
            Part::Subscription(filter) => {
                let known = state.subscriptions.get(filter);
                known.map(|known| record::subscription::encode(number, known, value)).is_some()
            }
            Part::Positions => {
                record::positions::encode(number, &state.positions, value);
                !state.positions.is_empty()
            }
            Part::OpenId(id) => {
                kept.open.get(id).map(|sequence| record::open_id::encode(number, *sequence, value)).is_some()
            }
            Part::Will => kept.will.as_ref().map(|will| record::will::encode(number, will, value)).is_some(),
            Part::History => false,
        }
    }
}

/// Bytes that a will takes.
pub(super) fn will_bytes(will: &Will) -> usize {
    size_of::<Will>() + will.topic.len() + will.payload.len() + will.properties.forwarded.len()
}

//! What the agent must know besides the records of its queue, and how it is kept.
//!
//! The state covers the records below `covered`; on open the rest of the log is read on top of it. What an
//! unlink depends on (`restarts`, `shipped`) is durable before it. Format: the payload of a
//! [`weir_storage::StateFile`]: version byte 1, then postcard of incarnation, covered, restarts, shipped ranges,
//! descriptions, blocks. Claims beside the log are in a file of their own.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use weir_protocol::{RangeSet, items::Items};

use super::blocks::StoredBlock;
use super::{Blocks, Claims, Descriptions, Key, Restarts};

const VERSION: u8 = 1;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Which life of the queue this is.
    pub incarnation: Incarnation,
    /// Records below this offset are in `restarts`.
    pub covered: u64,
    /// How far each restart was accepted, durable readings and claims only.
    pub restarts: Restarts,
    /// Offsets of records that the gateway has.
    pub shipped: RangeSet,
    /// What devices described.
    pub descriptions: Descriptions,
    /// What the records below `covered` name.
    pub blocks: Blocks,
    /// Claims that wait beside the log, durable before they are here.
    pub claims: Claims,
    /// Records below this offset are in flight, or were; 0 while there is no connection. Not kept on disk.
    pub sent_below: u64,
}

/// The state as its users share it; every hold is short and never across an await.
#[derive(Clone, Debug)]
pub struct SharedState(Arc<Mutex<State>>);

/// On disk.
#[derive(Serialize, Deserialize)]
struct Stored {
    incarnation: Incarnation,
    covered: u64,
    restarts: Restarts,
    shipped: Vec<(u64, u64)>,
    descriptions: Descriptions,
    blocks: Vec<StoredBlock>,
}

impl State {
    /// A queue that holds nothing yet.
    pub fn new(incarnation: Incarnation) -> Self {
        Self {
            incarnation,
            covered: 0,
            restarts: Restarts::default(),
            shipped: RangeSet::new(),
            descriptions: Descriptions::default(),
            blocks: Blocks::default(),
            claims: Claims::default(),
            sent_below: 0,
        }
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

    /// The bytes to store.
    pub fn encode(&self) -> Vec<u8> {
        let stored = Stored {
            incarnation: self.incarnation,
            covered: self.covered,
            restarts: self.restarts.clone(),
            shipped: self.shipped.iter().map(|range| (range.start, range.end)).collect(),
            descriptions: self.descriptions.clone(),
            blocks: self.blocks.stored(),
        };
        let mut bytes = vec![VERSION];
        weir_protocol::items::push(&mut bytes, &stored);
        bytes
    }

    /// Reads stored bytes; `Err` says what is wrong with them.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let stored: Stored = match bytes.split_first() {
            Some((&VERSION, rest)) => {
                let mut items = Items::new(rest).iter();
                items.next().and_then(Result::ok).filter(|_| items.rest().is_empty())
            }
            Some((version, _)) => return Err(format!("version {version}; this build reads {VERSION}")),
            None => None,
        }
        .ok_or("not decodable")?;
        Ok(Self {
            incarnation: stored.incarnation,
            covered: stored.covered,
            restarts: stored.restarts,
            shipped: stored.shipped.into_iter().map(|(start, end)| start..end).collect(),
            descriptions: stored.descriptions,
            blocks: Blocks::of_stored(stored.blocks),
            claims: Claims::default(),
            sent_below: 0,
        })
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

//! Which descriptions are dead letters already: agents repeat what they know on every connection, and a
//! description names no sequence by which its repeat could be told. Kept for each dead-letter log.
//!
//! Bounded by [`MAX_BURIED`]; what came first is forgotten first, and then a repeat is one more dead letter.

use std::collections::{HashSet, VecDeque};

use weir_protocol::{AgentId, Tenant};

/// The most descriptions that are remembered.
const MAX_BURIED: usize = 4096;

/// Who sent a description and what it was, as a hash: whoever finds a collision hides a letter of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Remains(u64);

impl Remains {
    /// As a checkpoint holds it.
    pub(crate) const fn from_hash(hash: u64) -> Self {
        Self(hash)
    }

    pub(crate) fn of(tenant: Tenant, agent: AgentId, payload: &[u8]) -> Self {
        let parts = [tenant.as_bytes(), agent.as_bytes(), payload];
        Self(parts.into_iter().fold(FNV_OFFSET, |hash, part| fnv(fnv(hash, part), &[0])))
    }
}

/// FNV-1a, 64 bit, as published by Fowler, Noll and Vo: the same in every build, because checkpoints hold it.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
}

/// The descriptions whose dead letter is committed.
#[derive(Debug, Default)]
pub(crate) struct Buried {
    known: HashSet<Remains>,
    order: VecDeque<Remains>,
}

impl Buried {
    /// How many are remembered.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// Their hashes, those that came first in front.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.order.iter().map(|remains| remains.0)
    }

    pub(crate) fn contains(&self, remains: Remains) -> bool {
        self.known.contains(&remains)
    }

    /// The dead letter is committed.
    pub(crate) fn insert(&mut self, remains: Remains) {
        if !self.known.insert(remains) {
            return;
        }
        self.order.push_back(remains);
        if self.order.len() > MAX_BURIED
            && let Some(first) = self.order.pop_front()
        {
            self.known.remove(&first);
        }
    }
}

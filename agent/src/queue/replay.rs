//! How far each restart was accepted, from the records that the state does not cover.
//!
//! One commit may touch several logs, and a power cut may keep only some of them: then no device was acknowledged for
//! it. So a restart is accepted only as far as what is in all logs, and beside them, follows on from what the state knew.
//! Where something cannot be read, that would make a device send again what it was acknowledged for and does not have:
//! then the last sequence counts, and what is missing below it is unaccounted. What was above it nobody knows here: the
//! restart is in doubt, until its device says what it was acknowledged for.

use std::collections::BTreeMap;

use weir_protocol::batch::{LossKind, Section};
use weir_protocol::{RangeSet, Sequence};

use super::records::sequences;
use super::{Claims, Key, Restarts};
use crate::processing::held::HeldReplay;

/// What the records say, collected.
#[derive(Default)]
pub(super) struct Replay {
    restarts: BTreeMap<Key, Seen>,
    /// What they say of windows.
    pub(super) windows: HeldReplay,
    /// Something that was acknowledged may be missing.
    pub(super) is_damaged: bool,
    /// Something that the state does not cover cannot be read.
    pub(super) is_unreadable: bool,
}

#[derive(Default)]
struct Seen {
    durable: RangeSet,
    /// Of those, what is claimed beside the logs.
    beside: RangeSet,
    /// The end of what was sampled before the agent heard of the restart.
    history: u64,
    /// Where its end was said to be.
    end: Option<u64>,
}

impl Replay {
    pub(super) fn new(is_damaged: bool, is_unreadable: bool) -> Self {
        Self { is_damaged, is_unreadable, ..Self::default() }
    }

    /// Takes a record in.
    pub(super) fn record(&mut self, section: &Section<'_>) {
        for (key, range) in sequences(section) {
            let seen = self.restarts.entry(key).or_default();
            seen.durable.insert(range.clone());
            if matches!(section, Section::Claim(claim) if claim.kind == LossKind::UnknownHistory) {
                seen.history = seen.history.max(range.end);
            }
        }
        if let Section::End(end) = section {
            self.restarts.entry((end.device, end.restart)).or_default().end = Some(end.from.0);
        }
    }

    /// Takes in what waits beside the logs.
    pub(super) fn beside(&mut self, claims: &Claims) {
        for (key, kind, set) in claims.lost() {
            let seen = self.restarts.entry(key).or_default();
            seen.beside.union(set);
            if kind == LossKind::UnknownHistory
                && let Some(first) = set.iter().next().filter(|range| range.start == 0)
            {
                seen.history = seen.history.max(first.end);
            }
        }
    }

    /// Moves the restarts on; what is left to do for windows.
    pub(super) fn finish(self, restarts: &mut Restarts) -> HeldReplay {
        let doubtful: Vec<Key> = match self.is_unreadable {
            true => restarts.latest().chain(self.restarts.keys().copied()).collect(),
            false => Vec::new(),
        };
        for (key, seen) in self.restarts {
            let known = restarts.get(&key).copied();
            let start = known.map_or(0, |known| known.accepted.0);
            let mut all = seen.durable.clone();
            all.union(&seen.beside);
            let last = match self.is_damaged {
                true => seen.durable.end().unwrap_or(0).max(start),
                false => start,
            };
            let follows = |from: u64| all.overlaps(from..u64::MAX).next().filter(|range| range.start == from);
            // A restart that is over has nothing left that it could send again.
            let end = seen.end.unwrap_or(0);
            let accepted = follows(last).map_or(last, |range| range.end).max(end);
            let ended = match seen.end {
                Some(end) => end == accepted,
                None => known.is_some_and(|known| known.ended) && accepted == start,
            };
            if accepted > start || seen.end.is_some() {
                restarts.accept(key, Sequence(seen.history), Sequence(accepted), ended);
            }
        }
        doubtful.iter().for_each(|key| restarts.doubt(key));
        self.windows
    }
}

//! What is counted.

use super::coordinator::{Counts, State};
use super::service::Groups;

/// Counted under the lock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    pub(super) commits: u64,
    pub(super) commits_failed: u64,
    pub(super) expired: u64,
    pub(super) over_bounds: u64,
}

/// What happened since the start, and what there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Groups in each state, in the order of [`State::ALL`].
    pub groups: [u64; State::ALL.len()],
    /// Members of all groups.
    pub members: u64,
    /// Requests to commit offsets that were handed to the log.
    pub commits: u64,
    /// Writes of offsets that failed.
    pub commits_failed: u64,
    /// Offsets stored.
    pub offsets: u64,
    /// Offsets that ended because nobody used them.
    pub offsets_expired: u64,
    /// Rebalances that ended.
    pub rebalances: u64,
    /// Members that were sent away because they were silent.
    pub members_expired: u64,
    /// Requests of members whose instance another one has taken over.
    pub fenced: u64,
    /// Requests refused because a bound was reached.
    pub over_bounds: u64,
}

impl Groups {
    /// What is counted.
    pub fn stats(&self) -> Stats {
        let state = self.shared.lock();
        let Counts { rebalances, expired, over_bounds, fenced } = state.coordinator.counts();
        let mut stats = Stats {
            commits: state.counters.commits,
            commits_failed: state.counters.commits_failed,
            offsets: state.table.entries() as u64,
            offsets_expired: state.counters.expired,
            rebalances,
            members_expired: expired,
            fenced,
            over_bounds: over_bounds + state.counters.over_bounds,
            ..Stats::default()
        };
        for listed in state.coordinator.list() {
            if let Some(count) = State::ALL.iter().position(|known| *known == listed.state) {
                stats.groups[count] += 1;
            }
            stats.members += listed.members as u64;
        }
        stats
    }
}

//! What time does to groups: offsets that nobody uses end, and groups without anything are forgotten.

use std::time::Duration;

use weir_storage::{Compaction, RemoveError};

use super::names::GroupId;
use super::offsets::log::Records;
use super::offsets::record::Usage;
use super::service::{Groups, State};

/// Offsets that one sweep may end: what it writes is one commit.
const MAX_ENDED: usize = 10_000;

impl Groups {
    /// How often it is looked for what has grown old.
    pub(super) const SWEEP: Duration = Duration::from_secs(30);

    /// Groups that had members when the last run ended have been without them since this one began.
    pub(super) fn end_uses_of_the_last_run(&self) {
        self.step(|state, now| {
            let used = |group: &&GroupId| state.table.usage(group.as_str()).is_some_and(|usage| usage.in_use);
            let used: Vec<GroupId> = state.table.groups().filter(used).cloned().collect();
            for group in used {
                self.note_usage(state, &group, false, now);
            }
        });
    }

    /// A group got its first members, or lost its last one. Nobody waits for the record: if it is lost with the power,
    /// the offsets of the group are a little older or younger than they should be.
    pub(super) fn note_usage(&self, state: &mut State, group: &GroupId, in_use: bool, now: Duration) {
        if !in_use && !state.table.has_offsets(group.as_str()) {
            self.forget_usage(state, group);
            return;
        }
        let usage = Usage { in_use, clock_ms: self.shared.clock.at(now) };
        self.write_usage(state, group, Some(usage));
    }

    pub(super) fn forget_usage(&self, state: &mut State, group: &GroupId) {
        if state.table.usage(group.as_str()).is_some() {
            self.write_usage(state, group, None);
        }
    }

    fn write_usage(&self, state: &mut State, group: &GroupId, usage: Option<Usage>) {
        state.table.set_usage(group, usage);
        let mut records = Records::default();
        records.usage(group, usage, self.shared.clock.wall(self.shared.elapsed()));
        let (groups, group) = (self.clone(), group.clone());
        self.hand_in(state, records, move |written| match written {
            Ok(offsets) => groups.announce(offsets.end),
            Err(error) => tracing::warn!(%group, error, "whether the group is in use could not be written"),
        });
    }

    /// Takes out what later records have replaced. Reads and writes files: not for an async task.
    pub(super) fn compact(&self) {
        match self.shared.log.compact() {
            Ok(Compaction { removed_records: removed, allocated: (before, after), left, damage, .. }) => {
                tracing::info!(removed, before, after, left, damages = damage.len(), "weir.offsets compacted");
            }
            Err(RemoveError::Stopped) => (),
            Err(error) => tracing::warn!(%error, "weir.offsets could not be compacted; it is tried again"),
        }
    }

    /// Ends offsets that are older than `offsets_retention` in groups that have had no members for as long.
    pub(super) fn sweep(&self) {
        self.step(|state, now| {
            let clock = self.shared.clock.at(now);
            let retention = i64::try_from(self.shared.options.offsets_retention.as_millis()).unwrap_or(i64::MAX);
            let is_old = |since_ms: i64| clock.saturating_sub(since_ms) >= retention;
            let mut left = MAX_ENDED;
            let groups: Vec<GroupId> = state.table.groups().cloned().collect();
            for group in groups {
                let name = group.as_str();
                let is_used = state.coordinator.has(name) && state.coordinator.empty_since(name).is_none();
                let is_young = state.table.usage(name).is_some_and(|usage| usage.in_use || !is_old(usage.clock_ms));
                if is_used || is_young || left == 0 {
                    continue;
                }
                // An offset that is being written is new, whatever is there before it.
                let old = state.table.settled(name).filter(|(_, _, committed)| is_old(committed.clock_ms));
                let old: Vec<_> = old.take(left).map(|(topic, partition, _)| (topic.clone(), partition)).collect();
                left -= old.len();
                if old.len() == state.table.places(name).len() {
                    self.forget_usage(state, &group);
                }
                state.counters.expired += old.len() as u64;
                let each = vec![Ok(()); old.len()];
                let _ = self.write_deletions(state, &group, old.into_iter().enumerate().collect(), each);
            }
            let State { coordinator, table, .. } = state;
            coordinator.forget_idle(now, |group| table.has_offsets(group.as_str()));
        });
    }
}

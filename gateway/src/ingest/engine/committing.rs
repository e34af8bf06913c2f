//! Groups on their way to disk and back: what moves, what is shown, who is answered; and snapshots of what is committed.

use std::mem;

use weir_storage::{Batch, Part as CommittedPart};

use super::super::group::{Group, LogSet};
use super::super::moves::Move;
use super::super::snapshots::Snapshot;
use super::Engine;

impl Engine {
    /// Gives the staged group to the committer, if that has none.
    pub(crate) fn take_group(&mut self) -> Option<Vec<(usize, Batch)>> {
        if self.in_flight.is_some() || self.staging.bytes() == 0 {
            return None;
        }
        let number = self.staging.number + 1;
        let mut next = self.spare.take().unwrap_or_else(|| Group::new(number, self.routes.logs()));
        next.reset(number);
        let mut group = mem::replace(&mut self.staging, next);
        let parts = group.take_parts();
        #[cfg(feature = "plant")]
        if self.options.plant == Some(crate::ingest::plant::Plant::AckBeforeSync) {
            self.resolved = group.number;
            self.answer(&group.connections);
        }
        self.in_flight = Some(group);
        Some(parts)
    }

    /// The committer is done with the group: moves state, exposes, answers; then who waited for it goes on.
    pub(crate) fn committed(&mut self, parts: Vec<CommittedPart>) {
        let Some(mut group) = self.in_flight.take() else { return };
        let failed = failed_logs(&parts);
        // A log that rolled has everything before this group in closed segments, and the state is still that of then.
        for (log, offset) in parts.iter().filter_map(|part| Some((part.log, part.rolled?))) {
            self.begin_snapshot(log, offset, None);
        }
        let described = group.moves.iter().any(Move::is_description);
        for change in group.moves.drain(..) {
            if failed.contains(change.log) {
                change.undo(&mut self.devices);
            } else {
                if let Some(restart) = change.restart() {
                    self.rows.note(change.device, restart);
                }
                for log in change.changes() {
                    self.snapshots.before_change(log, change.device, &self.devices, &self.routes);
                }
                change.apply(&mut self.devices, &self.counters);
            }
        }
        for (_, partition, remains) in group.buried.drain(..).filter(|(log, ..)| !failed.contains(*log)) {
            if let Some(grave) = self.devices.grave(partition) {
                grave.buried.insert(remains);
            }
        }
        for part in &parts {
            if let Ok(offsets) = &part.result {
                self.ends[part.log] = offsets.end;
                self.exposure.expose(part.log, offsets.end);
                self.counters.messages.add(group.messages(part.log));
                self.counters.committed_bytes.add(part.batch.byte_len() as u64);
            }
        }
        self.resolved = group.number;
        self.counters.commits.add(1);
        if !failed.is_empty() {
            self.counters.failed_commits.add(1);
            self.fail(&group, &failed);
        }
        self.answer(&group.connections);

        for part in parts {
            group.reuse(part.log, part.batch);
        }
        self.spare = Some(group);
        self.ready.extend(mem::take(&mut self.parked));
        if described {
            self.ready.extend(self.held.iter().map(|(_, id)| *id));
        }
    }

    /// Begins a snapshot of what is committed in a log now; `asked` comes back with it.
    pub(crate) fn ask_snapshot(&mut self, log: usize, asked: u64) {
        self.begin_snapshot(log, self.ends[log], Some(asked));
    }

    pub(super) fn begin_snapshot(&mut self, log: usize, offset: u64, asked: Option<u64>) {
        if offset == 0 && asked.is_none() {
            // The first segment of a log: nothing is before it.
            return;
        }
        let losses = self.routes.losses_of(log, &self.ends);
        self.snapshots.begin(Snapshot::of(log, offset, losses, asked), &self.devices, &self.routes);
    }

    /// Begins a snapshot of every log that has records, as if each had rolled; none is under way.
    pub(crate) fn snapshot_all(&mut self) {
        for log in 0..self.ends.len() {
            self.begin_snapshot(log, self.ends[log], None);
        }
    }

    /// Goes on with the snapshots under way; those that are finished.
    pub(crate) fn step_snapshots(&mut self) -> Vec<Snapshot> {
        self.snapshots.step(&self.devices, &self.routes, &self.ends);
        self.snapshots.take_done()
    }

    /// Whether [`Engine::step_snapshots`] has something to do.
    pub(crate) fn is_taking_snapshots(&self) -> bool {
        self.snapshots.is_running()
    }

    /// Fails who touched a failed log, and everything staged behind.
    pub(super) fn fail(&mut self, group: &Group, failed: &LogSet) {
        for id in &group.connections {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.fail_group(group.number, Some(failed));
            }
        }
        let number = self.staging.number;
        self.damage.iter_mut().for_each(|job| job.forget(number));
        let moves = mem::take(&mut self.staging.moves);
        for change in moves {
            change.undo(&mut self.devices);
        }
        let behind = mem::take(&mut self.staging.connections);
        for id in &behind {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.fail_group(number, None);
            }
        }
        self.staging.reset(number + 1);
        self.answer(&behind);
    }

    pub(super) fn answer(&mut self, ids: &[u64]) {
        for id in ids {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.answer(self.resolved, &self.counters);
            }
        }
    }
}

fn failed_logs(parts: &[CommittedPart]) -> LogSet {
    let mut failed = LogSet::default();
    for part in parts.iter().filter(|part| part.result.is_err()) {
        failed.insert(part.log);
    }
    failed
}

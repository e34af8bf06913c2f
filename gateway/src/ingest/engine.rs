//! The rules of ingest as a state machine: messages in, groups of records out, outcomes when they commit.
//!
//! Reads no clock, no socket and no file: [`super::service`] drives it, and so do tests, step by step.
//!
//! One group at a time is in the committer's hands while the next one is staged. When a partition fails,
//! what committed stays; who touched the failed partition is failed, and so is everything staged behind, so
//! that order holds.

use std::collections::{BTreeSet, VecDeque};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use weir_protocol::{DeviceId, Tenant};
use weir_storage::{Batch, Part as CommittedPart};

use super::connection::{Connection, Entry, State, Wait};
use super::damage::Job;
use super::decode::{Part, Work};
use super::devices::{Devices, OverLimit, SchemaState};
use super::exposure::Exposure;
use super::group::{Group, LogSet};
use super::moves::Move;
use super::options::IngestOptions;
use super::plan::{Plan, Planner, Scratch};
use super::rows::{RestartRow, Rows};
use super::snapshots::{Snapshot, Snapshots};
use super::stats::Counters;
use super::waited::Waited;
use super::{Failure, Reason, Sender, Verdict};
use crate::record::dead_letter::DeadSpan;
use crate::topics::routes::Routes;

/// A group takes no more messages once it has this many bytes: what bounds staged memory, beside the one
/// message that crosses it.
const GROUP_BYTES: usize = 8 << 20;
/// The most refusals that are told in one turn.
const MAX_REFUSED: usize = 16;

pub(crate) struct Engine {
    options: IngestOptions,
    routes: Routes,
    counters: Arc<Counters>,
    exposure: Exposure,
    pub(crate) devices: Devices,
    connections: HashMap<u64, Connection>,
    staging: Group,
    in_flight: Option<Group>,
    /// The group that was in flight before, for its memory.
    spare: Option<Group>,
    /// Groups up to this number are committed or failed.
    resolved: u64,
    /// Connections with something to decide, in turn.
    ready: VecDeque<u64>,
    /// Connections that wait for a commit.
    parked: BTreeSet<u64>,
    /// Connections that wait for a description, by deadline, ascending.
    held: VecDeque<(Duration, u64)>,
    waited: Waited,
    now: Duration,
    stopping: bool,
    scratch: Scratch,
    /// The offset behind the last committed record of each log.
    ends: Vec<u64>,
    snapshots: Snapshots,
    /// Damage to count; the keeper hands in one at a time.
    damage: VecDeque<Job>,
    /// Refusals to be logged, at most [`MAX_REFUSED`].
    refused: Vec<(OverLimit, Sender, Option<DeviceId>)>,
    rows: Rows,
}

impl Engine {
    pub(crate) fn new(
        options: IngestOptions,
        routes: Routes,
        counters: Arc<Counters>,
        exposure: Exposure,
        devices: Devices,
        ends: Vec<u64>,
    ) -> Self {
        counters.devices.set(devices.len() as u64);
        Self {
            options,
            counters,
            exposure,
            devices,
            connections: HashMap::new(),
            staging: Group::new(1, routes.logs()),
            in_flight: None,
            spare: None,
            resolved: 0,
            ready: VecDeque::new(),
            parked: BTreeSet::new(),
            held: VecDeque::new(),
            waited: Waited::default(),
            now: Duration::ZERO,
            stopping: false,
            scratch: Scratch::default(),
            ends,
            snapshots: Snapshots::default(),
            damage: VecDeque::new(),
            refused: Vec::new(),
            rows: Rows::default(),
            routes,
        }
    }

    /// Tells the time of the monotonic clock; batches whose wait for a description is over go on without.
    pub(crate) fn tick(&mut self, now: Duration) {
        self.now = now;
        while let Some((_, id)) = self.held.pop_front_if(|(deadline, _)| *deadline <= now) {
            self.ready.push_back(id);
        }
    }

    /// When [`Engine::tick`] has something to do next.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.held.front().map(|(deadline, _)| *deadline)
    }

    /// A connection came.
    pub(crate) fn connect(&mut self, id: u64, connection: Connection) {
        self.connections.insert(id, connection);
        self.counters.connections.set(self.connections.len() as u64);
    }

    /// A connection has gone: what it has staged will commit, what waits is forgotten.
    pub(crate) fn disconnect(&mut self, id: u64) {
        if let Some(connection) = self.connections.remove(&id) {
            connection.budget.give_back(connection.queue.iter().map(|entry| entry.cost).sum());
            for (device, schema, deadline) in connection.asked() {
                self.waited.note(connection.sender, device, schema, deadline);
            }
        }
        self.counters.connections.set(self.connections.len() as u64);
    }

    /// Messages came, in their order.
    pub(crate) fn submit(&mut self, id: u64, entries: Vec<Entry>) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        for entry in entries {
            connection.waiting_descriptions += usize::from(entry.is_waiting_description());
            connection.queue.push_back(entry);
        }
        if connection.refused || self.stopping {
            let failure = if connection.refused { Failure::AfterRefusal } else { Failure::Stopping };
            connection.refuse_waiting(failure);
        }
        self.ready.push_back(id);
    }

    /// Decides what can be decided, until the group is full.
    pub(crate) fn advance(&mut self) {
        self.advance_damage();
        while self.staging.bytes() < GROUP_BYTES
            && let Some(id) = self.ready.pop_front()
        {
            // Taken out while it is decided, because deciding needs the rest of the engine.
            let Some(mut connection) = self.connections.remove(&id) else { continue };
            self.advance_descriptions(id, &mut connection);
            self.advance_in_order(id, &mut connection);
            connection.answer(self.resolved, &self.counters);
            self.connections.insert(id, connection);
        }
        self.counters.devices.set(self.devices.len() as u64);
    }

    /// Stages what was found damaged; it waits for its turn like a batch.
    fn advance_damage(&mut self) {
        let Self { damage, devices, staging, snapshots, rows, counters, routes, .. } = self;
        for job in damage.iter_mut() {
            let take = |devices: &mut Devices, change: Move| {
                snapshots.before_change(change.log, change.device, devices, routes);
                if let Some(restart) = change.restart() {
                    rows.note(change.device, restart);
                }
                change.apply(devices, counters);
            };
            if !job.stage(devices, staging, (routes, GROUP_BYTES), take) {
                break;
            }
        }
        let resolved = self.resolved;
        self.damage.retain(|job| !job.is_over(resolved));
    }

    /// Counts what was found damaged.
    pub(crate) fn lose(&mut self, job: Job) {
        self.damage.push_back(job);
    }

    /// Descriptions do not wait for their turn: batches in front of them may wait for them.
    fn advance_descriptions(&mut self, id: u64, connection: &mut Connection) {
        let mut at = connection.next;
        while connection.waiting_descriptions > 0 && at < connection.queue.len() {
            if connection.queue[at].is_waiting_description() {
                self.decide(id, connection, at);
            }
            at += 1;
        }
    }

    fn advance_in_order(&mut self, id: u64, connection: &mut Connection) {
        while connection.next < connection.queue.len() {
            if self.staging.bytes() >= GROUP_BYTES {
                self.ready.push_front(id);
                return;
            }
            let at = connection.next;
            if matches!(connection.queue[at].state, State::Waiting(_)) && !self.decide(id, connection, at) {
                return;
            }
            connection.next = at + 1;
        }
    }

    /// Decides one message; false if it has to wait.
    fn decide(&mut self, id: u64, connection: &mut Connection, at: usize) -> bool {
        let entry = &mut connection.queue[at];
        let arrival = entry.arrival;
        let waits = mem::replace(&mut entry.state, State::Done(Verdict::Failed(Failure::Stopping)));
        let State::Waiting(work) = waits else {
            entry.state = waits;
            return true;
        };
        if let Work::Batch(parts) = &work
            && self.awaits_description(id, connection, parts)
        {
            connection.queue[at].state = State::Waiting(work);
            return false;
        }
        let planner = Planner {
            devices: &mut self.devices,
            group: &mut self.staging,
            counters: &self.counters,
            scratch: &mut self.scratch,
            routes: &self.routes,
            sender: connection.sender,
            arrival,
            is_retry: connection.is_retry,
            logs: LogSet::default(),
            poison: None,
        };
        let plan = match &work {
            Work::Batch(parts) => planner.batch(parts),
            Work::Spans { payload, spans } => planner.unreadable(spans, payload),
            Work::Describe(described) => planner.describe(described),
            Work::BadDescription(payload) => planner.bury_description(Reason::UnreadableDescription, payload),
            Work::Unreadable(why) => {
                self.counters.unreadable.add(1);
                Plan::Refuse(Verdict::Unreadable(why))
            }
        };
        match plan {
            Plan::Park => {
                connection.queue[at].state = State::Waiting(work);
                self.parked.insert(id);
                return false;
            }
            Plan::Staged(logs, verdict) if logs.is_empty() => connection.queue[at].state = State::Done(verdict),
            Plan::Staged(logs, verdict) => {
                let group = self.staging.number;
                connection.queue[at].state = State::Staged { group, logs, verdict };
                if self.staging.connections.last() != Some(&id) {
                    self.staging.connections.push(id);
                }
            }
            Plan::OverLimit(over, device) => {
                self.counters.over_limit[over as usize].add(1);
                if self.refused.len() < MAX_REFUSED {
                    self.refused.push((over, connection.sender, device));
                }
                connection.queue[at].state = State::Done(Verdict::Failed(Failure::Quota));
                connection.refuse_waiting(Failure::AfterRefusal);
            }
            Plan::Refuse(verdict) => {
                connection.queue[at].state = State::Done(verdict);
                connection.refuse_waiting(Failure::AfterRefusal);
            }
        }
        if let Work::Describe(described) = &work {
            connection.waiting_descriptions = connection.waiting_descriptions.saturating_sub(1);
            connection.got(described.device, described.schema);
        } else {
            self.counters.batches.add(1);
        }
        true
    }

    /// Whether the batch has to wait because a schema of it is not described, or not committed yet.
    fn awaits_description(&mut self, id: u64, connection: &mut Connection, parts: &[Part]) -> bool {
        let mut awaits = false;
        for part in parts {
            let Part::Run(run) = part else { continue };
            match self.devices.schema(connection.sender.tenant, run.device, run.schema) {
                Some(SchemaState::Known(_)) => {}
                Some(SchemaState::Pending) => {
                    self.parked.insert(id);
                    awaits = true;
                }
                None => {
                    let (sender, full) = (connection.sender, self.options.describe_wait);
                    let wait = self.waited.wait(sender, run.device, run.schema, self.now, full);
                    match connection.wait_for(run.device, run.schema, self.now, wait) {
                        Wait::Over => {}
                        Wait::Until(deadline, asked) => {
                            awaits = true;
                            if asked {
                                self.counters.asked.add(1);
                                let behind = self.held.partition_point(|(other, _)| *other <= deadline);
                                self.held.insert(behind, (deadline, id));
                            }
                        }
                    }
                }
            }
        }
        awaits
    }

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
        if self.options.plant == Some(super::plant::Plant::AckBeforeSync) {
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

    fn begin_snapshot(&mut self, log: usize, offset: u64, asked: Option<u64>) {
        if offset == 0 && asked.is_none() {
            // The first segment of a log: nothing is before it.
            return;
        }
        let losses = self.routes.losses_of(log, &self.ends);
        let snapshot = Snapshot { log, offset, losses, is_coarse: false, ends: Vec::new(), asked, body: Vec::new() };
        self.snapshots.begin(snapshot, &self.devices, &self.routes);
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
    fn fail(&mut self, group: &Group, failed: &LogSet) {
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

    fn answer(&mut self, ids: &[u64]) {
        for id in ids {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.answer(self.resolved, &self.counters);
            }
        }
    }

    /// Refuses everything that is not staged yet; what is staged will still be committed and answered.
    pub(crate) fn stop(&mut self) {
        self.stopping = true;
        self.damage.clear();
        for connection in self.connections.values_mut() {
            connection.refuse_waiting(Failure::Stopping);
            connection.answer(self.resolved, &self.counters);
        }
    }

    /// What the read model is to be told next. If `all`, nothing now, and everything from now on.
    pub(crate) fn take_rows(&mut self, all: bool) -> Vec<RestartRow> {
        if all {
            self.rows.begin();
            return Vec::new();
        }
        self.rows.take(&self.devices)
    }

    /// What was refused over a bound since this was asked, for the log; not all of a flood.
    pub(crate) fn take_refused(&mut self) -> Vec<(OverLimit, Sender, Option<DeviceId>)> {
        mem::take(&mut self.refused)
    }

    /// How many of these sequences are stored.
    pub(crate) fn stored(&self, tenant: Tenant, spans: &[DeadSpan]) -> u64 {
        spans
            .iter()
            .map(|span| self.devices.stored((tenant, span.device), span.restart, span.start.0..span.end.0))
            .sum()
    }

    /// Whether nothing is staged and nothing is in the committer's hands.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.is_none() && self.staging.bytes() == 0
    }
}

fn failed_logs(parts: &[CommittedPart]) -> LogSet {
    let mut failed = LogSet::default();
    for part in parts.iter().filter(|part| part.result.is_err()) {
        failed.insert(part.log);
    }
    failed
}

//! The rules of ingest as a state machine: messages in, groups of records out, outcomes when they commit.
//!
//! Reads no clock, no socket and no file: [`super::service`] drives it, and so do tests, step by step.
//!
//! One group at a time is in the committer's hands while the next one is staged. When a partition fails,
//! what committed stays; who touched the failed partition is failed, and so is everything staged behind, so
//! that order holds.

mod committing;
mod deciding;

use std::collections::{BTreeSet, VecDeque};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use weir_protocol::{DeviceId, Tenant};

use super::connection::{Connection, Entry, State};
use super::damage::Job;
use super::devices::{Devices, OverLimit};
use super::exposure::Exposure;
use super::group::Group;
use super::moves::Move;
use super::options::IngestOptions;
use super::plan::Scratch;
use super::rows::{RestartRow, Rows};
use super::snapshots::Snapshots;
use super::stats::Counters;
use super::waited::Waited;
use super::{Failure, Sender};
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
        mut devices: Devices,
        ends: Vec<u64>,
    ) -> Self {
        devices.binding = options.binding;
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

    /// A connection has gone: what it has staged will commit, what waits is forgotten. Who publishes at QoS 0 and says goodbye
    /// in the same breath is decided first.
    pub(crate) fn disconnect(&mut self, id: u64) {
        self.advance();
        if let Some(connection) = self.connections.remove(&id) {
            connection.budget.give_back(connection.queue.iter().map(|entry| entry.cost).sum());
            for (device, schema, deadline) in connection.asked() {
                self.waited.note(connection.sender.clone(), device, schema, deadline);
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

    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn stores(&self) -> &crate::topics::Stores {
        self.routes.stores()
    }

    /// Whether nothing is staged and nothing is in the committer's hands.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.is_none() && self.staging.bytes() == 0
    }
}

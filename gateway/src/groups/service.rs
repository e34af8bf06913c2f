//! The groups of a running gateway: the coordinator and the offsets behind one lock, and a task that lets time pass.
//!
//! What waits, waits on a channel and not on the lock: joins and syncs for the coordinator, commits for the disk. The lock
//! is held for one step of the coordinator and never over a write.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ring::rand::SecureRandom;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use weir_protocol::time::WallClock;
use weir_storage::{Fs, LogOptions, Reader, Recovery};

use super::coordinator::{
    Coordinator, Effect, GroupView, JoinRequest, Joined, Leaver, Listed, Speaker, SyncRequest, Synced, Ticket,
};
use super::error::Error;
use super::names::GroupId;
use super::offsets::TOPIC;
use super::offsets::log::{self, Found};
use super::offsets::table::Table;
use super::options::Options;
use super::stats::Counters;
use crate::keyed_log::clock::Clock;
use crate::keyed_log::{self, KeyedLog, KeyedLogError, Refused};
use crate::topics::Topics;

/// All groups; cheap to clone.
#[derive(Clone)]
pub struct Groups {
    pub(super) shared: Arc<Shared>,
}

/// What the clones share.
pub(super) struct Shared {
    pub(super) options: Options,
    /// Every topic, the one of the offsets too.
    pub(super) topics: Topics,
    pub(super) clock: Clock,
    started: Instant,
    pub(super) log: KeyedLog,
    /// The next deadline came nearer.
    hurry: Notify,
    state: Mutex<State>,
}

/// What the lock guards.
pub(super) struct State {
    pub(super) coordinator: Coordinator,
    pub(super) table: Table,
    pub(super) counters: Counters,
    /// Submissions that were refused in this step.
    pub(super) refused: Vec<Refused>,
    /// Whether anybody may wait; not once the gateway stops.
    is_open: bool,
    next_ticket: Ticket,
    joining: HashMap<Ticket, oneshot::Sender<Result<Joined, Error>>>,
    syncing: HashMap<Ticket, oneshot::Sender<Result<Synced, Error>>>,
}

/// The offsets as they were found on disk, before the topics that they are about are there.
pub struct Opened {
    log: KeyedLog,
    found: Found,
    recovery: Recovery,
}

impl Opened {
    /// Opens the offsets below `data`, making them if they are not there. Reads files: not for an async task.
    ///
    /// # Errors
    /// [`KeyedLogError`].
    pub fn open(fs: &Arc<dyn Fs>, data: &Path) -> Result<Self, KeyedLogError> {
        Self::open_with(fs, data, keyed_log::options())
    }

    /// As [`Opened::open`], with a log that is kept like this.
    pub(super) fn open_with(fs: &Arc<dyn Fs>, data: &Path, options: LogOptions) -> Result<Self, KeyedLogError> {
        let (log, recovery) = keyed_log::open(fs, data, TOPIC, options)?;
        let found = log::read(&log.reader())?;
        Ok(Self { log: KeyedLog::start(log, options)?, found, recovery })
    }

    /// Reads the records of the offsets topic.
    pub fn reader(&self) -> Reader {
        self.log.reader().clone()
    }

    /// What opening the log found.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Groups and offsets that are stored.
    pub fn counts(&self) -> (usize, usize) {
        (self.found.table.groups().count(), self.found.table.entries())
    }
}

impl Groups {
    /// Takes up the groups of `opened`. `random` makes member ids: nobody may guess it.
    pub fn new(
        opened: Opened,
        topics: Topics,
        options: Options,
        wall: &dyn WallClock,
        random: Box<dyn FnMut() -> u128 + Send>,
    ) -> Self {
        let Opened { log, found, .. } = opened;
        let clock = found.clock(wall.now().as_millis());
        let mut coordinator = Coordinator::new(options, random);
        for group in found.table.groups() {
            // More than the settings allow now were allowed before.
            coordinator.restore(group);
        }
        let state = State {
            coordinator,
            table: found.table,
            counters: Counters::default(),
            refused: Vec::new(),
            is_open: true,
            next_ticket: 0,
            joining: HashMap::new(),
            syncing: HashMap::new(),
        };
        let (started, hurry) = (Instant::now(), Notify::new());
        let groups =
            Self { shared: Arc::new(Shared { options, topics, clock, started, log, hurry, state: Mutex::new(state) }) };
        groups.end_uses_of_the_last_run();
        groups
    }

    /// Lets time pass until `stop` turns true; then answers all that wait.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut compacting: Option<JoinHandle<()>> = None;
        let mut next_sweep = self.shared.started + Self::SWEEP;
        loop {
            let due = self.shared.lock().coordinator.next_wake();
            let due = due.map_or(next_sweep, |due| next_sweep.min(self.shared.started + due));
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                () = self.shared.hurry.notified() => continue,
                () = tokio::time::sleep_until(due) => (),
            }
            self.step(|_, _| ());
            if Instant::now() >= next_sweep {
                next_sweep += Self::SWEEP;
                self.sweep();
                if self.shared.log.has_grown() && compacting.as_ref().is_none_or(JoinHandle::is_finished) {
                    let groups = self.clone();
                    compacting = Some(tokio::task::spawn_blocking(move || groups.compact()));
                }
            }
        }
        let mut state = self.shared.lock();
        state.is_open = false;
        state.joining.clear();
        state.syncing.clear();
    }

    /// Commits what was handed in, and closes the log. Waits for the disk: not for an async task.
    pub fn stop(&self) {
        self.shared.log.stop();
    }

    /// One step under the lock, and what follows from it.
    pub(super) fn step<T>(&self, act: impl FnOnce(&mut State, Duration) -> T) -> T {
        let mut state = self.shared.lock();
        let before = state.coordinator.next_wake();
        let now = self.shared.elapsed();
        let done = act(&mut state, now);
        state.coordinator.tick(now);
        for effect in state.coordinator.take_effects() {
            match effect {
                // Whoever no longer waits needs no answer.
                Effect::Joined(ticket, answer) => {
                    let _ = state.joining.remove(&ticket).map(|waiting| waiting.send(answer));
                }
                Effect::Synced(ticket, answer) => {
                    let _ = state.syncing.remove(&ticket).map(|waiting| waiting.send(answer));
                }
                Effect::Used(group) => self.note_usage(&mut state, &group, true, now),
                Effect::Emptied(group) => self.note_usage(&mut state, &group, false, now),
            }
        }
        let after = state.coordinator.next_wake();
        let refused = std::mem::take(&mut state.refused);
        drop(state);
        if after.is_some_and(|after| before.is_none_or(|before| after < before)) {
            self.shared.hurry.notify_one();
        }
        refused.into_iter().for_each(Refused::tell);
        done
    }

    /// Has a consumer join a group; waits for the others.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn join(&self, group: &GroupId, join: JoinRequest) -> Result<Joined, Error> {
        let (answer, answered) = oneshot::channel();
        self.step(|state, now| {
            if state.is_open {
                let ticket = state.ticket();
                state.joining.insert(ticket, answer);
                state.coordinator.join(now, ticket, group, join);
            }
        });
        answered.await.unwrap_or(Err(Error::Stopping))
    }

    /// Has a member ask for its assignment, or the leader give it; waits for the leader.
    ///
    /// # Errors
    /// Why it has none.
    pub async fn sync(&self, group: &str, sync: SyncRequest) -> Result<Synced, Error> {
        let (answer, answered) = oneshot::channel();
        self.step(|state, now| {
            if state.is_open {
                let ticket = state.ticket();
                state.syncing.insert(ticket, answer);
                state.coordinator.sync(now, ticket, group, sync);
            }
        });
        answered.await.unwrap_or(Err(Error::Stopping))
    }

    /// Has a member say that it lives.
    ///
    /// # Errors
    /// [`Error::Rebalancing`] when it is to join again, or why it is no member.
    pub fn heartbeat(&self, group: &str, speaker: &Speaker) -> Result<(), Error> {
        self.step(|state, now| state.coordinator.heartbeat(now, group, speaker))
    }

    /// Has members leave; how it went, one by one.
    pub fn leave(&self, group: &str, leavers: &[Leaver]) -> Vec<Result<(), Error>> {
        self.step(|state, now| state.coordinator.leave(now, group, leavers))
    }
}

impl Groups {
    /// Every topic, the one of the offsets too.
    pub fn topics(&self) -> &Topics {
        &self.shared.topics
    }

    /// Every group, by name.
    pub fn list(&self) -> Vec<Listed> {
        self.shared.lock().coordinator.list().collect()
    }

    /// One group.
    pub fn view(&self, id: &str) -> Option<GroupView> {
        self.shared.lock().coordinator.view(id)
    }
}

impl State {
    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        self.next_ticket
    }
}

/// Bits that nobody can guess, for member ids.
pub fn random_bits() -> u128 {
    let mut bytes = [0; 16];
    if ring::rand::SystemRandom::new().fill(&mut bytes).is_ok() {
        return u128::from_be_bytes(bytes);
    }
    // The system has none to give; the standard library keeps some for its hash tables.
    let hashed = || u128::from(RandomState::new().hash_one(0));
    hashed() << 64 | hashed()
}

impl Shared {
    /// Every change under it is complete in itself: a panic elsewhere leaves nothing half done.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since the start.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

//! The keeper's thread.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use weir_protocol::time::WallClock;
use weir_storage::{Compaction, CompactionOptions, RemoveError};

use super::super::snapshots::Snapshot;
use super::{Compacted, Finding, Keeper, Now, Removal, Scrub, Waits};
use crate::background;
use crate::topics::Topics;

/// How often retention looks, and what could not be written is tried again.
const LOOK: Duration = Duration::from_secs(5);
/// A log that has grown gets a checkpoint at least this often: it tells how old its segments are.
const CHECKPOINT: Duration = Duration::from_secs(3600);
/// And when it has grown by so much since the last one: it bounds what a start has to read.
const CHECKPOINT_BYTES: u64 = 64 << 20;
/// How long the scrub rests when it has read everything.
const REST: Duration = Duration::from_secs(24 * 3600);
/// The pace of the scrub.
const SCRUB_BYTES_PER_SECOND: u64 = 16 << 20;

/// What the keeper asks of the others; each waits for its answer.
pub(crate) struct Door {
    /// A snapshot of a log as it is; `None` when the engine has stopped.
    pub(crate) snapshot: Box<dyn Fn(usize) -> Option<Snapshot> + Send>,
    /// Counts the sequences lost as damage; returns when that is committed, or was not possible.
    pub(crate) lose: Box<dyn Fn(Finding) + Send>,
    /// Voids the journal: what is read from then on is what every later start reads.
    pub(crate) void_journal: Box<dyn Fn() -> Result<(), RemoveError> + Send>,
    /// Removes the segments of a log below an offset; its first offset then.
    pub(crate) remove: Box<dyn Fn(usize, u64) -> Result<u64, RemoveError> + Send>,
    /// Compacts a log.
    pub(crate) compact: Box<Compact>,
}

/// What compacts a log, until it is told to stop.
type Compact = dyn Fn(usize, &CompactionOptions, &AtomicBool) -> Result<Compaction, RemoveError> + Send;

/// The handle of the thread.
pub(crate) struct Keeping {
    snapshots: Sender<Snapshot>,
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Keeping {
    /// Hands in a snapshot to be written. Bounded by the snapshots of a log: two at a time.
    pub(crate) fn write(&self, snapshot: Snapshot) {
        // A thread that has ended writes nothing; the log is read from an older checkpoint then.
        let _ = self.snapshots.send(snapshot);
    }

    /// Writes what was handed in and ends.
    pub(crate) fn stop(self) {
        self.stopping.store(true, Ordering::Relaxed);
        drop(self.snapshots);
        if self.thread.join().is_err() {
            tracing::error!("the keeper died; checkpoints and retention stopped with it");
        }
    }
}

/// Starts the thread. `damaged` are logs in which opening found damage.
pub(crate) fn start(
    keeper: Keeper,
    topics: Topics,
    door: Door,
    clock: Arc<dyn WallClock>,
    damaged: Vec<usize>,
) -> io::Result<Keeping> {
    let (snapshots, orders) = channel();
    let stopping = Arc::new(AtomicBool::new(false));
    let began = Instant::now();
    let mut scrub = Scrub::default();
    scrub.begin(keeper.logs.len());
    let worker = Worker {
        keeper,
        topics,
        door,
        clock,
        began,
        stopping: Arc::clone(&stopping),
        scrub,
        damaged: damaged.into_iter().collect(),
        unnamed: BTreeMap::new(),
        due: BTreeSet::new(),
        next_look: began,
        next_checkpoints: began + CHECKPOINT,
        next_slice: began,
    };
    let thread = std::thread::Builder::new().name("keeper".into()).spawn(move || worker.run(&orders))?;
    Ok(Keeping { snapshots, stopping, thread })
}

struct Worker {
    keeper: Keeper,
    topics: Topics,
    door: Door,
    clock: Arc<dyn WallClock>,
    began: Instant,
    stopping: Arc<AtomicBool>,
    scrub: Scrub,
    /// Logs with damage whose identities are not told yet.
    damaged: BTreeSet<usize>,
    /// Offsets of which nobody can tell the identities, by log.
    unnamed: BTreeMap<usize, u64>,
    /// Logs that need a checkpoint.
    due: BTreeSet<usize>,
    next_look: Instant,
    next_checkpoints: Instant,
    next_slice: Instant,
}

impl Worker {
    fn run(mut self, orders: &Receiver<Snapshot>) {
        background::give_way();
        loop {
            let next = self.next_look.min(self.next_checkpoints).min(self.next_slice);
            match orders.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(snapshot) => self.write(&snapshot),
                Err(RecvTimeoutError::Timeout) => self.work(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn now(&self) -> Now {
        Now { elapsed: self.began.elapsed(), wall_ms: self.clock.now().as_millis() }
    }

    fn write(&mut self, snapshot: &Snapshot) {
        if let Err(error) = self.keeper.write(snapshot, self.now()) {
            self.keeper.counters.checkpoint_failures.add(1);
            tracing::warn!(%error, "a checkpoint was not written; it is tried again, and retention waits for it");
            self.due.insert(snapshot.log);
        }
    }

    fn work(&mut self) {
        let now = Instant::now();
        if now >= self.next_checkpoints {
            self.due.extend(self.keeper.grown());
            self.next_checkpoints = now + CHECKPOINT;
        }
        if now >= self.next_look {
            self.look();
            self.next_look = Instant::now() + LOOK;
        }
        if now >= self.next_slice {
            self.next_slice = Instant::now() + self.slice();
        }
    }

    /// Retention, and the checkpoints that are due.
    fn look(&mut self) {
        let now = self.now();
        self.keeper.look(now);
        let (mut waiting, mut stale) = (0, BTreeSet::new());
        let mut logs: VecDeque<_> = (0..self.keeper.logs.len()).collect();
        while let Some(log) = logs.pop_front() {
            match self.keeper.retain(log, now, |offset| (self.door.remove)(log, offset)) {
                Ok(Removal::Nothing) => {}
                Ok(Removal::Upto(start)) => {
                    let kept = &self.keeper.logs[log];
                    tracing::info!(topic = &*kept.topic, partition = kept.partition, start, "retention");
                    if self.stopping.load(Ordering::Relaxed) {
                        return;
                    }
                    logs.push_back(log);
                }
                Ok(Removal::Waiting(waits)) => {
                    waiting += 1;
                    match waits {
                        Waits::Checkpoint => self.due.insert(log),
                        Waits::Readings(readings) => stale.insert(readings),
                    };
                }
                Err(error) => {
                    waiting += 1;
                    tracing::warn!(error, "retention failed and is tried again");
                }
            }
        }
        self.keeper.counters.retention_waiting.set(waiting);
        self.compact(now);
        self.due.extend(self.keeper.grown_by(CHECKPOINT_BYTES));
        let grown = self.keeper.grown();
        let mut due = std::mem::take(&mut self.due);
        due.retain(|log| grown.contains(log));
        for log in due.into_iter().chain(stale) {
            if let Some(snapshot) = (self.door.snapshot)(log) {
                self.write(&snapshot);
            }
        }
    }

    /// Compaction of the logs that have grown enough.
    fn compact(&mut self, now: Now) {
        for log in 0..self.keeper.logs.len() {
            let (door, stopping) = (&self.door, &*self.stopping);
            let compacted = self.keeper.compact(log, now, |options| (door.compact)(log, options, stopping));
            let kept = &self.keeper.logs[log];
            let (topic, partition) = (&*kept.topic, kept.partition);
            match compacted {
                Ok(Compacted::Nothing) => {}
                Ok(Compacted::Waiting) => {
                    self.due.insert(log);
                }
                Ok(Compacted::Done(done)) => {
                    let (records, (before, after)) = (done.removed_records, done.allocated);
                    tracing::info!(topic, partition, records, before, after, "compacted");
                    if !done.damage.is_empty() {
                        self.damaged.insert(log);
                    }
                }
                Err(error) => tracing::warn!(topic, partition, error, "compaction failed and is tried again"),
            }
        }
    }

    /// One slice of the scrub; how long to rest.
    fn slice(&mut self) -> Duration {
        self.damaged.extend(self.suspects());
        if let Some(log) = self.damaged.pop_first() {
            self.account(log);
            return Duration::ZERO;
        }
        if self.scrub.is_done() {
            self.scrub.begin(self.keeper.logs.len());
            return REST;
        }
        let (bytes, damaged) = self.keeper.scrub(&mut self.scrub);
        self.damaged.extend(damaged);
        Duration::from_micros(bytes as u64 * 1_000_000 / SCRUB_BYTES_PER_SECOND)
    }

    /// Logs in which a reader met damage.
    fn suspects(&self) -> Vec<usize> {
        let partitions = self.topics.all().iter().flat_map(|topic| topic.partitions());
        partitions.enumerate().filter(|(_, partition)| partition.take_suspicion()).map(|(log, _)| log).collect()
    }

    /// Counts what was in the damaged part of a log as lost.
    fn account(&mut self, log: usize) {
        if let Err(error) = (self.door.void_journal)() {
            tracing::warn!(%error, "damage is not counted yet: the journal might bring back what it took");
            return;
        }
        let Some(snapshot) = (self.door.snapshot)(log) else { return };
        let stopping = Arc::clone(&self.stopping);
        let found = self.keeper.missing(&snapshot, || !stopping.load(Ordering::Relaxed));
        let kept = &self.keeper.logs[log];
        let (topic, partition) = (&*kept.topic, kept.partition);
        if let Ok(Finding { unnamed, .. }) = &found {
            if *unnamed > 0 {
                tracing::warn!(topic, partition, offsets = unnamed, "damaged, and identities cannot be told");
            }
            self.unnamed.insert(log, *unnamed);
            self.keeper.counters.unnamed_offsets.set(self.unnamed.values().sum());
        }
        match found {
            Ok(finding) if finding.identities.is_empty() => {}
            Ok(finding) => {
                let sequences = finding.identities.values().fold(0, |sum: u64, set| sum.saturating_add(set.len()));
                tracing::warn!(topic, partition, sequences, "damaged: `weir-gateway topic verify` names it");
                (self.door.lose)(finding);
                if let Some(snapshot) = (self.door.snapshot)(log) {
                    self.write(&snapshot);
                }
            }
            Err(why) => tracing::warn!(topic, partition, why, "what the damage took cannot be told by identity"),
        }
    }
}

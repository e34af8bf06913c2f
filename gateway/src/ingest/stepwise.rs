//! Ingest step by step, on a disk in memory that fails as it is told: for tests and for the simulation.
//!
//! What it guarantees: the engine, the keeper, recovery and the writer of the logs are the ones that run in a gateway; what
//! [`super::service`] and the keeper's thread do with threads and clocks, the caller does by calling. So the order of events
//! is the caller's, and a run can be told again. The committer's thread works only while the caller waits for it.

mod damage;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use weir_protocol::Timestamp;
use weir_storage::{
    Committer, CommitterOptions, FaultyFs, Fs, IoError, Log, LogOptions, Part, RemoveError, Submission,
};

use super::budget::Budget;
use super::connection::{Connection, Entry, State};
use super::decode::{Work, decode};
use super::engine::Engine;
use super::exposure::Exposure;
use super::keeper::{Keeper, Now, Removal};
use super::recovery::{self, Recovered, RecoveryReport, Source};
use super::stats::Counters;
use super::{Event, Events, IngestOptions, Message, Sender, StartError};
use crate::topics::{Topics, layout};

/// Where everything lies.
pub(crate) const DATA: &str = "/data";

/// An engine whose commits happen when the caller says so.
pub(crate) struct Gateway {
    #[cfg(test)]
    pub(crate) fs: FaultyFs,
    pub(crate) engine: Engine,
    pub(crate) writer: Writer,
    pub(crate) topics: Topics,
    pub(crate) keeper: Keeper,
    #[cfg(test)]
    pub(crate) counters: Arc<Counters>,
    pub(crate) report: RecoveryReport,
    pub(crate) room: Arc<Semaphore>,
    pub(crate) now: Duration,
    pub(crate) wall_ms: i64,
    next_connection: u64,
    /// Offsets of damage whose identities could not be told.
    #[cfg(test)]
    pub(crate) unnamed: u64,
}

/// Who writes the logs.
pub(crate) enum Writer {
    /// The caller, one after the other.
    Logs(Vec<Log>),
    /// The committer with a journal, on its one thread.
    Committer(Committer),
}

/// A connected client.
pub(crate) struct Peer {
    pub(crate) id: u64,
    pub(crate) sender: Sender,
    budget: Budget,
    pub(crate) events: UnboundedReceiver<Event>,
    #[cfg(test)]
    pub(crate) next_ticket: u64,
}

impl Gateway {
    /// Starts on what is on the disk, when the wall clock shows `wall_ms`.
    ///
    /// # Errors
    /// The topics could not be opened, or the state could not be rebuilt.
    pub(crate) fn start(fs: FaultyFs, options: IngestOptions, wall_ms: i64) -> Result<Self, StartError> {
        let (shared, data): (Arc<dyn Fs>, _) = (Arc::new(fs.clone()), Path::new(DATA));
        let log = LogOptions { expose_on_commit: false, ..options.log };
        let opened = layout::open(&shared, data, options.asked(), log)?;
        let topics = Topics::new(opened.routes.definitions(), opened.logs.iter().map(Log::reader));
        let source = Source { fs: &fs, data, topics: &topics, routes: &opened.routes, is_read_only: false };
        let recovered = recovery::recover(&source, options.limits, options.compatibility, opened.recoveries)?;
        #[cfg_attr(not(feature = "plant"), expect(unused_mut, reason = "a plant changes them"))]
        let Recovered { mut devices, report, bases } = recovered;
        #[cfg(feature = "plant")]
        if let Some(plant) = options.plant {
            plant.after_recovery(&mut devices);
        }
        let counters = Arc::new(Counters::default());
        let exposure = Exposure::new(&opened.logs, topics.clone(), opened.routes.clone());
        let ends = opened.logs.iter().map(Log::next_offset).collect();
        let (most, journal) = (options.limits.ranges_per_share, options.journal);
        let engine = Engine::new(options, opened.routes.clone(), Arc::clone(&counters), exposure, devices, ends);
        let keeper_fs = Arc::clone(&shared);
        let (place, now) = ((shared, data), Now { elapsed: Duration::ZERO, wall_ms });
        let keeper = Keeper::new(place, (&topics, opened.routes), (now, &bases), most, Arc::clone(&counters));
        let writer = match layout::journal(&keeper_fs, data, journal) {
            Ok(Some(journal)) => {
                let options = CommitterOptions { max_parallel_syncs: 1, ..CommitterOptions::default() };
                Writer::Committer(Committer::spawn_with(opened.logs, options, Some(journal))?)
            }
            // As the gateway does when there is no room for a journal.
            Ok(None) | Err(_) => Writer::Logs(opened.logs),
        };
        Ok(Self {
            #[cfg(test)]
            fs,
            engine,
            writer,
            topics,
            keeper,
            #[cfg(test)]
            counters,
            report,
            room: Arc::new(Semaphore::new(1 << 30)),
            now: Duration::ZERO,
            wall_ms,
            next_connection: 1,
            #[cfg(test)]
            unnamed: 0,
        })
    }

    /// A client connects.
    pub(crate) fn connect_as(&mut self, sender: Sender) -> Peer {
        self.open(sender, Connection::new)
    }

    /// A connection on which dead letters of a client are tried again.
    #[cfg(test)]
    pub(crate) fn connect_retry_as(&mut self, sender: Sender) -> Peer {
        self.open(sender, Connection::retry)
    }

    fn open(&mut self, sender: Sender, make: fn(Sender, Events, Budget) -> Connection) -> Peer {
        let (events, receiver) = unbounded_channel();
        let budget = Budget::new(Arc::clone(&self.room), 1 << 30, 1 << 29);
        let id = self.next_connection;
        self.next_connection += 1;
        self.engine.connect(id, make(sender.clone(), events, budget.clone()));
        Peer {
            id,
            sender,
            budget,
            events: receiver,
            #[cfg(test)]
            next_ticket: 0,
        }
    }

    /// Hands a message in under a ticket of the caller's; nothing is decided yet.
    pub(crate) fn submit(&mut self, peer: &Peer, arrival: Timestamp, message: Message) {
        let Message { ticket, body, payload } = message;
        let work = decode(&peer.sender, self.engine.stores(), body, payload);
        self.submit_work(peer, ticket, arrival, work);
    }

    /// Hands in what was decoded.
    pub(crate) fn submit_work(&mut self, peer: &Peer, ticket: u64, arrival: Timestamp, work: Work) {
        let cost = peer.budget.cost(0);
        self.engine.submit(peer.id, vec![Entry { ticket, cost, arrival, state: State::Waiting(work) }]);
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.engine.tick(self.now);
        self.engine.advance();
    }

    /// Commits the staged group; false if there was none.
    #[cfg(test)]
    pub(crate) fn commit(&mut self) -> bool {
        let Some(parts) = self.engine.take_group() else { return false };
        self.finish(parts);
        true
    }

    /// Writes a group that the engine gave out.
    #[cfg(test)]
    pub(crate) fn finish(&mut self, parts: Vec<(usize, weir_storage::Batch)>) {
        let parts = self.writer.write(parts);
        self.engine.committed(parts);
        self.engine.advance();
    }

    /// Commits until nothing is staged.
    #[cfg(test)]
    pub(crate) fn settle(&mut self) {
        while self.commit() {}
    }

    /// The time by both clocks.
    pub(crate) fn time(&self) -> Now {
        Now { elapsed: self.now, wall_ms: self.wall_ms }
    }

    /// Writes the snapshots that were begun; how the writing ended.
    pub(crate) fn keep(&mut self) -> Result<(), IoError> {
        let mut ended = Ok(());
        loop {
            let running = self.engine.is_taking_snapshots();
            for snapshot in self.engine.step_snapshots() {
                ended = ended.and(self.keeper.write(&snapshot, self.time()));
            }
            if !running {
                return ended;
            }
        }
    }

    /// One look of retention at every log, segment by segment.
    pub(crate) fn retain(&mut self) -> Vec<Result<Removal, String>> {
        let now = self.time();
        self.keeper.look(now);
        let writer = &mut self.writer;
        let mut remove = |log: usize, offset| writer.remove_before(log, offset);
        let mut ended = Vec::new();
        for log in 0..self.keeper.logs.len() {
            let mut begins = None;
            let last = loop {
                match self.keeper.retain(log, now, |offset| remove(log, offset)) {
                    Ok(Removal::Upto(start)) => begins = Some(start),
                    Ok(Removal::Nothing) => break Ok(begins.map_or(Removal::Nothing, Removal::Upto)),
                    other => break other,
                }
            };
            ended.push(last);
        }
        ended
    }
}

impl Writer {
    /// Writes a group; how each part ended.
    pub(crate) fn write(&mut self, parts: Vec<(usize, weir_storage::Batch)>) -> Vec<Part> {
        match self {
            Self::Logs(logs) => {
                // As the committer does it.
                let settled = logs.iter_mut().try_for_each(Log::settle);
                let commit = |(log, mut batch): (usize, weir_storage::Batch)| {
                    let result = settled.clone().and_then(|()| logs[log].commit(&mut batch));
                    Part { log, result, rolled: logs[log].take_rolled(), batch }
                };
                parts.into_iter().map(commit).collect()
            }
            Self::Committer(committer) => {
                let (answer, answered) = std::sync::mpsc::channel();
                let done = Box::new(move |completion: weir_storage::Completion| {
                    answer.send(completion.parts).expect("the caller waits");
                });
                committer.submit(Submission { parts, done }).expect("it runs");
                answered.recv().expect("an answer")
            }
        }
    }

    /// As the keeper does it before it counts damage.
    pub(crate) fn void_journal(&mut self) -> Result<(), RemoveError> {
        match self {
            Self::Logs(_) => Ok(()),
            Self::Committer(committer) => committer.void_journal(),
        }
    }

    /// Removes the segments of a log below an offset.
    fn remove_before(&mut self, log: usize, offset: u64) -> Result<u64, RemoveError> {
        match self {
            Self::Logs(logs) => logs[log].remove_before(offset).map_err(RemoveError::Io),
            Self::Committer(committer) => committer.remove_before(log, offset),
        }
    }
}

impl Peer {
    /// Everything that it was told since the last look.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.events.try_recv().ok()).collect()
    }
}

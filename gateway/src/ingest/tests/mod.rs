//! Tests that drive the engine step by step, on a filesystem that fails as they like.

mod binding;
mod checkpoints;
mod compacting;
mod damage;
mod evolution;
mod faults;
mod keeping;
mod log_content;
mod messages;
mod model;
mod payloads;
#[cfg(feature = "plant")]
mod plants;
mod positions;
mod processed;
mod property;
mod redrive;
mod rot;
mod routing;
mod rules;
mod schemas;
mod service;
mod settled;
mod turns;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use weir_protocol::{AgentId, Tenant, Timestamp};
use weir_storage::{Committer, CommitterOptions, FaultyFs, Fs, Log, LogOptions, Part, RemoveError, Submission};

use super::budget::Budget;
use super::connection::{self, Entry, State};
use super::decode::decode;
use super::engine::Engine;
use super::exposure::Exposure;
use super::keeper::{Keeper, Now};
use super::recovery::{self, Recovered, RecoveryReport, Source};
use super::stats::Counters;
use super::{Body, Event, IngestOptions, Outcome, Sender, Verdict};
use crate::record::dead_letter::Format;
use crate::topics::{Topics, layout};
use log_content::LogContent;

/// When everything arrives: 2026-01-01.
const ARRIVAL: Timestamp = Timestamp(1_767_225_600_000_000);

/// An engine whose commits happen when the test says so.
struct Gateway {
    fs: FaultyFs,
    engine: Engine,
    writer: Writer,
    topics: Topics,
    keeper: Keeper,
    counters: Arc<Counters>,
    report: RecoveryReport,
    room: Arc<Semaphore>,
    now: Duration,
    wall_ms: i64,
    next_connection: u64,
    /// Offsets of damage whose identities could not be told.
    unnamed: u64,
}

/// Who writes the logs.
enum Writer {
    /// The test, one after the other.
    Logs(Vec<Log>),
    /// The committer with a journal, on its one thread.
    Committer(Committer),
}

/// A connected agent.
struct Peer {
    id: u64,
    sender: Sender,
    budget: Budget,
    events: UnboundedReceiver<Event>,
    next_ticket: u64,
}

impl Gateway {
    fn new() -> Self {
        Self::on(FaultyFs::new(1), IngestOptions::default())
    }

    fn with(options: IngestOptions) -> Self {
        Self::on(FaultyFs::new(1), options)
    }

    fn on(fs: FaultyFs, options: IngestOptions) -> Self {
        Self::started(fs, options, ARRIVAL.as_millis()).expect("opens")
    }

    /// Starts when the wall clock shows `wall_ms`.
    fn started(fs: FaultyFs, options: IngestOptions, wall_ms: i64) -> Result<Self, layout::LayoutError> {
        let shared: Arc<dyn Fs> = Arc::new(fs.clone());
        let log = LogOptions { expose_on_commit: false, ..options.log };
        let opened = layout::open(&shared, Path::new("/data"), options.asked(), log)?;
        let topics = Topics::new(opened.routes.definitions(), opened.logs.iter().map(Log::reader));
        let source =
            Source { fs: &fs, data: Path::new("/data"), topics: &topics, routes: &opened.routes, is_read_only: false };
        let recovered =
            recovery::recover(&source, options.limits, options.compatibility, opened.recoveries).expect("reads");
        let Recovered { devices, report, bases } = recovered;
        let counters = Arc::new(Counters::default());
        let exposure = Exposure::new(&opened.logs, topics.clone(), opened.routes.clone());
        let ends = opened.logs.iter().map(Log::next_offset).collect();
        let (most, journal) = (options.limits.ranges_per_share, options.journal);
        let engine = Engine::new(options, opened.routes.clone(), Arc::clone(&counters), exposure, devices, ends);
        let keeper_fs = Arc::clone(&shared);
        let (place, now) = ((shared, Path::new("/data")), Now { elapsed: Duration::ZERO, wall_ms });
        let keeper = Keeper::new(place, (&topics, opened.routes), (now, &bases), most, Arc::clone(&counters));
        let writer = match layout::journal(&keeper_fs, Path::new("/data"), journal) {
            Ok(Some(journal)) => {
                let options = CommitterOptions { max_parallel_syncs: 1, ..CommitterOptions::default() };
                let spawned = Committer::spawn_with(opened.logs, options, Some(journal));
                Writer::Committer(spawned.expect("a thread"))
            }
            // As the gateway does when there is no room for a journal.
            Ok(None) | Err(_) => Writer::Logs(opened.logs),
        };
        Ok(Self {
            fs,
            engine,
            writer,
            topics,
            keeper,
            counters,
            report,
            room: Arc::new(Semaphore::new(1 << 30)),
            now: Duration::ZERO,
            wall_ms,
            next_connection: 1,
            unnamed: 0,
        })
    }

    /// Cuts the power and starts again with what survived.
    fn power_cut(self, options: IngestOptions) -> Self {
        let survivor = self.fs.power_cut();
        drop(self);
        Self::on(survivor, options)
    }

    fn connect(&mut self, agent: &str) -> Peer {
        let sender = Sender::from((Tenant::DEFAULT, AgentId::new(agent).unwrap()));
        let (events, receiver) = unbounded_channel();
        let budget = Budget::new(Arc::clone(&self.room), 1 << 30, 1 << 29);
        let id = self.next_connection;
        self.next_connection += 1;
        self.engine.connect(id, connection::Connection::new(sender.clone(), events, budget.clone()));
        Peer { id, sender, budget, events: receiver, next_ticket: 0 }
    }

    /// A connection on which dead letters of an agent are tried again.
    fn connect_retry(&mut self, agent: AgentId) -> Peer {
        let sender = Sender::from((Tenant::DEFAULT, agent));
        let (events, receiver) = unbounded_channel();
        let budget = Budget::new(Arc::clone(&self.room), 1 << 30, 1 << 29);
        let id = self.next_connection;
        self.next_connection += 1;
        self.engine.connect(id, connection::Connection::retry(sender.clone(), events, budget.clone()));
        Peer { id, sender, budget, events: receiver, next_ticket: 0 }
    }

    /// Tries a dead letter again.
    fn retry(&mut self, peer: &mut Peer, format: Format, original: Vec<u8>) {
        let ticket = peer.next_ticket;
        peer.next_ticket += 1;
        let work = super::decode::letter(&peer.sender, format, Bytes::from(original));
        let entry = Entry { ticket, cost: peer.budget.cost(0), arrival: ARRIVAL, state: State::Waiting(work) };
        self.engine.submit(peer.id, vec![entry]);
        self.engine.advance();
    }

    fn publish(&mut self, peer: &mut Peer, body: Body, payload: Vec<u8>) -> u64 {
        let ticket = self.submit(peer, body, payload);
        self.engine.advance();
        ticket
    }

    /// Hands it in; nothing is decided yet.
    fn submit(&mut self, peer: &mut Peer, body: Body, payload: Vec<u8>) -> u64 {
        let ticket = peer.next_ticket;
        peer.next_ticket += 1;
        let work = decode(&peer.sender, self.engine.stores(), body, Bytes::from(payload));
        let cost = peer.budget.cost(0);
        let entry = Entry { ticket, cost, arrival: ARRIVAL, state: State::Waiting(work) };
        self.engine.submit(peer.id, vec![entry]);
        ticket
    }

    fn send(&mut self, peer: &mut Peer, batch: Vec<u8>) -> u64 {
        self.publish(peer, Body::Batch, batch)
    }

    fn describe(&mut self, peer: &mut Peer, payload: Vec<u8>) -> u64 {
        self.publish(peer, Body::Describe, payload)
    }

    /// Lets time pass.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.engine.tick(self.now);
        self.engine.advance();
    }

    /// Commits the staged group; false if there was none.
    fn commit(&mut self) -> bool {
        let Some(parts) = self.engine.take_group() else { return false };
        self.finish(parts);
        true
    }

    /// Writes a group that the engine gave out.
    fn finish(&mut self, parts: Vec<(usize, weir_storage::Batch)>) {
        let parts = self.writer.write(parts);
        self.engine.committed(parts);
        self.engine.advance();
    }

    /// Commits until nothing is staged.
    fn settle(&mut self) {
        while self.commit() {}
    }

    /// Everything that a consumer sees.
    fn content(&self) -> LogContent {
        LogContent::read(&self.topics)
    }
}

impl Writer {
    /// Writes a group; how each part ended.
    fn write(&mut self, parts: Vec<(usize, weir_storage::Batch)>) -> Vec<Part> {
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
                    answer.send(completion.parts).expect("the test waits");
                });
                committer.submit(Submission { parts, done }).expect("it runs");
                answered.recv().expect("an answer")
            }
        }
    }

    /// As the keeper does it before it counts damage.
    fn void_journal(&mut self) -> Result<(), RemoveError> {
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
    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.events.try_recv().ok()).collect()
    }

    /// The outcomes among that.
    fn outcomes(&mut self) -> Vec<Outcome> {
        let outcomes = |event| match event {
            Event::Outcomes(outcomes) => outcomes,
            Event::Ask(_) => Vec::new(),
        };
        self.events().into_iter().flat_map(outcomes).collect()
    }

    /// The verdicts among that.
    fn verdicts(&mut self) -> Vec<Verdict> {
        self.outcomes().into_iter().map(|outcome| outcome.verdict).collect()
    }
}

//! The engine's thread: gives it a clock, a committer and connections.
//!
//! Guarantees: one thread decides, one commits, and they only exchange groups; a log at its cap or a full disk
//! is tried again until there is room, and meanwhile nothing is acknowledged and [`Connection::submit`] waits;
//! [`Ingest::stop`] commits and answers what was staged, then ends both threads; if either dies, the process ends.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender as Inbox, channel};
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::{Semaphore, oneshot};
use weir_protocol::Tenant;
use weir_protocol::time::WallClock;
use weir_storage::{Committer, CommitterOptions, Fs, Log, LogOptions, Part};

use super::budget::Budget;
use super::connection::{self, Entry};
use super::engine::Engine;
use super::exposure::Exposure;
use super::keeper::{self, Door, Finding, Keeper, Now};
use super::recovery::{self, RecoverError, Recovered, RecoveryReport, Source};
use super::rows::RestartRow;
use super::snapshots::Snapshot;
use super::stats::{Counters, Stats};
use super::{Events, IngestOptions, Sender};
use crate::log_gate::LogGate;
use crate::record::dead_letter::DeadSpan;
use crate::topics::layout::{self, LayoutError};
use crate::topics::{Stores, Topics};

mod entrance;
mod retry;
mod transfer;
mod worker;

pub use entrance::Connection;
use entrance::Parcel;
pub use retry::Letter;
pub use transfer::MoveError;
use worker::{AbortOnPanic, Service};

/// Why ingest could not start. Nothing was served.
#[derive(Debug, Error)]
pub enum StartError {
    /// The topics could not be opened.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The state could not be rebuilt.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// The system has no thread to give.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
}

/// The handle of ingest; cheap to clone. When the last clone is dropped, ingest stops by itself.
#[derive(Clone)]
pub struct Ingest {
    inbox: Arc<StopOnDrop>,
    clock: Arc<dyn WallClock>,
    stores: Stores,
    counters: Arc<Counters>,
    room: Arc<Semaphore>,
    total_budget: usize,
    connection_budget: usize,
    next_connection: Arc<AtomicU64>,
}

struct StopOnDrop(Inbox<Input>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        let _ = self.0.send(Input::Stop(oneshot::channel().0));
    }
}

/// What comes to the engine's thread. Unbounded in type; messages are bounded by the budgets, the rest by the
/// number of connections.
enum Input {
    Connect(u64, Box<connection::Connection>),
    Disconnect(u64),
    Messages(u64, Vec<Entry>),
    Committed(Vec<Part>),
    CommitterDied,
    /// The keeper wants what a log says now.
    Snapshot(usize, Inbox<Snapshot>),
    /// The read model wants to know how far restarts have come; all of them again if true.
    Rows(bool, Inbox<Vec<RestartRow>>),
    /// How many of these sequences are stored.
    Stored(Tenant, Vec<DeadSpan>, oneshot::Sender<u64>),
    /// The keeper found damage.
    Lose(Finding, Inbox<()>),
    Stop(oneshot::Sender<()>),
}

impl Ingest {
    /// Opens the topics under `data`, recovers, and starts.
    ///
    /// # Errors
    /// [`StartError`]; damage in a log is not an error but in the report.
    pub fn start(
        fs: Arc<dyn Fs>,
        data: &Path,
        options: IngestOptions,
        clock: Arc<dyn WallClock>,
    ) -> Result<(Self, Topics, RecoveryReport), StartError> {
        let log_options = LogOptions { expose_on_commit: false, ..options.log };
        let opened = layout::open(&fs, data, options.asked(), log_options)?;
        let topics = Topics::new(opened.routes.definitions(), opened.logs.iter().map(Log::reader));
        let source = Source { fs: &*fs, data, topics: &topics, routes: &opened.routes, is_read_only: false };
        let recovered = recovery::recover(&source, options.limits, options.compatibility, opened.recoveries)?;
        let report = RecoveryReport { redone: opened.redone, ..recovered.report.clone() };
        #[cfg_attr(not(feature = "plant"), expect(unused_mut, reason = "a plant changes them"))]
        let Recovered { mut devices, bases, .. } = recovered;
        #[cfg(feature = "plant")]
        if let Some(plant) = options.plant {
            plant.after_recovery(&mut devices);
        }

        let (inbox, inputs) = channel();
        let counters = Arc::new(Counters::default());
        let ingest = Self {
            inbox: Arc::new(StopOnDrop(inbox.clone())),
            clock: Arc::clone(&clock),
            stores: opened.routes.stores().clone(),
            counters: Arc::clone(&counters),
            room: Arc::new(Semaphore::new(options.total_budget)),
            total_budget: options.total_budget,
            connection_budget: options.connection_budget,
            next_connection: Arc::new(AtomicU64::new(1)),
        };
        let exposure = Exposure::new(&opened.logs, topics.clone(), opened.routes.clone());
        let (full_retry, most) = (options.full_retry, options.limits.ranges_per_share);
        let journal = layout::journal(&fs, data, options.journal);
        let ends = opened.logs.iter().map(Log::next_offset).collect();
        let engine = Engine::new(options, opened.routes.clone(), Arc::clone(&counters), exposure, devices, ends);
        let journal = journal.unwrap_or_else(|error| {
            tracing::warn!(%error, "no journal: commits go on without it, more slowly over many partitions");
            None
        });
        let committer = Arc::new(Committer::spawn_with(opened.logs, CommitterOptions::default(), journal)?);

        let now = Now { elapsed: Duration::ZERO, wall_ms: clock.now().as_millis() };
        let damaged = report.damaged_logs();
        let place = (fs, data);
        let keeper = Keeper::new(place, (&topics, opened.routes), (now, &bases), most, Arc::clone(&counters));
        let door = door(&inbox, &committer);
        let keeping = keeper::start(keeper, topics.clone(), door, Arc::clone(&clock), damaged)?;
        let service = Service {
            engine,
            committer,
            inbox,
            clock,
            counters,
            full_retry,
            settled: Vec::new(),
            retry: None,
            asked: HashMap::new(),
            asks: 0,
            gate: LogGate::new(Instant::now()),
        };
        thread::Builder::new().name("ingest".into()).spawn(move || {
            let _guard = AbortOnPanic;
            service.run(inputs, keeping);
        })?;
        Ok((ingest, topics, report))
    }

    /// A connection of `sender`. Dropping it says that it has gone.
    pub fn connect(&self, sender: Sender, events: Events) -> Connection {
        self.connect_as(sender, events, connection::Connection::new)
    }

    fn connect_as(
        &self,
        sender: Sender,
        events: Events,
        make: fn(Sender, Events, Budget) -> connection::Connection,
    ) -> Connection {
        let id = self.next_connection.fetch_add(1, Ordering::Relaxed);
        let budget = Budget::new(Arc::clone(&self.room), self.total_budget, self.connection_budget);
        let known = make(sender.clone(), events.clone(), budget.clone());
        // A service that has stopped shows at the first submit.
        let _ = self.inbox.0.send(Input::Connect(id, Box::new(known)));
        let (inbox, stores, clock) = (self.inbox.0.clone(), self.stores.clone(), Arc::clone(&self.clock));
        Connection { id, sender, events, budget, inbox, stores, clock }
    }

    /// Which messages of clients have a place: a [`Body::Published`](super::Body) that they do not find is refused, and with it
    /// its connection.
    pub fn stores(&self) -> &Stores {
        &self.stores
    }

    /// What ingest did so far.
    pub fn stats(&self) -> Stats {
        self.counters.snapshot()
    }

    /// A connection on which dead letters of `sender` are tried again, see [`Connection::retry`]. It takes its turn
    /// and its room like any other; it is never asked for a description, and what is still poison is not buried twice.
    pub fn connect_retry(&self, sender: Sender, events: Events) -> Connection {
        self.connect_as(sender, events, connection::Connection::retry)
    }

    /// Restarts that changed since this was asked, in bounded parts; all of them after a start. Waits for the answer:
    /// not for an async task. Empty when there is nothing to tell, or ingest has stopped.
    pub fn rows(&self) -> Vec<RestartRow> {
        self.ask_rows(false)
    }

    /// Has [`Ingest::rows`] tell everything once more.
    pub fn tell_all_rows(&self) {
        self.ask_rows(true);
    }

    fn ask_rows(&self, all: bool) -> Vec<RestartRow> {
        let (answer, answered) = channel();
        // One that has stopped drops the question.
        let _ = self.inbox.0.send(Input::Rows(all, answer));
        answered.recv().unwrap_or_default()
    }

    /// Refuses what is not staged, commits and answers what is, and stops. Returns when all is on disk.
    pub async fn stop(&self) {
        self.room.close();
        let (stopped, wait) = oneshot::channel();
        if self.inbox.0.send(Input::Stop(stopped)).is_ok() {
            // An answer that never comes means that the thread has ended.
            let _ = wait.await;
        }
    }
}

/// What the keeper asks, through the inbox of the engine's thread and the committer.
fn door(inbox: &Inbox<Input>, committer: &Arc<Committer>) -> Door {
    let (asking, losing) = (inbox.clone(), inbox.clone());
    let [voiding, removing, compacting] = [(); 3].map(|()| Arc::clone(committer));
    Door {
        snapshot: Box::new(move |log| {
            let (answer, answered) = channel();
            asking.send(Input::Snapshot(log, answer)).ok()?;
            answered.recv().ok()
        }),
        lose: Box::new(move |finding| {
            let (done, over) = channel();
            if losing.send(Input::Lose(finding, done)).is_ok() {
                // Whoever counts drops the other end when it is over.
                let _ = over.recv();
            }
        }),
        void_journal: Box::new(move || voiding.void_journal()),
        remove: Box::new(move |log, offset| removing.remove_before(log, offset)),
        compact: Box::new(move |log, options, stop| compacting.compact(log, options, stop)),
    }
}

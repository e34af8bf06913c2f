//! The engine's thread: gives it a clock, a committer and connections.
//!
//! Guarantees: one thread decides, one commits, and they only exchange groups; a log at its cap or a full disk
//! is tried again until there is room, and meanwhile nothing is acknowledged and [`Connection::submit`] waits;
//! [`Ingest::stop`] commits and answers what was staged, then ends both threads; if either dies, the process ends.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::mem;
use std::path::Path;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SendError, Sender as Inbox, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::{Semaphore, oneshot};
use weir_protocol::Tenant;
use weir_protocol::time::WallClock;
use weir_storage::{
    Batch, CommitError, Committer, CommitterOptions, Fs, IoError, Log, LogOptions, Part, Submission, SubmitError,
};

use super::budget::Budget;
use super::connection::{self, Entry, State};
use super::damage::Job;
use super::decode::{self, Work};
use super::engine::Engine;
use super::exposure::Exposure;
use super::keeper::{self, Door, Finding, Keeper, Keeping, Now};
use super::recovery::{self, RecoverError, Recovered, RecoveryReport, Source};
use super::rows::RestartRow;
use super::snapshots::Snapshot;
use super::stats::{Counters, Stats};
use super::{Event, Events, Failure, IngestOptions, Message, Outcome, Sender, Verdict};
use crate::log_gate::LogGate;
use crate::record::dead_letter::DeadSpan;
use crate::topics::Topics;
use crate::topics::layout::{self, LayoutError};

mod retry;

pub use retry::Letter;

/// Inputs that the engine takes before it looks whether a group can go.
const INPUTS_PER_TURN: usize = 256;

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
        let known = make(sender, events.clone(), budget.clone());
        // A service that has stopped shows at the first submit.
        let _ = self.inbox.0.send(Input::Connect(id, Box::new(known)));
        Connection { id, sender, events, budget, inbox: self.inbox.0.clone(), clock: Arc::clone(&self.clock) }
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

/// One connection's way in.
pub struct Connection {
    id: u64,
    sender: Sender,
    events: Events,
    budget: Budget,
    inbox: Inbox<Input>,
    clock: Arc<dyn WallClock>,
}

impl Connection {
    /// Hands in messages in their order; those of one socket read in one call. Waits for room, which is the
    /// backpressure: do not read from the socket meanwhile.
    pub async fn submit(&self, messages: Vec<Message>) {
        self.hand_in(messages).await;
    }

    async fn hand_in<P: Parcel>(&self, parcels: Vec<P>) {
        let mut parcels = VecDeque::from(parcels);
        while !parcels.is_empty() {
            let mut cost = 0;
            let fits = |parcel: &&P| {
                cost += self.budget.cost(parcel.bytes());
                cost <= self.budget.most()
            };
            // One parcel always fits: it costs at most all of the budget.
            let fitting = parcels.iter().take_while(fits).count();
            let now: Vec<_> = parcels.drain(..fitting).collect();
            self.hand_in_fitting(now).await;
        }
    }

    /// Hands in what fits the budget together.
    async fn hand_in_fitting<P: Parcel>(&self, parcels: Vec<P>) {
        let cost = parcels.iter().map(|parcel| self.budget.cost(parcel.bytes())).sum();
        if self.budget.take(cost).await.is_err() {
            self.refuse(parcels.iter().map(Parcel::ticket));
            return;
        }
        let arrival = self.clock.now();
        let entry = |parcel: P| Entry {
            ticket: parcel.ticket(),
            cost: self.budget.cost(parcel.bytes()),
            arrival,
            state: State::Waiting(parcel.open(&self.sender)),
        };
        let entries = parcels.into_iter().map(entry).collect();
        if let Err(SendError(Input::Messages(_, entries))) = self.inbox.send(Input::Messages(self.id, entries)) {
            self.refuse(entries.iter().map(|entry| entry.ticket));
        }
    }

    /// Says that ingest has stopped; it can no longer say so itself.
    fn refuse(&self, tickets: impl Iterator<Item = u64>) {
        let stopping = |ticket| Outcome { ticket, verdict: Verdict::Failed(Failure::Stopping) };
        let _ = self.events.send(Event::Outcomes(tickets.map(stopping).collect()));
    }
}

/// What a connection hands in.
trait Parcel {
    fn ticket(&self) -> u64;
    /// The size of its payload.
    fn bytes(&self) -> usize;
    fn open(self, sender: &Sender) -> Work;
}

impl Parcel for Message {
    fn ticket(&self) -> u64 {
        self.ticket
    }

    fn bytes(&self) -> usize {
        self.payload.len()
    }

    fn open(self, sender: &Sender) -> Work {
        decode::decode(sender, self.purpose, self.payload)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let _ = self.inbox.send(Input::Disconnect(self.id));
    }
}

/// A gateway whose engine is gone would hold every connection and answer none; one that comes back answers.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            process::abort();
        }
    }
}

/// Tells the engine how a commit ended, or that its thread died before it did.
struct Answer(Option<Inbox<Input>>);

impl Answer {
    fn give(mut self, parts: Vec<Part>) {
        // The engine outlives the committer, unless it panicked; then nobody is answered any more.
        let _ = self.0.take().map(|inbox| inbox.send(Input::Committed(parts)));
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let _ = self.0.take().map(|inbox| inbox.send(Input::CommitterDied));
    }
}

/// What the keeper asks, through the inbox of the engine's thread and the committer.
fn door(inbox: &Inbox<Input>, committer: &Arc<Committer>) -> Door {
    let (asking, losing, voiding, committer) =
        (inbox.clone(), inbox.clone(), Arc::clone(committer), Arc::clone(committer));
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
        remove: Box::new(move |log, offset| committer.remove_before(log, offset)),
    }
}

/// The thread's own part.
struct Service {
    engine: Engine,
    committer: Arc<Committer>,
    inbox: Inbox<Input>,
    clock: Arc<dyn WallClock>,
    counters: Arc<Counters>,
    full_retry: Duration,
    /// Parts of the group in flight that ended while others wait for room.
    settled: Vec<Part>,
    /// Parts of the group in flight that found no room, and when they are tried again.
    retry: Option<(Instant, Vec<Part>)>,
    /// Who waits for a snapshot: the keeper, which asks for one at a time.
    asked: HashMap<u64, Inbox<Snapshot>>,
    asks: u64,
    /// For what senders can cause.
    gate: LogGate,
}

impl Service {
    fn run(mut self, inputs: Receiver<Input>, keeping: Keeping) {
        let start = Instant::now();
        let mut stopping = Vec::new();
        loop {
            match self.wait(&inputs, start) {
                Ok(input) => self.take(input, &mut stopping),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            for input in inputs.try_iter().take(INPUTS_PER_TURN) {
                self.take(input, &mut stopping);
            }
            self.engine.tick(start.elapsed());
            self.engine.advance();
            self.retry_if_due(!stopping.is_empty());
            self.take_snapshots(&keeping);
            self.log_refused();
            self.log_broken();
            if let Some(parts) = self.engine.take_group() {
                self.commit(parts);
            }
            if !stopping.is_empty() && self.engine.is_idle() {
                break;
            }
        }
        // The keeper may be waiting for an answer that will not come.
        drop(inputs);
        self.asked.clear();
        self.finish_snapshots(&keeping);
        self.engine.snapshot_all();
        self.finish_snapshots(&keeping);
        keeping.stop();
        // It commits nothing any more; dropped, it gives the logs back.
        drop(self.committer);
        for stopped in stopping {
            let _ = stopped.send(());
        }
    }

    /// Says what to do about bounds that were met.
    fn log_refused(&mut self) {
        for (over, sender, device) in self.engine.take_refused() {
            if let Some(left_out) = self.gate.pass(Instant::now()) {
                let device = device.map_or_else(|| "-".to_owned(), |device| device.to_string());
                tracing::warn!(agent = %sender.agent, device, left_out, "refused (0x97): {}", over.advice());
            }
        }
    }

    /// Says which channels changed as they may not.
    fn log_broken(&mut self) {
        for (device, schema, broken) in self.engine.devices.take_broken() {
            if let Some(left_out) = self.gate.pass(Instant::now()) {
                tracing::warn!(
                    %device,
                    %schema,
                    left_out,
                    "{broken}: its readings become dead letters; `weir-gateway schema check --device {device}` says more"
                );
            }
        }
    }

    fn finish_snapshots(&mut self, keeping: &Keeping) {
        while self.engine.is_taking_snapshots() {
            self.take_snapshots(keeping);
        }
        self.take_snapshots(keeping);
    }

    /// Goes on with snapshots, and gives those that are finished to who wants them.
    fn take_snapshots(&mut self, keeping: &Keeping) {
        for snapshot in self.engine.step_snapshots() {
            match snapshot.asked {
                None => keeping.write(snapshot),
                Some(asked) => {
                    // Who asked may have gone.
                    let _ = self.asked.remove(&asked).map(|answer| answer.send(snapshot));
                }
            }
        }
    }

    /// The next input, or a timeout when there is something to do without one.
    fn wait(&self, inputs: &Receiver<Input>, start: Instant) -> Result<Input, RecvTimeoutError> {
        if self.engine.is_taking_snapshots() {
            return inputs.try_recv().map_err(|error| match error {
                TryRecvError::Empty => RecvTimeoutError::Timeout,
                TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
            });
        }
        let deadline = self.engine.deadline().map(|deadline| start + deadline);
        let retry = self.retry.as_ref().map(|(at, _)| *at);
        match deadline.into_iter().chain(retry).min() {
            Some(at) => inputs.recv_timeout(at.saturating_duration_since(Instant::now())),
            None => inputs.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    fn take(&mut self, input: Input, stopping: &mut Vec<oneshot::Sender<()>>) {
        match input {
            Input::Connect(id, connection) => self.engine.connect(id, *connection),
            Input::Disconnect(id) => self.engine.disconnect(id),
            Input::Messages(id, entries) => self.engine.submit(id, entries),
            Input::Committed(parts) => self.committed(parts),
            // As after a panic of this thread: what was acknowledged is on disk, and the next start serves it.
            Input::CommitterDied => {
                tracing::error!("the commit thread died; start the gateway again and report this with its log");
                process::abort();
            }
            Input::Snapshot(log, answer) => {
                self.asks += 1;
                self.asked.insert(self.asks, answer);
                self.engine.ask_snapshot(log, self.asks);
            }
            Input::Rows(all, answer) => {
                // Who asked may have gone.
                let _ = answer.send(self.engine.take_rows(all));
            }
            Input::Stored(tenant, spans, answer) => {
                // Who asked may have gone.
                let _ = answer.send(self.engine.stored(tenant, &spans));
            }
            Input::Lose(finding, done) => self.engine.lose(Job::new(finding, self.clock.now(), done)),
            Input::Stop(stopped) => {
                self.engine.stop();
                stopping.push(stopped);
            }
        }
    }

    fn commit(&mut self, parts: Vec<(usize, Batch)>) {
        let answer = Answer(Some(self.inbox.clone()));
        let done = Box::new(move |completion: weir_storage::Completion| answer.give(completion.parts));
        let refused = match self.committer.submit(Submission { parts, done }) {
            Ok(()) => return,
            Err(
                SubmitError::Full(refused)
                | SubmitError::Stopped(refused)
                | SubmitError::NoSuchLog { submission: refused, .. },
            ) => refused,
        };
        let stopped = |(log, batch)| {
            let source = Arc::new(io::Error::other("the committer has stopped: restart the gateway"));
            let error = IoError { action: "commit to", path: "topics".into(), source };
            Part { log, result: Err(CommitError::Io(error)), rolled: None, batch }
        };
        self.committed(refused.parts.into_iter().map(stopped).collect());
    }

    /// A commit ended. Where there was no room nothing was written: those parts are kept and tried again,
    /// unless another part failed for good, because then the group has failed anyhow.
    fn committed(&mut self, parts: Vec<Part>) {
        let no_room = |part: &Part| part.result.as_ref().is_err_and(CommitError::is_full);
        let (full, ended): (Vec<_>, Vec<_>) = parts.into_iter().partition(no_room);
        self.settled.extend(ended);
        let paused = !full.is_empty() && self.settled.iter().all(|part| part.result.is_ok());
        self.counters.paused.store(paused, Ordering::Relaxed);
        if paused {
            self.retry = Some((Instant::now() + self.full_retry, full));
            return;
        }
        self.settled.extend(full);
        self.engine.committed(mem::take(&mut self.settled));
    }

    /// Tries again where there was no room; who stops does not wait for room.
    fn retry_if_due(&mut self, stopping: bool) {
        let Some((at, _)) = &self.retry else { return };
        if !stopping && *at > Instant::now() {
            return;
        }
        let Some((_, parts)) = self.retry.take() else { return };
        if stopping {
            self.settled.extend(parts);
            self.engine.committed(mem::take(&mut self.settled));
        } else {
            self.commit(parts.into_iter().map(|part| (part.log, part.batch)).collect());
        }
    }
}

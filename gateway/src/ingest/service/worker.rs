//! The engine's thread: what comes to it, in its order; groups to the committer, and what became of them back.

use std::collections::HashMap;
use std::io;
use std::mem;
use std::process;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender as Inbox, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use weir_protocol::time::WallClock;
use weir_storage::{Batch, CommitError, Committer, IoError, Part, Submission, SubmitError};

use super::super::damage::Job;
use super::super::engine::Engine;
use super::super::keeper::Keeping;
use super::super::snapshots::Snapshot;
use super::super::stats::Counters;
use super::Input;
use crate::log_gate::LogGate;

/// Inputs that the engine takes before it looks whether a group can go.
const INPUTS_PER_TURN: usize = 256;

/// A gateway whose engine is gone would hold every connection and answer none; one that comes back answers.
pub(super) struct AbortOnPanic;

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

/// The thread's own part.
pub(super) struct Service {
    pub(super) engine: Engine,
    pub(super) committer: Arc<Committer>,
    pub(super) inbox: Inbox<Input>,
    pub(super) clock: Arc<dyn WallClock>,
    pub(super) counters: Arc<Counters>,
    pub(super) full_retry: Duration,
    /// Parts of the group in flight that ended while others wait for room.
    pub(super) settled: Vec<Part>,
    /// Parts of the group in flight that found no room, and when they are tried again.
    pub(super) retry: Option<(Instant, Vec<Part>)>,
    /// Who waits for a snapshot: the keeper, which asks for one at a time.
    pub(super) asked: HashMap<u64, Inbox<Snapshot>>,
    pub(super) asks: u64,
    /// For what senders can cause.
    pub(super) gate: LogGate,
}

impl Service {
    pub(super) fn run(mut self, inputs: Receiver<Input>, keeping: Keeping) {
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
                tracing::warn!(client = %sender.client, device, left_out, "refused (0x97): {}", over.advice());
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

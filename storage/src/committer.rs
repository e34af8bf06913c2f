//! Natural group commit: a thread that owns the logs and commits whatever waits, over and over.
//!
//! Guarantees: a group is one write and one `fdatasync` per dirty log, dirty logs in parallel; the next
//! group starts when the last sync returned; submissions complete in the order they came in, each with the
//! result of every log it touched; a log that refused one submission of a group refuses the later ones of
//! that group too, so order is kept; no group is written while a failed commit of any log could come back
//! after a restart ([`Log::settle`]). Waiting submissions are bounded in number and bytes: [`Committer::submit`]
//! blocks, [`Committer::try_submit`] gives the submission back. Shutting down drains what was accepted.

mod group;
mod queue;
pub(crate) mod syncs;

use crate::batch::Batch;
use crate::compaction::{self, Compaction, CompactionOptions};
use crate::error::{CommitError, IoError, RemoveError};
use crate::journal::Journal;
use crate::log::upkeep::Upkeep;
use crate::log::{Exposer, Log};
use crate::reader::Reader;
use group::Group;
use queue::{Control, Queue, Work};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use std::{fmt, io, thread};
use thiserror::Error;

/// Bounds and pace of a committer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitterOptions {
    /// Submissions that may wait.
    pub max_waiting: usize,
    /// Bytes that may wait; one larger submission is let in alone.
    pub max_waiting_bytes: usize,
    /// Bytes committed in one group; one larger submission is a group of its own.
    pub max_group_bytes: usize,
    /// The least time between the starts of two groups: spares flash. Zero commits as fast as syncs return.
    pub min_interval: Duration,
    /// Logs synced at the same time; with 1 all happens on the one thread, in the order of the logs.
    pub max_parallel_syncs: usize,
}

impl Default for CommitterOptions {
    fn default() -> CommitterOptions {
        CommitterOptions {
            max_waiting: 4096,
            max_waiting_bytes: 32 * 1024 * 1024,
            max_group_bytes: 8 * 1024 * 1024,
            min_interval: Duration::ZERO,
            max_parallel_syncs: 16,
        }
    }
}

/// Batches to commit together, each with the index of its log.
pub struct Submission {
    /// Log index and batch; the same log may come more than once.
    pub parts: Vec<(usize, Batch)>,
    /// Called once on the committer's thread: keep it short, and do not submit from it.
    pub done: Box<dyn FnOnce(Completion) + Send>,
}

/// How a submission ended, part by part in the order submitted.
#[derive(Debug)]
pub struct Completion {
    /// The parts.
    pub parts: Vec<Part>,
}

/// How one part of a submission ended.
#[derive(Debug)]
pub struct Part {
    /// Index of the log.
    pub log: usize,
    /// The offsets its records got, durable; or why nothing of it is in that log.
    pub result: Result<Range<u64>, CommitError>,
    /// The base offset of the segment that the group of this commit began, if it began one: every record below it is
    /// in segments that are closed.
    pub rolled: Option<u64>,
    /// The batch, for reuse: [`Batch::clear`] it, or submit it again after a failure.
    pub batch: Batch,
}

/// A submission that was not accepted; it comes back.
#[derive(Error)]
pub enum SubmitError {
    /// The queue is full.
    #[error("the committer's queue is full")]
    Full(Submission),
    /// The committer has stopped.
    #[error("the committer has stopped")]
    Stopped(Submission),
    /// A part names a log that is not there.
    #[error("no such log: got index {got}, expected below {logs}")]
    NoSuchLog {
        /// The index.
        got: usize,
        /// Number of logs.
        logs: usize,
        /// The submission.
        submission: Submission,
    },
}

/// The thread that commits.
pub struct Committer {
    queue: Arc<Queue>,
    readers: Vec<Reader>,
    exposers: Vec<Exposer>,
    upkeeps: Vec<Arc<Upkeep>>,
    thread: Option<JoinHandle<Vec<Log>>>,
}

impl Committer {
    /// Starts the thread; an index in a [`Submission`] is the place in `logs`.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn spawn(logs: Vec<Log>, options: CommitterOptions) -> io::Result<Committer> {
        Committer::spawn_with(logs, options, None)
    }

    /// As [`Committer::spawn`]; groups go through the journal unless they are large. All logs lie below its root.
    ///
    /// # Errors
    /// When the system has no thread to give, or a log lies elsewhere.
    pub fn spawn_with(logs: Vec<Log>, options: CommitterOptions, journal: Option<Journal>) -> io::Result<Committer> {
        let threads = options.max_parallel_syncs.min(logs.len()).saturating_sub(1);
        let group = Group::new(logs, journal, threads)?;
        let queue = Arc::new(Queue::new(options.max_waiting, options.max_waiting_bytes));
        let readers = group.logs().iter().map(Log::reader).collect();
        let exposers = group.logs().iter().map(Log::exposer).collect();
        let upkeeps = group.logs().iter().map(Log::upkeep).collect();
        let theirs = Arc::clone(&queue);
        let thread = thread::Builder::new().name("commit".into()).spawn(move || group::run(group, &theirs, options))?;
        Ok(Committer { queue, readers, exposers, upkeeps, thread: Some(thread) })
    }

    /// Hands in a submission and waits while the queue is full.
    ///
    /// # Errors
    /// [`SubmitError::Stopped`] or [`SubmitError::NoSuchLog`]; `done` was not called.
    pub fn submit(&self, submission: Submission) -> Result<(), SubmitError> {
        self.queue.push(Work::new(self.checked(submission)?), true)
    }

    /// Hands in a submission if the queue has room.
    ///
    /// # Errors
    /// [`SubmitError`]; `done` was not called.
    pub fn try_submit(&self, submission: Submission) -> Result<(), SubmitError> {
        self.queue.push(Work::new(self.checked(submission)?), false)
    }

    /// A reader for each log, by index.
    pub fn readers(&self) -> &[Reader] {
        &self.readers
    }

    /// For each log, by index, the handle that exposes committed offsets.
    pub fn exposers(&self) -> &[Exposer] {
        &self.exposers
    }

    /// [`Log::remove_before`], on the caller's thread: commits go on, however long it takes.
    ///
    /// # Errors
    /// [`RemoveError`]; what was removed so far is gone, the rest is still served.
    pub fn remove_before(&self, log: usize, offset: u64) -> Result<u64, RemoveError> {
        let upkeep = self.upkeeps.get(log).ok_or(RemoveError::Stopped)?;
        upkeep.remove_before(offset).map_err(RemoveError::Io)
    }

    /// [`Log::compact`], on the caller's thread: commits go on meanwhile, except that the journal is voided once
    /// ([`Committer::void_journal`]), because a redo would write into the files that are replaced. It ends early when
    /// `stop` is set.
    ///
    /// # Errors
    /// [`RemoveError`]; what was compacted so far stays so, nothing is lost.
    pub fn compact(
        &self,
        log: usize,
        options: &CompactionOptions,
        stop: &AtomicBool,
    ) -> Result<Compaction, RemoveError> {
        let upkeep = self.upkeeps.get(log).ok_or(RemoveError::Stopped)?;
        compaction::compact(upkeep, options, stop, &mut || self.void_journal())
    }

    /// Between two groups: syncs what the journal holds and voids it; waits for it. Whoever decides on the ground that
    /// a record cannot be read any more calls this before it looks, or a redo might bring the record back.
    ///
    /// # Errors
    /// [`RemoveError`]; the journal may still be redone.
    pub fn void_journal(&self) -> Result<(), RemoveError> {
        let (answer, answered) = mpsc::sync_channel::<Result<(), IoError>>(1);
        if !self.queue.control(Control::VoidJournal { answer }) {
            return Err(RemoveError::Stopped);
        }
        answered.recv().map_err(|_| RemoveError::Stopped)?.map_err(RemoveError::Io)
    }

    /// [`Log::roll`], between two groups; waits for it.
    ///
    /// # Errors
    /// [`RemoveError`]; the segment goes on being written.
    pub fn roll(&self, log: usize) -> Result<(), RemoveError> {
        let (answer, answered) = mpsc::sync_channel::<Result<(), IoError>>(1);
        if !self.queue.control(Control::Roll { log, answer }) {
            return Err(RemoveError::Stopped);
        }
        answered.recv().map_err(|_| RemoveError::Stopped)?.map_err(RemoveError::Io)
    }

    /// Commits what was accepted, stops, and gives the logs back.
    pub fn shutdown(mut self) -> Vec<Log> {
        self.stop()
    }

    fn checked(&self, submission: Submission) -> Result<Submission, SubmitError> {
        let logs = self.readers.len();
        match submission.parts.iter().find(|(log, _)| *log >= logs) {
            Some(&(got, _)) => Err(SubmitError::NoSuchLog { got, logs, submission }),
            None => Ok(submission),
        }
    }

    fn stop(&mut self) -> Vec<Log> {
        self.queue.close();
        let Some(thread) = self.thread.take() else { return Vec::new() };
        if thread.thread().id() == std::thread::current().id() {
            // Dropped by a `done`, which was the last to hold it: the thread ends by itself.
            return Vec::new();
        }
        // A panic on the thread comes from a `done`; the logs are gone with it, their files are sound.
        thread.join().unwrap_or_default()
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

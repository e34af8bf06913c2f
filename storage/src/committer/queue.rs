//! What waits for the committer: bounded in number and bytes, closed once.

use super::{Submission, SubmitError};
use crate::error::IoError;
use std::collections::VecDeque;
use std::sync::mpsc::SyncSender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A submission, sealed and measured.
pub(super) struct Work {
    pub(super) submission: Submission,
    bytes: usize,
}

/// Requests that are not commits; each caller waits for its answer, so there are at most as many as
/// callers.
pub(super) enum Control {
    VoidJournal { answer: SyncSender<Result<(), IoError>> },
    Roll { log: usize, answer: SyncSender<Result<(), IoError>> },
}

/// What the committer takes at once.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) works: Vec<Work>,
    pub(super) controls: Vec<Control>,
}

pub(super) struct Queue {
    max_waiting: usize,
    max_bytes: usize,
    waiting: Mutex<Waiting>,
    /// Something came, or the queue closed.
    came: Condvar,
    /// Something was taken, or the queue closed.
    went: Condvar,
}

#[derive(Default)]
struct Waiting {
    works: VecDeque<Work>,
    bytes: usize,
    controls: Vec<Control>,
    closed: bool,
}

impl Work {
    pub(super) fn new(mut submission: Submission) -> Work {
        // On the submitting thread: the checksums are the larger part of the work.
        for (_, batch) in &mut submission.parts {
            batch.seal();
        }
        let bytes = submission.parts.iter().map(|(_, batch)| batch.byte_len()).sum();
        Work { submission, bytes }
    }
}

impl Queue {
    pub(super) fn new(max_waiting: usize, max_bytes: usize) -> Queue {
        Queue { max_waiting, max_bytes, waiting: Mutex::default(), came: Condvar::new(), went: Condvar::new() }
    }

    pub(super) fn push(&self, work: Work, wait: bool) -> Result<(), SubmitError> {
        let mut waiting = self.lock();
        loop {
            if waiting.closed {
                return Err(SubmitError::Stopped(work.submission));
            }
            let fits = waiting.works.len() < self.max_waiting && waiting.bytes + work.bytes <= self.max_bytes;
            if fits || waiting.works.is_empty() {
                break;
            }
            if !wait {
                return Err(SubmitError::Full(work.submission));
            }
            waiting = self.went.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.bytes += work.bytes;
        waiting.works.push_back(work);
        self.came.notify_one();
        Ok(())
    }

    /// Hands in a control request; false when the queue is closed.
    pub(super) fn control(&self, control: Control) -> bool {
        let mut waiting = self.lock();
        if !waiting.closed {
            waiting.controls.push(control);
            self.came.notify_one();
        }
        !waiting.closed
    }

    /// Waits for something and takes it, up to `max_group_bytes` of submissions but at least one; `None`
    /// when the queue is closed and empty.
    pub(super) fn take(&self, max_group_bytes: usize) -> Option<Taken> {
        let mut waiting = self.lock();
        while waiting.works.is_empty() && waiting.controls.is_empty() {
            if waiting.closed {
                return None;
            }
            waiting = self.came.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        let mut taken = Taken { controls: std::mem::take(&mut waiting.controls), works: Vec::new() };
        let mut bytes = 0;
        while let Some(work) = waiting.works.front() {
            if bytes + work.bytes > max_group_bytes && !taken.works.is_empty() {
                break;
            }
            bytes += work.bytes;
            taken.works.extend(waiting.works.pop_front());
        }
        waiting.bytes -= bytes;
        self.went.notify_all();
        Some(taken)
    }

    /// Waits `pause`, or until the queue closes.
    pub(super) fn pause(&self, pause: Duration) {
        let guard = self.lock();
        let waited = self.went.wait_timeout_while(guard, pause, |waiting| !waiting.closed);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.came.notify_all();
        self.went.notify_all();
    }

    /// Closes, and drops what waits: those who wait for an answer learn that none comes.
    pub(super) fn abandon(&self) {
        self.close();
        let mut waiting = self.lock();
        let dropped = (std::mem::take(&mut waiting.works), std::mem::take(&mut waiting.controls));
        drop(waiting);
        drop(dropped);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

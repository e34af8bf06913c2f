//! The queue on disk: what devices were acknowledged for, until the gateway has it.
//!
//! Guarantees:
//! - A record that was committed survives a power cut, and so does everything its removal depends on.
//! - Memory does not grow with the backlog: opening streams over it, reading takes a window.
//! - The disk it takes has a cap. A full queue refuses before it writes; nothing is dropped.
//!
//! `<data_dir>/queue/` is one log of weir-storage whose record values are encoded
//! [`weir_protocol::batch::Section`]s, so that a batch is a copy of bytes. `<data_dir>/state` holds
//! [`State`]: how far each restart was accepted, and which offsets the gateway has.

mod descriptions;
pub mod keeper;
mod recovery;
mod restarts;
mod state;
mod summary;

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use weir_storage::{
    Batch, CommitError, Committer, CommitterOptions, Fs, IoError, Log, LogOptions, OpenError, Reader, RemoveError,
    StateFile, Submission, SubmitError,
};

pub use descriptions::{Descriptions, MAX_DESCRIPTIONS};
pub use recovery::Recovered;
pub use restarts::{Key, MAX_RESTARTS, Progress, Restarts};
pub use state::{Incarnation, SharedState, State};
pub use summary::{DeviceSummary, Summary};

/// The directory of the log, and the state file beside it.
pub const LOG_DIR: &str = "queue";
/// See [`LOG_DIR`].
pub const STATE_FILE: &str = "state";
/// The smallest cap, in bytes.
pub const MIN_CAP: u64 = 1 << 20;

/// How the queue is kept.
#[derive(Clone, Copy, Debug)]
pub struct QueueOptions {
    /// The most bytes that its segments take on disk.
    pub cap: u64,
    /// The least time between two commits, for flash that wears.
    pub commit_interval: std::time::Duration,
}

/// The queue, open.
pub struct Queue {
    committer: Committer,
    reader: Reader,
    state: SharedState,
    /// One write at a time, and what is written later is newer.
    file: Mutex<StateFile>,
    cap: u64,
}

/// Why the queue could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The log.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A record could not be read while the log was gone through.
    #[error(transparent)]
    Read(#[from] weir_storage::ReadError),
    /// The state file, or the system's refusal of something else.
    #[error(transparent)]
    Io(#[from] IoError),
    /// No thread for the committer.
    #[error("cannot start the commit thread: {0}")]
    Thread(#[source] std::io::Error),
}

impl Queue {
    /// Opens the queue below `data_dir`, or starts one there. `incarnation` is for a queue that starts.
    pub fn open(
        fs: &Arc<dyn Fs>,
        data_dir: &Path,
        options: QueueOptions,
        incarnation: Incarnation,
    ) -> Result<(Self, Recovered), QueueError> {
        // Sixteen segments to a full queue: room comes back in steps of a sixteenth.
        let segment_bytes = (options.cap / 16).clamp(64 << 10, 16 << 20);
        let log_options = LogOptions { segment_bytes, cap_bytes: Some(options.cap), ..LogOptions::default() };
        let (log, found) = Log::open(Arc::clone(fs), &data_dir.join(LOG_DIR), log_options)?;
        let file = StateFile::new(Arc::clone(fs), &data_dir.join(STATE_FILE));
        let reader = log.reader();
        let (state, recovered) = recovery::recover(&file, &reader, found, incarnation)?;
        let committing = CommitterOptions { min_interval: options.commit_interval, ..CommitterOptions::default() };
        let committer = Committer::spawn(vec![log], committing).map_err(QueueError::Thread)?;
        Ok((
            Self { committer, reader, state: SharedState::new(state), file: Mutex::new(file), cap: options.cap },
            recovered,
        ))
    }

    /// Hands in records to commit; `done` is called on another thread with their offsets, or why none of
    /// them is in the queue, and the buffer for reuse. An error means that it will not be called.
    pub fn submit(
        &self,
        batch: Batch,
        done: impl FnOnce(Result<Range<u64>, CommitError>, Batch) + Send + 'static,
    ) -> Result<(), SubmitError> {
        let done = Box::new(move |completion: weir_storage::Completion| {
            if let Some(part) = completion.parts.into_iter().next() {
                done(part.result, part.batch);
            }
        });
        self.committer.submit(Submission { parts: vec![(0, batch)], done })
    }

    /// Makes the state durable. Blocks.
    pub fn save(&self) -> Result<(), IoError> {
        let file = self.file();
        let bytes = self.state.lock().encode();
        file.replace(&bytes)
    }

    /// Removes what the gateway has, as far as whole segments go; the state first. Blocks.
    pub fn trim(&self) -> Result<(), RemoveError> {
        let file = self.file();
        let (bytes, upto) = {
            let state = self.state.lock();
            // What is shipped but not covered yet stays: the file does not know its restart.
            (state.encode(), state.first_unshipped(self.reader.start_offset()).min(state.covered))
        };
        file.replace(&bytes)?;
        drop(file);
        let kept_from = self.committer.remove_before(0, upto)?;
        // What is gone needs no memory.
        self.state.lock().shipped.remove(0..kept_from);
        Ok(())
    }

    fn file(&self) -> MutexGuard<'_, StateFile> {
        // It holds nothing but a path.
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that may still be committed.
    pub fn room(&self) -> u64 {
        self.cap.saturating_sub(self.reader.allocated())
    }

    /// The most bytes that its segments take.
    pub fn cap(&self) -> u64 {
        self.cap
    }

    /// Reads beside the commits.
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// What is known besides the records.
    pub fn state(&self) -> SharedState {
        self.state.clone()
    }
}

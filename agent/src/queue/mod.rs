//! The queue on disk: what devices were acknowledged for, until the gateway has it.
//!
//! Guarantees:
//! - A record that was committed survives a power cut, and so does everything its removal depends on.
//! - Memory does not grow with the backlog: opening reads the last segment and the state, reading takes a window.
//! - The disk it takes has a cap. What happens when it is full is the [`Policy`]; whatever is dropped is claimed first.
//! - What is damaged is skipped and told; positions ([`Standing`]) make it exactly unaccounted at the gateway.
//!
//! `<data_dir>/queue/` is one log of weir-storage whose record values are encoded
//! [`weir_protocol::batch::Section`]s ([`records`]), so that a batch is a copy of bytes. `<data_dir>/state` holds
//! [`State`]: how far each restart was accepted, which offsets the gateway has, and what each segment names.
//! `<data_dir>/claims` holds [`Claims`] that wait beside the log.

mod blocks;
mod claims;
mod cover;
mod descriptions;
mod examination;
mod facts;
mod files;
mod inspection;
pub mod keeper;
mod policy;
pub mod records;
mod recovery;
mod repair;
mod restarts;
mod standing;
mod state;
mod summary;

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use weir_storage::{
    Batch, CommitError, Committer, CommitterOptions, Fs, IoError, Log, LogOptions, OpenError, Reader, RecoveryMode,
    RemoveError, StateFile, Submission, SubmitError,
};

pub use blocks::Blocks;
pub use claims::{Claims, ClaimsError, ClaimsFull};
pub use cover::coarsen;
pub use descriptions::{Descriptions, MAX_DESCRIPTIONS};
pub use examination::Examination;
pub use facts::Facts;
pub use files::Files;
pub use inspection::{Holding, Inspection};
pub use policy::{DropError, Dropped, Policy};
pub use recovery::Recovered;
pub use repair::{DAMAGED_DIR, RepairError, Repaired, repair};
pub use restarts::{Key, MAX_RESTARTS, Progress, Restarts};
pub use standing::Standing;
pub use state::{Incarnation, SharedState, State};
pub use summary::{DeviceSummary, Summary};

use claims::ClaimsFile;

/// The directory of the log, and the files beside it.
pub const LOG_DIR: &str = "queue";
/// See [`LOG_DIR`].
pub const STATE_FILE: &str = "state";
/// See [`LOG_DIR`].
pub const CLAIMS_FILE: &str = "claims";
/// The smallest cap, in bytes.
pub const MIN_CAP: u64 = 1 << 20;
/// So many parts of the cap are the log's; one more is for claims: their file, its successor while it is written, and
/// the room that is kept so that this works on a full disk.
const LOG_PARTS: u64 = 15;
/// The claims' file takes this part of the cap, and at most [`MAX_CLAIMS`] bytes.
const CLAIMS_PART: u64 = 64;
const MAX_CLAIMS: u64 = 1 << 20;

/// How the queue is kept.
#[derive(Clone, Copy, Debug)]
pub struct QueueOptions {
    /// The most bytes that it takes on disk.
    pub cap: u64,
    /// What to do when it is full.
    pub policy: Policy,
    /// The least time between two commits, for flash that wears.
    pub commit_interval: std::time::Duration,
}

impl QueueOptions {
    /// As settings say.
    pub fn of(config: &crate::config::Config) -> Self {
        let queue = &config.queue;
        Self { cap: queue.cap.get_ref().0, policy: queue.policy, commit_interval: queue.commit_interval.0 }
    }

    /// The most bytes of the log.
    fn log_cap(&self) -> u64 {
        self.cap / (LOG_PARTS + 1) * LOG_PARTS
    }

    /// Sixteen segments to a full queue: room comes back in steps of a sixteenth.
    fn segment_bytes(&self) -> u64 {
        (self.cap / 16).clamp(4 << 10, 16 << 20)
    }

    fn log_options(&self) -> LogOptions {
        LogOptions {
            segment_bytes: self.segment_bytes(),
            cap_bytes: Some(self.log_cap()),
            recovery: RecoveryMode::Tail,
            ..LogOptions::default()
        }
    }
}

/// The queue, open.
pub struct Queue {
    committer: Committer,
    reader: Reader,
    state: SharedState,
    /// One write at a time, and what is written later is newer.
    file: Mutex<StateFile>,
    claims: Arc<ClaimsFile>,
    /// Held by whoever removes segments.
    front: Mutex<()>,
    rolled: Arc<Notify>,
    options: QueueOptions,
}

/// What a submission puts into the queue.
#[derive(Debug, Default)]
pub struct Entries {
    /// Records for the log.
    pub batch: Batch,
    /// Claims beside it, durable after the batch is.
    pub claims: Claims,
}

/// How a submission ended.
#[derive(Debug)]
pub struct Committed {
    /// The offsets of its records, and the base of the segment that they began, if they did; or why none of them is in
    /// the queue, and no claim either.
    pub batch: Result<(Range<u64>, Option<u64>), CommitError>,
    /// Whether claims became coarser for those submitted; or why those submitted do not count.
    pub claims: Result<bool, ClaimsError>,
    /// The batch, for reuse.
    pub spare: Batch,
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
        let (log, found) = Log::open(Arc::clone(fs), &data_dir.join(LOG_DIR), options.log_options())?;
        let file = StateFile::new(Arc::clone(fs), &data_dir.join(STATE_FILE));
        let claims = StateFile::new(Arc::clone(fs), &data_dir.join(CLAIMS_FILE));
        let reader = log.reader();
        let (state, recovered) = recovery::recover(&file, &claims, &reader, found, incarnation)?;
        let state = SharedState::new(state);
        let most_claims = (options.cap / CLAIMS_PART).min(MAX_CLAIMS) as usize;
        let claims = Arc::new(ClaimsFile::new(claims, state.clone(), most_claims));
        let committing = CommitterOptions { min_interval: options.commit_interval, ..CommitterOptions::default() };
        let committer = Committer::spawn(vec![log], committing).map_err(QueueError::Thread)?;
        let (file, front, rolled) = (Mutex::new(file), Mutex::new(()), Arc::new(Notify::new()));
        Ok((Self { committer, reader, state, file, claims, front, rolled, options }, recovered))
    }

    /// Hands in records and claims to commit; `done` is called on another thread. An error means that it will not be
    /// called.
    pub fn submit(&self, entries: Entries, done: impl FnOnce(Committed) + Send + 'static) -> Result<(), SubmitError> {
        let Entries { batch, claims } = entries;
        let (file, rolled) = (Arc::clone(&self.claims), Arc::clone(&self.rolled));
        let done = Box::new(move |completion: weir_storage::Completion| {
            let Some(part) = completion.parts.into_iter().next() else { return };
            let began = part.rolled;
            // On the thread of the commits: claims follow the records that they were decided on.
            let claims = if part.result.is_ok() { file.add(&claims) } else { Ok(false) };
            done(Committed { batch: part.result.map(|offsets| (offsets, began)), claims, spare: part.batch });
            if began.is_some() {
                rolled.notify_one();
            }
        });
        self.committer.submit(Submission { parts: vec![(0, batch)], done })
    }

    /// Makes claims beside the log durable. Blocks.
    pub fn claim(&self, claims: &Claims) -> Result<bool, ClaimsError> {
        self.claims.add(claims)
    }

    /// Makes the state durable. Blocks.
    pub fn save(&self) -> Result<(), IoError> {
        let file = self.file();
        let bytes = self.state.lock().encode();
        file.replace(&bytes)
    }

    /// Removes what the gateway has, as far as whole segments go; the state first. Blocks.
    pub fn trim(&self) -> Result<(), RemoveError> {
        let _front = self.front();
        self.claims.save()?;
        let file = self.file();
        let (bytes, upto) = {
            let mut state = self.state.lock();
            let state = &mut *state;
            let start = self.reader.start_offset();
            state.blocks.forget(start, &state.shipped);
            // What is shipped but not covered yet stays: the file does not know its restart.
            (state.encode(), state.first_unshipped(start).min(state.covered))
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

    fn front(&self) -> MutexGuard<'_, ()> {
        self.front.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the gateway has everything.
    pub fn is_empty(&self) -> bool {
        let (start, end) = (self.reader.start_offset(), self.reader.end_offset());
        let state = self.state.lock();
        state.claims.is_empty() && state.first_unshipped(start) >= end
    }

    /// Bytes that may still be committed.
    pub fn room(&self) -> u64 {
        self.options.log_cap().saturating_sub(self.reader.allocated())
    }

    /// How it is kept.
    pub fn options(&self) -> QueueOptions {
        self.options
    }

    /// Told when a segment begins.
    pub(crate) fn rolled(&self) -> &Notify {
        &self.rolled
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

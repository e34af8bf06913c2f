//! Errors by what the caller does next: wait for room, come back later, or fix the installation.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// An operation of the filesystem that failed, with the path it failed on.
#[derive(Debug, Clone, Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct IoError {
    /// What was being done, as a verb.
    pub action: &'static str,
    /// On what.
    pub path: PathBuf,
    /// What the system said; shared, because one failed sync answers many submissions.
    pub source: Arc<io::Error>,
}

impl IoError {
    /// Names the failed operation; made for `map_err`.
    pub fn on(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> IoError {
        move |source| IoError { action, path: path.to_owned(), source: Arc::new(source) }
    }

    /// Whether the device or the quota is full.
    pub fn is_no_space(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// A log could not be opened; nothing of it is served.
#[derive(Debug, Clone, Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{dir} is in use by another process: stop that one first (`fuser {dir}/lock` names it)", dir = .0.display())]
    Locked(PathBuf),
    /// The filesystem refused.
    #[error(transparent)]
    Io(#[from] IoError),
}

/// A commit that stored nothing: no reader sees any of it, now or after a restart.
#[derive(Debug, Clone, Error)]
pub enum CommitError {
    /// The log is at its cap; refused before anything was written.
    #[error("log at its cap: {needed} bytes to write, {allocated} of {cap} bytes allocated")]
    Full {
        /// Bytes that the commit would write.
        needed: u64,
        /// Bytes allocated on disk now.
        allocated: u64,
        /// The cap.
        cap: u64,
    },
    /// The device is full.
    #[error("no space left on the device: {0}")]
    NoSpace(IoError),
    /// Anything else; the log goes on in a new segment at the next commit.
    #[error(transparent)]
    Io(IoError),
}

impl CommitError {
    /// Whether waiting for room is the answer (the cap or the device is full).
    pub fn is_full(&self) -> bool {
        matches!(self, CommitError::Full { .. } | CommitError::NoSpace(_))
    }
}

impl From<IoError> for CommitError {
    fn from(error: IoError) -> CommitError {
        if error.is_no_space() { CommitError::NoSpace(error) } else { CommitError::Io(error) }
    }
}

/// A read that cannot be answered.
#[derive(Debug, Clone, Error)]
pub enum ReadError {
    /// Not in the log: removed already, or not written yet.
    #[error("offset {got} is not in the log: expected {start} to {end}")]
    OutOfRange {
        /// The offset asked for.
        got: u64,
        /// The first offset in the log.
        start: u64,
        /// The offset after the last one that readers may see.
        end: u64,
    },
    /// The filesystem refused.
    #[error(transparent)]
    Io(#[from] IoError),
}

/// What was asked of a committer beside commits failed. Segments that were removed are gone, the rest is still served.
#[derive(Debug, Clone, Error)]
pub enum RemoveError {
    /// The filesystem refused.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The committer has stopped.
    #[error("the committer has stopped")]
    Stopped,
}

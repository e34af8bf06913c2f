//! Taking readings out of a queue into a file, and into the queue of another box.
//!
//! Guarantees:
//! - An export is complete and durable under its name before anything leaves the queue. What leaves is claimed
//!   `exported`, which an import heals; with a copy everything stays. A crash in between leaves both, and identity
//!   makes that harmless.
//! - An import reads and checks everything first, and puts nothing into the queue if a line is wrong or room is short.
//!   Importing twice stores once.
//!
//! What an encrypted queue holds leaves it in clear.
//!
//! Two forms: [`ndjson`] for people and other programs, [`segments`] for many readings.

pub mod export;
pub mod import;
pub mod ndjson;
pub mod segments;

use std::path::PathBuf;

use weir_protocol::DeviceId;
use weir_protocol::batch::{Section, SetAside, Summary};
use weir_storage::{CommitError, IoError, ReadError};

use crate::queue::{ClaimsError, QueueError};

/// The form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// One reading or claim a line, as JSON
    Ndjson,
    /// Segment files as the queue has them, with the descriptions
    Segments,
}

/// What is exported.
#[derive(Clone, Copy, Debug, Default)]
pub struct Selection {
    /// Only what this device sampled.
    pub device: Option<DeviceId>,
}

impl Selection {
    fn takes(&self, device: DeviceId) -> bool {
        self.device.is_none_or(|wanted| wanted == device)
    }
}

/// How much was moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Totals {
    /// Readings.
    pub readings: u64,
    /// Claims.
    pub claims: u64,
    /// Ends of restarts.
    pub ends: u64,
}

/// Why an export or an import failed.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The queue.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The log of the queue or of an export.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The filesystem.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The claims on what was exported; the export is there, and the queue still has everything.
    #[error("{0}; the export is complete, and the queue still has everything too")]
    Claims(#[from] ClaimsError),
    /// The segments of what was exported could not be removed yet; the agent does it.
    #[error(transparent)]
    Remove(#[from] weir_storage::RemoveError),
    /// A record could not be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// A record that is too large, which no agent wrote.
    #[error(transparent)]
    TooLarge(#[from] weir_storage::RecordTooLarge),
    /// The commit thread is gone.
    #[error("the commit thread ended; run this again")]
    Gone,
    /// The target of an export is there already.
    #[error("{} exists; name a file or directory that does not", .0.display())]
    Exists(PathBuf),
    /// What is imported is not an export.
    #[error("{}: {reason}", path.display())]
    NotAnExport {
        /// What was to be imported.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A line of an export is wrong.
    #[error("line {line}: {reason}; nothing was imported")]
    Line {
        /// From 1.
        line: u64,
        /// Got and expected.
        reason: String,
    },
    /// The queue has no room for it.
    #[error(
        "the import needs {needed} bytes and the queue has room for {room}: raise queue.cap, or let the agent ship first; nothing was imported"
    )]
    NoRoom {
        /// Bytes that it takes, about.
        needed: u64,
        /// Bytes that there are.
        room: u64,
    },
}

/// Counts what a section holds.
fn count(totals: &mut Totals, section: &Section<'_>) {
    match section {
        Section::Readings(run) | Section::SetAside(SetAside { run, .. }) | Section::Summary(Summary { run, .. }) => {
            totals.readings += u64::from(run.count);
        }
        Section::Claim(_) => totals.claims += 1,
        Section::End(_) => totals.ends += 1,
        Section::Position(_) => {}
    }
}

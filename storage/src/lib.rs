//! The durable log of Weir: everything that touches a disk, and nothing that knows what a reading is.
//!
//! What it guarantees:
//! - A commit that returned is on stable storage: one write, one `fdatasync`, directories synced.
//! - A commit that failed left nothing that a reader can see, now or after recovery.
//! - A torn tail is truncated; a damaged middle is skipped, counted and named by file, byte position
//!   and offset gap, and everything after it is still served.
//! - Memory, disk and queues are bounded; a log at its cap refuses before it writes.
//!
//! How data flows, and where to read on:
//!
//! ```text
//! Batch (batch) -> Committer (committer, journal) -> Log (log) -> Segment files (segment, index, sidecar)
//!                                                     |               |
//!                          open: Recovery (recovery, survey)   Scan (scan) -> Segments (segments) -> Reader, Chunk, Record
//!                                                     closed segments: removal, compaction (log::upkeep, compaction)
//! ```
//!
//! Beside logs: a [`StateFile`] is replaced as a whole (cursors, checkpoints), [`keyed`] is looked up by key and can be
//! rebuilt from a log. Files of earlier builds are in `tests/fixtures`, and open for ever.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::{path::Path, sync::Arc};
//! use weir_storage::{Batch, FaultyFs, Log, LogOptions};
//!
//! let disk = FaultyFs::new(1); // or RealFs
//! let (mut log, recovery) = Log::open(Arc::new(disk.clone()), Path::new("/log"), LogOptions::default())?;
//! assert_eq!(recovery.damage_count, 0);
//! let mut batch = Batch::new();
//! batch.push(1_763_726_400_000, Some(b"pump-7"), Some(b"21.5"), &[])?;
//! assert_eq!(log.commit(&mut batch)?, 0..1); // durable from here on
//!
//! let (log, _) = Log::open(Arc::new(disk.power_cut()), Path::new("/log"), LogOptions::default())?;
//! let chunk = log.reader().read(0, 64 * 1024)?;
//! let record = chunk.records().next().ok_or("empty")??;
//! assert_eq!((record.offset, record.value), (0, Some(&b"21.5"[..])));
//! # Ok(())
//! # }
//! ```
//!
//! Files are segments of Kafka record-batch v2 frames ([`frame`]). Filesystem, and with it every
//! fault, is a parameter ([`fs::Fs`]); timestamps are values; nothing here reads a wall clock.

pub mod batch;
pub mod blocks;
pub mod committer;
pub mod compaction;
pub mod durable;
pub mod error;
pub mod frame;
pub mod fs;
#[doc(hidden)]
pub mod fuzz;
mod index;
pub mod journal;
pub mod keyed;
pub mod log;
pub mod reader;
pub mod record;
pub mod recovery;
mod scan;
mod segment;
mod segments;
mod sidecar;
pub mod state;
mod survey;
mod varint;
pub mod verify;
mod window;

pub use batch::{Batch, RecordTooLarge};
pub use blocks::Block;
pub use committer::{Committer, CommitterOptions, Completion, Part, Submission, SubmitError};
pub use compaction::{Compaction, CompactionOptions};
pub use error::{CommitError, IoError, OpenError, ReadError, RemoveError};
pub use fs::{FaultyFs, File, Fs, Mode, RealFs};
pub use journal::{Journal, JournalOptions, Redone};
pub use keyed::{Changes, Keyed, KeyedError};
pub use log::{Exposer, Log, LogOptions};
pub use reader::{Chunk, Reader, SegmentInfo};
pub use record::{Headers, MalformedRecord, Record};
pub use recovery::{Damage, Recovery, RecoveryMode, Truncation, TruncationReason};
pub use state::{Loaded, StateFile};
pub use verify::{Verification, verify};

//! Committed offsets: where each group goes on in each partition.
//!
//! What it guarantees: an offset that was acknowledged is on disk, and neither a kill nor a power cut brings back an
//! earlier one, or one that was deleted; what readers of offsets see was durable before.
//!
//! They are the records of an internal topic, [`TOPIC`], one partition, by key ([`record`]); the last record of a key
//! holds. [`log`] reads it and [`crate::keyed_log`] writes it; [`table`] is what it says, in memory;
//! [`crate::keyed_log::clock`] counts the age of offsets.

pub(crate) mod log;
pub mod record;
pub(crate) mod table;
#[cfg(test)]
pub(crate) mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The topic.
pub const TOPIC: &str = "weir.offsets";
/// The longest text that may stand beside an offset, in bytes.
pub const MAX_METADATA_BYTES: usize = 4096;

/// The directory of its log.
pub(crate) fn dir(data: &Path) -> PathBuf {
    crate::keyed_log::dir(data, TOPIC)
}

/// Where a group goes on in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The next offset that it wants.
    pub offset: u64,
    /// The leader epoch of the last record that it read, as it said; -1 if it said none.
    pub leader_epoch: i32,
    /// What it wrote beside it.
    pub metadata: Arc<str>,
    /// When it was committed, in milliseconds since 1970.
    pub at_ms: i64,
    /// The same on the clock of the groups, in milliseconds ([`crate::keyed_log::clock`]).
    pub clock_ms: i64,
}

/// An offset to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Of which topic.
    pub topic: Arc<str>,
    /// Of which partition.
    pub partition: u32,
    /// The next offset that the group wants.
    pub offset: u64,
    /// The leader epoch of the last record that it read; -1 for none.
    pub leader_epoch: i32,
    /// Up to [`MAX_METADATA_BYTES`] of text.
    pub metadata: Arc<str>,
}

//! Committed offsets: where each group goes on in each partition.
//!
//! What it guarantees: an offset that was acknowledged is on disk, and neither a kill nor a power cut brings back an
//! earlier one, or one that was deleted; what readers of offsets see was durable before.
//!
//! They are the records of an internal topic, [`TOPIC`], one partition, by key ([`record`]); the last record of a key
//! holds. [`log`] writes and reads it, [`table`] is what it says, in memory; [`clock`] counts the age of offsets.

pub mod clock;
pub(crate) mod log;
pub mod record;
pub(crate) mod table;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

/// The topic.
pub const TOPIC: &str = "weir.offsets";
/// The longest text that may stand beside an offset, in bytes.
pub const MAX_METADATA_BYTES: usize = 4096;

pub(crate) use log::dir;

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
    /// The same on the clock of the groups, in milliseconds ([`clock`]).
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

//! The keeper: writes checkpoints, removes what retention lets go, compacts state topics, and looks for damage in old
//! segments.
//!
//! Guarantees:
//! - a segment is removed or compacted only when it is closed, and when the older of the two kept checkpoints, read back
//!   and verified, covers it; so whatever becomes of one file, nothing that was stored is forgotten;
//! - nothing here delays a commit: it works on a thread of its own, from snapshots, and files are removed and compacted
//!   on that thread;
//! - a checkpoint that cannot be written (no room, EIO) is tried again; meanwhile retention waits;
//! - it decides nothing by the wall clock: ages pass by the monotonic clock ([`ages`]).
//!
//! All of it is driven by values of [`Now`], so that tests own time.

mod ages;
mod checkpoints;
mod compaction;
mod retention;
mod scrub;
mod thread;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use weir_storage::{Fs, Reader};

use ages::Ages;
pub(crate) use compaction::Compacted;
pub(crate) use retention::{Removal, Waits};
pub(crate) use scrub::{Finding, Scrub};
pub(crate) use thread::{Door, Keeping, start};

use super::recovery::Base;
use super::stats::Counters;
use crate::topics::layout;
use crate::topics::routes::Routes;
use crate::topics::{Retention, Role, Topics};

/// The time by two clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// Monotonic, since the gateway started.
    pub(crate) elapsed: Duration,
    /// Milliseconds since 1970 by the wall clock; only written down, never decided by.
    pub(crate) wall_ms: i64,
}

/// One log, as the keeper knows it.
pub(crate) struct Kept {
    /// The name of its topic.
    pub(crate) topic: Arc<str>,
    role: Role,
    schema_id: u32,
    retention: Retention,
    /// Whether the last record of each key is kept and earlier ones go.
    compact: bool,
    pub(crate) partition: u32,
    pub(crate) dir: PathBuf,
    pub(crate) reader: Reader,
    /// For each closed segment by base offset, when it was closed, on the axis of [`Ages`].
    closed: BTreeMap<u64, i64>,
    /// The offset of the newest checkpoint.
    written: Option<u64>,
    /// Bytes that the log had on disk then.
    written_bytes: u64,
    /// Where the log begins, perhaps, after a removal that did not return with success.
    removing: Option<u64>,
    /// Its keys are compared below this offset; 0 after each start.
    compacted_below: u64,
}

pub(crate) struct Keeper {
    fs: Arc<dyn Fs>,
    routes: Routes,
    ages: Ages,
    /// See [`super::options::Limits`].
    ranges_per_share: usize,
    counters: Arc<Counters>,
    pub(crate) logs: Vec<Kept>,
}

impl Keeper {
    /// `bases` says, log by log, which checkpoint is the newest.
    pub(crate) fn new(
        (fs, data): (Arc<dyn Fs>, &Path),
        (topics, routes): (&Topics, Routes),
        (now, bases): (Now, &[Base]),
        ranges_per_share: usize,
        counters: Arc<Counters>,
    ) -> Self {
        let ages = Ages::new(now);
        let mut bases = bases.iter();
        let mut logs = Vec::new();
        for log in 0..routes.logs() {
            let (topic, partition) = routes.place(log);
            let definition = routes.definition(topic);
            let reader = topics.get(topic).partitions()[partition].reader().clone();
            let base = bases.next().cloned().unwrap_or_default();
            logs.push(Kept {
                topic: Arc::clone(&definition.name),
                role: definition.role,
                schema_id: definition.schema_id,
                retention: definition.retention,
                compact: definition.compact,
                partition: partition as u32,
                dir: layout::partition_dir(data, &definition.name, partition as u32),
                closed: ages.restore(base.written_ms, base.closed),
                written: base.offset,
                written_bytes: if base.offset.is_some() { reader.allocated() } else { 0 },
                reader,
                removing: None,
                compacted_below: 0,
            });
        }
        Self { fs, routes, ages, ranges_per_share, counters, logs }
    }
}

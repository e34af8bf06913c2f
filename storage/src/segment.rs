//! One file of a log: its name, and what of it is committed.
//!
//! Format: frames back to back. The name is the offset of the first record as 20 digits and `.log`, as
//! Kafka names its segments, so that sorting names sorts offsets.

use crate::fs::File;
use crate::index::Index;
use crate::scan::{Bounds, Scan};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

const SUFFIX: &str = ".log";
const DIGITS: usize = 20;

/// A segment that readers share with the writer. A reader that holds it goes on reading after it was
/// removed.
pub(crate) struct Segment {
    pub(crate) base_offset: u64,
    pub(crate) file: Box<dyn File>,
    extent: RwLock<Extent>,
}

/// The committed part of a segment.
#[derive(Debug, Clone)]
pub(crate) struct Extent {
    pub(crate) bytes: u64,
    pub(crate) next_offset: u64,
    /// Bytes taken on disk.
    pub(crate) allocated: u64,
    pub(crate) index: Index,
}

impl Segment {
    pub(crate) fn new(base_offset: u64, file: Box<dyn File>, extent: Extent) -> Segment {
        Segment { base_offset, file, extent: RwLock::new(extent) }
    }

    pub(crate) fn with_extent<T>(&self, look: impl FnOnce(&Extent) -> T) -> T {
        look(&self.extent.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn change_extent(&self, change: impl FnOnce(&mut Extent)) {
        change(&mut self.extent.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// A walk over the committed frames that starts at or before `offset`.
    pub(crate) fn scan_from_offset(&self, offset: u64) -> Scan<'_> {
        let bounds = self.with_extent(|extent| extent.bounds(self, extent.index.before_offset(offset)));
        Scan::new(&*self.file, bounds)
    }

    /// A walk that starts at or before the first record of `timestamp_ms` or later.
    pub(crate) fn scan_from_time(&self, timestamp_ms: i64) -> Scan<'_> {
        let bounds = self.with_extent(|extent| extent.bounds(self, extent.index.before_time(timestamp_ms)));
        Scan::new(&*self.file, bounds)
    }
}

impl Extent {
    pub(crate) fn empty(base_offset: u64, index_interval_bytes: u64) -> Extent {
        Extent { bytes: 0, next_offset: base_offset, allocated: 0, index: Index::new(index_interval_bytes) }
    }

    fn bounds(&self, segment: &Segment, entry: Option<crate::index::Entry>) -> Bounds {
        Bounds {
            position: entry.map_or(0, |entry| entry.position),
            offset: entry.map_or(segment.base_offset, |entry| entry.offset),
            end_position: self.bytes,
            end_offset: Some(self.next_offset),
        }
    }
}

/// The file name of the segment that starts at `base_offset`.
pub(crate) fn name(base_offset: u64) -> String {
    format!("{base_offset:0DIGITS$}{SUFFIX}")
}

pub(crate) fn path(dir: &Path, base_offset: u64) -> PathBuf {
    dir.join(name(base_offset))
}

/// The base offset that a file name gives, if it is a segment's.
pub(crate) fn base_offset(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let plain = digits.len() == DIGITS && digits.bytes().all(|digit| digit.is_ascii_digit());
    plain.then(|| digits.parse().ok())?
}

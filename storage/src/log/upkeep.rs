//! What is done to the files of closed segments beside the writer: removal, and replacement by compaction.
//!
//! Guarantees: runs on the caller's thread and shares no lock with commits that is held for longer than a look-up, so
//! that a slow device delays nobody but the caller; one change of files at a time; the directory never shows a state
//! that opening would take for damage:
//! - Removal goes from the front, each file durably gone before the next.
//! - A replacement takes the name of the first segment that it replaces, durably, before the others go, the oldest
//!   first. While one of them is still there, its base ends the replacement by the base rule ([`crate::scan`]): no
//!   frame of the replacement reaches over the base of a segment that it replaces.
//! - A sidecar goes durably before the segment that it describes is replaced: it could pass for the new one's.

use super::{LogOptions, Shared};
use crate::durable;
use crate::error::IoError;
use crate::fs::Fs;
use crate::index::Index;
use crate::segment;
use crate::segments::Closed;
use crate::sidecar::{self, Covered, Sidecar};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What changes the closed segments of one log.
pub(crate) struct Upkeep {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) dir: PathBuf,
    pub(crate) options: LogOptions,
    pub(crate) shared: Arc<Shared>,
    /// Held by the compaction that runs. Of the records below this offset it has compared all keys.
    pub(crate) compacted: Mutex<u64>,
    /// Held while files change.
    unsettled: Mutex<Unsettled>,
}

/// What a change that failed left to do before any other file changes.
#[derive(Default)]
struct Unsettled {
    /// Segments that were replaced and are still there, oldest first.
    replaced: VecDeque<Arc<Closed>>,
    /// A replacement has its name, and a power cut might give it back to the segment before.
    is_renamed: bool,
}

/// A segment that compaction wrote: durable, under a temporary name.
pub(crate) struct Replacement {
    pub(crate) path: PathBuf,
    /// Bytes of its frames.
    pub(crate) bytes: u64,
    /// Bytes that it takes on disk.
    pub(crate) allocated: u64,
    pub(crate) index: Index,
}

impl Upkeep {
    pub(crate) fn new(fs: Arc<dyn Fs>, dir: &Path, options: LogOptions, shared: Arc<Shared>) -> Upkeep {
        let (compacted, unsettled) = (Mutex::new(0), Mutex::default());
        Upkeep { fs, dir: dir.to_owned(), options, shared, compacted, unsettled }
    }

    /// Removes the segments that lie wholly below `offset`; the new first offset.
    pub(crate) fn remove_before(&self, offset: u64) -> Result<u64, IoError> {
        let _alone = self.settled()?;
        let segments = &self.shared.segments;
        while let Some(oldest) = segments.take_below(offset) {
            if let Err(error) = self.remove(&oldest) {
                segments.put_back(oldest);
                return Err(error);
            }
            self.shared.count_allocated();
        }
        Ok(segments.start_offset())
    }

    /// Puts the replacement in the place of segments that follow on each other; false, and nothing happens, if one of
    /// them has been removed.
    pub(crate) fn replace(&self, old: &[Arc<Closed>], new: Replacement) -> Result<bool, IoError> {
        let mut unsettled = self.settled()?;
        let (Some(first), Some(last)) = (old.first(), old.last()) else { return Ok(false) };
        if !self.shared.segments.hold(old) {
            return Ok(false);
        }
        let path = segment::path(&self.dir, first.base_offset);
        sidecar::remove_durably(&*self.fs, &path)?;
        self.fs.rename(&new.path, &path).map_err(IoError::on("replace", &path))?;
        unsettled.is_renamed = true;

        let covered = Covered { base_offset: first.base_offset, next_offset: last.next_offset, bytes: new.bytes };
        let beside = sidecar::closing_len(&new.index).next_multiple_of(super::commit::BLOCK_BYTES);
        let merged = Closed {
            base_offset: covered.base_offset,
            next_offset: covered.next_offset,
            bytes: new.bytes,
            allocated: new.allocated + beside,
            latest_ms: new.index.latest_ms().into(),
        };
        // At once, even if the name turns out not to be durable: what readers see is what the next compaction reads.
        self.shared.segments.replace(old, merged);
        self.shared.count_allocated();
        unsettled.replaced.extend(old[1..].iter().cloned());
        let left: u64 = old[1..].iter().map(|segment| segment.allocated).sum();
        self.shared.aside.fetch_add(left, Ordering::Relaxed);
        self.sync_rename(&mut unsettled)?;
        if beside > 0 {
            // Only now: whoever reads it with the old file finds that what it looked up is gone.
            sidecar::write_or_remove(&*self.fs, &path, &Sidecar { covered, index: new.index });
        }
        self.remove_replaced(&mut unsettled)?;
        Ok(true)
    }

    /// Makes durable what an earlier change left: from then on the files are what readers see.
    pub(crate) fn settle(&self) -> Result<(), IoError> {
        self.settled().map(drop)
    }

    fn settled(&self) -> Result<MutexGuard<'_, Unsettled>, IoError> {
        let mut unsettled = self.unsettled.lock().unwrap_or_else(PoisonError::into_inner);
        self.sync_rename(&mut unsettled)?;
        self.remove_replaced(&mut unsettled)?;
        Ok(unsettled)
    }

    fn sync_rename(&self, unsettled: &mut Unsettled) -> Result<(), IoError> {
        if unsettled.is_renamed {
            durable::sync_dir(&*self.fs, &self.dir)?;
            unsettled.is_renamed = false;
        }
        Ok(())
    }

    fn remove_replaced(&self, unsettled: &mut Unsettled) -> Result<(), IoError> {
        while let Some(oldest) = unsettled.replaced.front() {
            self.remove(oldest)?;
            self.shared.aside.fetch_sub(oldest.allocated, Ordering::Relaxed);
            unsettled.replaced.pop_front();
        }
        Ok(())
    }

    /// Durably, so that a power cut never leaves a hole.
    fn remove(&self, segment: &Closed) -> Result<(), IoError> {
        let path = segment::path(&self.dir, segment.base_offset);
        sidecar::remove(&*self.fs, &path);
        durable::remove(&*self.fs, &path)
    }
}

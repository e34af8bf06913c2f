//! One file of a log: its name, and what of it is committed.
//!
//! Format: frames back to back; in the last segment perhaps zeros behind them, room for more. The name is the offset of the
//! first record as 20 digits and `.log`, as Kafka names its segments, so that sorting names sorts offsets.

use crate::fs::File;
use crate::index::{Entry, Index};
use crate::log::commit::BLOCK_BYTES;
use crate::scan::{Bounds, Scan};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

const SUFFIX: &str = ".log";
const DIGITS: usize = 20;
/// Bytes that are sent to the disk at once in the background: what a commit waits for behind them is below a millisecond on a disk
/// that takes a commit in about as long.
const PIECE_BYTES: u64 = 256 * 1024;

/// A segment whose file is open, shared by readers and writer. A reader that holds it goes on reading after it
/// was removed.
pub(crate) struct Segment {
    pub(crate) base_offset: u64,
    pub(crate) file: Box<dyn File>,
    extent: RwLock<Extent>,
    /// A sync failed: whatever was not synced before may be missing on disk, though the cache shows it.
    suspect: AtomicBool,
    /// Held while a sync runs.
    syncing: Mutex<()>,
    /// The epoch of the journal that knows of bytes in it.
    noted_in: AtomicU64,
    /// Bytes below this were written out, or synced.
    written_out: AtomicU64,
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
        Segment {
            base_offset,
            file,
            written_out: AtomicU64::new(extent.bytes),
            extent: RwLock::new(extent),
            suspect: AtomicBool::new(false),
            syncing: Mutex::default(),
            noted_in: AtomicU64::new(0),
        }
    }

    /// Makes what was written durable. A failure is remembered: a later sync that returns without an error proves
    /// nothing about the bytes that this one lost. The system tells an error to one sync of an open file and no other,
    /// so of two at once the second would learn nothing of what the first one lost: they run one after the other.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let _alone = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        let synced = self.file.sync_data();
        if synced.is_err() {
            self.suspect.store(true, Ordering::Release);
        } else if self.is_suspect() {
            return Err(io::Error::other("an earlier sync of it failed, and may have lost these bytes too"));
        }
        synced
    }

    /// Sends what is committed on its way to the disk, a piece after the other, while nobody is in a hurry: a sync of another file
    /// waits for what the disk was given before, and that is a piece then, not a whole segment. Promises nothing. A failure is
    /// remembered as that of a sync.
    pub(crate) fn write_out(&self, turn: &Mutex<()>, hurry: &AtomicBool) {
        let end = self.with_extent(|extent| extent.bytes);
        let mut from = self.written_out.load(Ordering::Relaxed);
        while from < end && !hurry.load(Ordering::Relaxed) && !self.is_suspect() {
            let upto = end.min(from + PIECE_BYTES);
            let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            let _alone = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
            if self.file.write_out(from..upto).is_err() {
                self.suspect.store(true, Ordering::Release);
            }
            from = upto;
        }
        self.written_out.store(end, Ordering::Relaxed);
    }

    /// Whether a sync failed since the segment was last [`Segment::clear`]ed.
    pub(crate) fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Acquire)
    }

    /// All that was acknowledged was written again and synced.
    pub(crate) fn clear(&self) {
        self.suspect.store(false, Ordering::Release);
    }

    /// Notes that the journal holds bytes of it in this epoch; whether that was noted before.
    pub(crate) fn was_noted_in(&self, epoch: u64) -> bool {
        self.noted_in.swap(epoch, Ordering::Relaxed) == epoch
    }

    pub(crate) fn with_extent<T>(&self, look: impl FnOnce(&Extent) -> T) -> T {
        look(&self.extent.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn change_extent(&self, change: impl FnOnce(&mut Extent)) {
        change(&mut self.extent.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// A walk over the committed frames that starts at or before `offset`.
    pub(crate) fn scan_from_offset(&self, offset: u64) -> io::Result<Scan<'_>> {
        self.scan_from(self.with_extent(|extent| extent.index.before_offset(offset)))
    }

    /// A walk that starts at or before the first record of `timestamp_ms` or later.
    pub(crate) fn scan_from_time(&self, timestamp_ms: i64) -> io::Result<Scan<'_>> {
        self.scan_from(self.with_extent(|extent| extent.index.before_time(timestamp_ms)))
    }

    /// From an entry of the index, or from the start. An entry is believed only if the frame there has its
    /// offset: an index that was written down for other frames would renumber these.
    fn scan_from(&self, entry: Option<Entry>) -> io::Result<Scan<'_>> {
        let start = Bounds { position: 0, offset: self.base_offset, ..self.with_extent(Extent::end) };
        if let Some(Entry { position, offset, .. }) = entry {
            let mut scan = Scan::new(&*self.file, Bounds { position, offset, ..start });
            if scan.starts_as_expected()? {
                return Ok(scan);
            }
        }
        Ok(Scan::new(&*self.file, start))
    }
}

impl Extent {
    pub(crate) fn empty(base_offset: u64, index_interval_bytes: u64) -> Extent {
        Extent { bytes: 0, next_offset: base_offset, allocated: 0, index: Index::new(index_interval_bytes) }
    }

    /// Bytes on disk that were taken ahead ([`crate::log`]), beyond the block of the last byte.
    pub(crate) fn room(&self) -> u64 {
        self.allocated.saturating_sub(self.bytes.next_multiple_of(BLOCK_BYTES))
    }

    /// An empty walk at the end.
    fn end(&self) -> Bounds {
        Bounds {
            position: self.bytes,
            offset: self.next_offset,
            end_position: self.bytes,
            end_offset: Some(self.next_offset),
        }
    }
}

/// The file name of the segment that starts at `base_offset`.
pub(crate) fn name(base_offset: u64) -> String {
    format!("{base_offset:0DIGITS$}{SUFFIX}")
}

/// The file name in a path that [`path`] made.
pub(crate) fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{Fault, FaultyFs, Fs, Mode};

    /// The system tells an error once: whoever writes out may be the only one to hear it.
    #[test]
    fn what_could_not_be_written_out_is_never_taken_for_synced() {
        let fs = FaultyFs::new(1);
        let bytes = vec![7; 3 * PIECE_BYTES as usize];
        let written = |name: &str| {
            let file = fs.open(Path::new(name), Mode::CreateNew).unwrap();
            let segment = Segment::new(0, file, Extent::empty(0, 4096));
            segment.file.write_at(&bytes, 0).unwrap();
            segment.change_extent(|extent| extent.bytes = bytes.len() as u64);
            segment
        };
        let (turn, hurry) = (Mutex::default(), AtomicBool::new(false));
        let (good, bad) = (written("/good"), written("/bad"));
        good.write_out(&turn, &hurry);
        good.sync().unwrap();
        fs.fail_once(Fault::Sync);
        bad.write_out(&turn, &hurry);
        assert!(bad.is_suspect() && bad.sync().is_err(), "the sync itself has nothing to complain of");
    }
}

//! The log: one writer, any number of readers, one directory.
//!
//! Guarantees: offsets are dense and in the order of commits ([`commit`] says what a commit is); segments go only
//! from the front, oldest first, each removal durable before the next.
//!
//! Files: `lock`, one `<base offset>.log` per segment, beside larger closed ones an `<base offset>.index`
//! ([`crate::sidecar`]), perhaps a harmless `segment.tmp`. Descriptors: the lock, the last segment, and a
//! few closed ones that are being read ([`crate::segments`]).

pub(crate) mod commit;
mod room;
pub(crate) mod upkeep;

use crate::compaction::{self, Compaction, CompactionOptions};
use crate::durable;
use crate::error::{IoError, OpenError};
use crate::fs::{File, Fs, Mode};
use crate::reader::Reader;
use crate::recovery::{self, Recovered, Recovery, RecoveryMode};
use crate::segment::Segment;
use crate::segments::Segments;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use upkeep::Upkeep;

const LOCK_NAME: &str = "lock";
/// A log with a cap has at least this many segments at its cap: only whole segments can be removed.
const SEGMENTS_PER_CAP: u64 = 8;

/// How a log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogOptions {
    /// A segment that has reached this size is closed; at most an eighth of the cap is used.
    pub segment_bytes: u64,
    /// The most bytes that segments may take on disk; `None` leaves it to the device.
    pub cap_bytes: Option<u64>,
    /// Zeros that a small commit writes ahead for those to come, in bytes, so that these cost the filesystem less; 0 is
    /// none. It counts as taken; at most a few parts in a hundred of the cap make sense.
    pub room_bytes: u64,
    /// Bytes between two entries of the index.
    pub index_interval_bytes: u64,
    /// Whether a commit is exposed to readers at once, or only by [`Log::expose`] or [`Exposer`].
    pub expose_on_commit: bool,
    /// How much of the log opening reads.
    pub recovery: RecoveryMode,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions {
            segment_bytes: 64 * 1024 * 1024,
            cap_bytes: None,
            room_bytes: 0,
            index_interval_bytes: 64 * 1024,
            expose_on_commit: true,
            recovery: RecoveryMode::Full,
        }
    }
}

impl LogOptions {
    /// The size in bytes at which a segment is closed.
    pub(crate) fn segment_limit(&self) -> u64 {
        let most = self.cap_bytes.map_or(u64::MAX, |cap| (cap / SEGMENTS_PER_CAP).max(commit::BLOCK_BYTES));
        self.segment_bytes.min(most)
    }
}

/// The writer of a log.
pub struct Log {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    options: LogOptions,
    shared: Arc<Shared>,
    upkeep: Arc<Upkeep>,
    /// The segment that takes the next commit; none after a failure.
    active: Option<Arc<Segment>>,
    /// A commit failed and cutting it off failed too: until the next segment is made, a restart would find it.
    in_doubt: bool,
    next_offset: u64,
    /// Where the room ahead ends in the segment that takes the next commit.
    room_upto: u64,
    /// The segment begun since [`Log::take_rolled`] was asked last.
    rolled: Option<u64>,
    /// Frames of a group of several batches, joined for one write.
    group: Vec<u8>,
    /// Held for as long as the log is open.
    _lock: Box<dyn File>,
}

/// What readers see of a log.
pub(crate) struct Shared {
    pub(crate) segments: Segments,
    pub(crate) dir: PathBuf,
    exposed: AtomicU64,
    allocated: AtomicU64,
    /// The same without the room ahead.
    filled: AtomicU64,
    /// Held while these are counted.
    counting: Mutex<()>,
    /// Bytes on disk of files beside the segments: what compaction writes, and what it has replaced.
    pub(crate) aside: AtomicU64,
}

/// Exposes committed offsets while a [`crate::Committer`] owns the log.
#[derive(Clone)]
pub struct Exposer(Arc<Shared>);

impl Log {
    /// Opens the log in `dir`, or starts one there, and says what it found. What it found is exposed.
    ///
    /// Opening an existing log allocates nothing, so a full disk still opens.
    ///
    /// # Errors
    /// [`OpenError::Locked`] when another process writes it; [`OpenError::Io`] when the filesystem
    /// refuses. Damage is not an error: see [`Recovery`].
    pub fn open(fs: Arc<dyn Fs>, dir: &Path, options: LogOptions) -> Result<(Log, Recovery), OpenError> {
        durable::create_dir_all(&*fs, dir)?;
        let lock = lock(&*fs, dir)?;
        let interval = options.index_interval_bytes;
        let Recovered { closed, last, is_appendable, recovery } =
            recovery::recover(&*fs, dir, options.recovery, interval)?;
        let segments = Segments::new(Arc::clone(&fs), dir, interval, closed, last);
        let shared = Arc::new(Shared::new(dir, segments));
        let active = shared.segments.last().filter(|_| is_appendable);
        let next_offset = shared.exposed();
        let group = Vec::new();
        let dir = dir.to_owned();
        let upkeep = Arc::new(Upkeep::new(Arc::clone(&fs), &dir, options, Arc::clone(&shared)));
        Ok((
            Log {
                fs,
                dir,
                options,
                shared,
                upkeep,
                active,
                in_doubt: false,
                next_offset,
                room_upto: 0,
                rolled: None,
                group,
                _lock: lock,
            },
            recovery,
        ))
    }

    /// Lets readers see offsets below `upto` (at most what is committed).
    pub fn expose(&self, upto: u64) {
        self.exposer().expose(upto);
    }

    /// Writes down where the log ends, for a clean stop: what is bad below it at the next start is then known to be
    /// damage, and not a torn tail. Best effort, and no commit depends on it.
    pub fn mark_end(&self) {
        if let Some(active) = &self.active {
            self.give_room_back(active);
            self.shared.count_allocated();
        }
        let room = self.options.cap_bytes.map_or(u64::MAX, |cap| cap.saturating_sub(self.allocated()));
        self.shared.segments.mark_end(room / commit::BLOCK_BYTES * commit::BLOCK_BYTES);
    }

    /// The base offset of the segment begun since the last call, if one was: every record below it is in closed
    /// segments.
    pub fn take_rolled(&mut self) -> Option<u64> {
        self.rolled.take()
    }

    /// A handle to expose offsets with while a [`crate::Committer`] owns the log.
    pub fn exposer(&self) -> Exposer {
        Exposer(Arc::clone(&self.shared))
    }

    /// A reader, cheap to clone, that works beside the writer.
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.shared))
    }

    /// The directory that it is in.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The first offset in the log.
    pub fn start_offset(&self) -> u64 {
        self.reader().start_offset()
    }

    /// The offset that the next record gets.
    pub fn next_offset(&self) -> u64 {
        self.next_offset
    }

    /// Bytes that the segments take on disk.
    pub fn allocated(&self) -> u64 {
        self.shared.allocated()
    }

    /// Removes the segments that lie wholly below `offset`; the segment being written stays. Readers that
    /// hold a removed one finish. Returns the new first offset.
    ///
    /// # Errors
    /// [`IoError`]; what was removed so far is gone, the rest is still served.
    pub fn remove_before(&mut self, offset: u64) -> Result<u64, IoError> {
        self.upkeep.remove_before(offset)
    }

    /// Keeps of the records below an offset the last one of each key: see [`compaction`]. A log whose commits may be
    /// in a [`crate::Journal`] is compacted by its [`crate::Committer`].
    ///
    /// # Errors
    /// [`IoError`]; what was compacted so far stays so, nothing is lost.
    pub fn compact(&self, options: &CompactionOptions, stop: &AtomicBool) -> Result<Compaction, IoError> {
        compaction::compact(&self.upkeep, options, stop, &mut || Ok(()))
    }

    /// What is done to closed segments beside the writer.
    pub(crate) fn upkeep(&self) -> Arc<Upkeep> {
        Arc::clone(&self.upkeep)
    }
}

impl Exposer {
    /// Lets readers see offsets below `upto` (at most what is committed).
    pub fn expose(&self, upto: u64) {
        let committed = self.0.segments.last().map_or(0, |last| last.with_extent(|extent| extent.next_offset));
        self.0.exposed.fetch_max(upto.min(committed), Ordering::Release);
    }
}

impl Shared {
    /// All that is in the segments is exposed.
    pub(crate) fn new(dir: &Path, segments: Segments) -> Shared {
        let next_offset = segments.last().map_or(0, |last| last.with_extent(|extent| extent.next_offset));
        let shared = Shared {
            segments,
            dir: dir.to_owned(),
            exposed: AtomicU64::new(next_offset),
            allocated: AtomicU64::new(0),
            filled: AtomicU64::new(0),
            counting: Mutex::default(),
            aside: AtomicU64::new(0),
        };
        shared.count_allocated();
        shared
    }

    pub(crate) fn exposed(&self) -> u64 {
        self.exposed.load(Ordering::Acquire)
    }

    pub(crate) fn allocated(&self) -> u64 {
        self.allocated.load(Ordering::Relaxed) + self.aside.load(Ordering::Relaxed)
    }

    pub(crate) fn filled(&self) -> u64 {
        self.filled.load(Ordering::Relaxed) + self.aside.load(Ordering::Relaxed)
    }

    /// Counts the segments again, after one changed.
    pub(crate) fn count_allocated(&self) {
        let _alone = self.counting.lock().unwrap_or_else(PoisonError::into_inner);
        let (allocated, room) = self.segments.allocated();
        self.allocated.store(allocated, Ordering::Relaxed);
        self.filled.store(allocated.saturating_sub(room), Ordering::Relaxed);
    }
}

fn lock(fs: &dyn Fs, dir: &Path) -> Result<Box<dyn File>, OpenError> {
    let path = dir.join(LOCK_NAME);
    let file = fs.open(&path, Mode::Create).map_err(IoError::on("create", &path))?;
    if file.try_lock().map_err(IoError::on("lock", &path))? { Ok(file) } else { Err(OpenError::Locked(dir.to_owned())) }
}

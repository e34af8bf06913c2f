//! The log: one writer, any number of readers, one directory.
//!
//! Guarantees: offsets are dense and in the order of commits; [`Log::commit`] returns offsets only after one
//! write and one `fdatasync`; a commit that failed is invisible for ever; nothing is written at the cap;
//! segments go only from the front, oldest first, each removal durable before the next.
//!
//! Failure: after a failed write or sync the page cache cannot be trusted, so the segment is cut to its
//! last synced byte and never written again; the next commit opens a new segment whose base is the next
//! offset. Whatever the cut left behind starts at or above that base and recovery discards it.
//!
//! Files: `lock`, one `<base offset>.log` per segment, beside larger closed ones an `<base offset>.index`
//! ([`crate::sidecar`]), perhaps a harmless `segment.tmp`. Descriptors: the lock, the last segment, and a
//! few closed ones that are being read ([`crate::segments`]).

use crate::batch::Batch;
use crate::durable;
use crate::error::{CommitError, IoError, OpenError};
use crate::frame::{HEADER_BYTES, Header};
use crate::fs::{File, Fs, Mode};
use crate::reader::Reader;
use crate::recovery::{self, Recovered, Recovery, RecoveryMode};
use crate::segment::{self, Extent, Segment};
use crate::segments::Segments;
use crate::sidecar;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const LOCK_NAME: &str = "lock";
/// A segment before it has its name; harmless if a crash leaves it.
const TEMPORARY_NAME: &str = "segment.tmp";
/// Filesystems allocate in blocks of this size.
const BLOCK_BYTES: u64 = 4096;
/// A log with a cap has at least this many segments at its cap: only whole segments can be removed.
const SEGMENTS_PER_CAP: u64 = 8;

/// How a log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogOptions {
    /// A segment that has reached this size is closed; at most an eighth of the cap is used.
    pub segment_bytes: u64,
    /// The most bytes that segments may take on disk; `None` leaves it to the device.
    pub cap_bytes: Option<u64>,
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
            index_interval_bytes: 64 * 1024,
            expose_on_commit: true,
            recovery: RecoveryMode::Full,
        }
    }
}

/// The writer of a log.
pub struct Log {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    options: LogOptions,
    shared: Arc<Shared>,
    /// The segment that takes the next commit; none after a failure.
    active: Option<Arc<Segment>>,
    /// A commit failed and cutting it off failed too: until the next segment is made, a restart would find it.
    in_doubt: bool,
    next_offset: u64,
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
        Ok((
            Log { fs, dir, options, shared, active, in_doubt: false, next_offset, rolled: None, group, _lock: lock },
            recovery,
        ))
    }

    /// Writes the batch and makes it durable; the offsets its records got. The batch is kept as it is.
    ///
    /// # Errors
    /// [`CommitError`]; nothing of the batch is in the log.
    pub fn commit(&mut self, batch: &mut Batch) -> Result<Range<u64>, CommitError> {
        self.commit_group(&mut [batch])
    }

    /// Commits several batches with one write and one sync. They get offsets in the order given, so each
    /// one's range follows from [`Batch::record_count`].
    ///
    /// # Errors
    /// [`CommitError`]; nothing of the group is in the log.
    pub fn commit_group(&mut self, batches: &mut [&mut Batch]) -> Result<Range<u64>, CommitError> {
        let bytes: u64 = batches.iter().map(|batch| batch.byte_len() as u64).sum();
        let start = self.next_offset;
        if bytes == 0 {
            return Ok(start..start);
        }
        self.check_room(bytes)?;
        let segment = self.segment_for(bytes)?;
        let position = segment.with_extent(|extent| extent.bytes);
        let end = if let [batch] = batches {
            self.store(&segment, position, batch.place(start, false))?
        } else {
            let mut group = std::mem::take(&mut self.group);
            join(batches, start, &mut group);
            let stored = self.store(&segment, position, &group);
            group.clear();
            self.group = group;
            stored?
        };
        Ok(start..end)
    }

    /// Makes sure that a commit which failed stays void after a restart. It is, unless cutting it off failed
    /// too; then this makes the next segment, whose base voids it. Whoever decides something on the ground
    /// that the commit failed, such as writing to another log, calls this first.
    ///
    /// # Errors
    /// [`CommitError`]; it is still in doubt.
    pub fn settle(&mut self) -> Result<(), CommitError> {
        if self.in_doubt {
            self.segment_for(0)?;
        }
        Ok(())
    }

    /// Lets readers see offsets below `upto` (at most what is committed).
    pub fn expose(&self, upto: u64) {
        self.exposer().expose(upto);
    }

    /// Writes down where the log ends, for a clean stop: what is bad below it at the next start is then known to be
    /// damage, and not a torn tail. Best effort, and no commit depends on it.
    pub fn mark_end(&self) {
        let room = self.options.cap_bytes.map_or(u64::MAX, |cap| cap.saturating_sub(self.allocated()));
        self.shared.segments.mark_end(room / BLOCK_BYTES * BLOCK_BYTES);
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

    /// What a commit of `bytes` that does not fit is answered.
    pub(crate) fn refusal(&self, bytes: u64) -> CommitError {
        let cap = self.options.cap_bytes.unwrap_or(u64::MAX);
        CommitError::Full { needed: bytes, allocated: self.allocated(), cap }
    }

    /// Whether a commit of `bytes` ([`Batch::byte_len`]) stays within the cap.
    pub fn has_room(&self, bytes: u64) -> bool {
        self.check_room(bytes).is_ok()
    }

    /// Removes the segments that lie wholly below `offset`; the segment being written stays. Readers that
    /// hold a removed one finish. Returns the new first offset.
    ///
    /// # Errors
    /// [`IoError`]; what was removed so far is gone, the rest is still served.
    pub fn remove_before(&mut self, offset: u64) -> Result<u64, IoError> {
        while let Some(oldest) = self.shared.segments.take_below(offset) {
            let path = segment::path(&self.dir, oldest.base_offset);
            sidecar::remove(&*self.fs, &path);
            // Durable one by one from the front, so that a power cut never leaves a hole.
            if let Err(error) = durable::remove(&*self.fs, &path) {
                self.shared.segments.put_back(oldest);
                return Err(error);
            }
            self.shared.count_allocated();
        }
        Ok(self.start_offset())
    }

    fn check_room(&self, bytes: u64) -> Result<(), CommitError> {
        let Some(cap) = self.options.cap_bytes else { return Ok(()) };
        let allocated = self.allocated();
        // What the last block of the active segment still holds costs nothing.
        let slack = match &self.active {
            Some(active) if !self.must_roll(bytes) => {
                active.with_extent(|extent| extent.allocated.saturating_sub(extent.bytes))
            }
            _ => 0,
        };
        let closing = if self.must_roll(bytes) { self.shared.segments.closing_bytes() } else { 0 };
        let needed = bytes.saturating_sub(slack).next_multiple_of(BLOCK_BYTES) + closing.next_multiple_of(BLOCK_BYTES);
        if allocated.saturating_add(needed) > cap {
            return Err(CommitError::Full { needed, allocated, cap });
        }
        Ok(())
    }

    fn must_roll(&self, bytes: u64) -> bool {
        let most = self.options.cap_bytes.map_or(u64::MAX, |cap| (cap / SEGMENTS_PER_CAP).max(BLOCK_BYTES));
        let limit = self.options.segment_bytes.min(most);
        self.active.as_ref().is_none_or(|active| {
            let used = active.with_extent(|extent| extent.bytes);
            used > 0 && used.saturating_add(bytes) > limit
        })
    }

    /// The segment that takes the next `bytes`.
    fn segment_for(&mut self, bytes: u64) -> Result<Arc<Segment>, IoError> {
        if let Some(active) = &self.active
            && !self.must_roll(bytes)
        {
            return Ok(Arc::clone(active));
        }
        self.active = None;
        let base_offset = self.next_offset;
        // A segment of this name may be there, with commits that failed. It is replaced, not removed: it may be
        // the only one, and then its name alone says where the log goes on.
        let path = segment::path(&self.dir, base_offset);
        let file = durable::create(&*self.fs, &path, &self.dir.join(TEMPORARY_NAME))?;
        let extent = Extent::empty(base_offset, self.options.index_interval_bytes);
        let segment = Arc::new(Segment::new(base_offset, file, extent));
        self.shared.segments.begin(Arc::clone(&segment));
        self.shared.count_allocated();
        self.active = Some(Arc::clone(&segment));
        self.in_doubt = false;
        self.rolled = Some(base_offset);
        Ok(segment)
    }

    /// Writes placed frames at the end of the segment and syncs; the offset behind them.
    fn store(&mut self, segment: &Arc<Segment>, position: u64, frames: &[u8]) -> Result<u64, CommitError> {
        let path = || segment::path(&self.dir, segment.base_offset);
        let written = segment.file.write_at(frames, position).map_err(|e| IoError::on("write", &path())(e));
        let synced = written.and_then(|()| segment.file.sync_data().map_err(|e| IoError::on("sync", &path())(e)));
        if let Err(error) = synced {
            self.abandon(segment, position);
            return Err(error.into());
        }
        // Only the accounting depends on this answer: without it, count what was written.
        let end_position = position + frames.len() as u64;
        let allocated = segment.file.allocated().unwrap_or(end_position.next_multiple_of(BLOCK_BYTES));
        let mut next_offset = self.next_offset;
        segment.change_extent(|extent| {
            extent.allocated = allocated;
            extent.bytes = end_position;
            next_offset = note_frames(extent, position, frames);
        });
        self.shared.count_allocated();
        self.next_offset = next_offset;
        if self.options.expose_on_commit {
            self.expose(next_offset);
        }
        Ok(next_offset)
    }

    /// Cuts a segment whose sync failed to what was synced before, and leaves it for ever. If the cut
    /// fails too, the base of the next segment makes the rest void.
    fn abandon(&mut self, segment: &Segment, synced_bytes: u64) {
        self.in_doubt = segment.file.set_len(synced_bytes).and_then(|()| segment.file.sync_data()).is_err();
        if let Ok(allocated) = segment.file.allocated() {
            segment.change_extent(|extent| extent.allocated = allocated);
        }
        self.shared.count_allocated();
        self.active = None;
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
        };
        shared.count_allocated();
        shared
    }

    pub(crate) fn exposed(&self) -> u64 {
        self.exposed.load(Ordering::Acquire)
    }

    pub(crate) fn allocated(&self) -> u64 {
        self.allocated.load(Ordering::Relaxed)
    }

    fn count_allocated(&self) {
        self.allocated.store(self.segments.allocated(), Ordering::Relaxed);
    }
}

fn lock(fs: &dyn Fs, dir: &Path) -> Result<Box<dyn File>, OpenError> {
    let path = dir.join(LOCK_NAME);
    let file = fs.open(&path, Mode::Create).map_err(IoError::on("create", &path))?;
    if file.try_lock().map_err(IoError::on("lock", &path))? { Ok(file) } else { Err(OpenError::Locked(dir.to_owned())) }
}

/// Places the batches one behind the other and joins their frames.
fn join(batches: &mut [&mut Batch], start: u64, group: &mut Vec<u8>) {
    let mut next_offset = start;
    for batch in batches {
        group.extend_from_slice(batch.place(next_offset, !group.is_empty()));
        next_offset += batch.record_count();
    }
}

/// Takes committed frames into the extent; the offset behind them.
fn note_frames(extent: &mut Extent, mut position: u64, mut frames: &[u8]) -> u64 {
    while frames.len() >= HEADER_BYTES {
        let Ok(header) = Header::parse(frames) else { break };
        let offsets = header.base_offset..header.base_offset + u64::from(header.record_count);
        extent.index.note(position, &offsets, header.max_timestamp_ms);
        extent.next_offset = offsets.end;
        position += header.frame_bytes as u64;
        frames = &frames[header.frame_bytes..];
    }
    extent.next_offset
}

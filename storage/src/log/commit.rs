//! Commits: from batches to bytes on disk, and what becomes of them when that fails.
//!
//! Guarantees: [`Log::commit`] returns offsets only after one write and one `fdatasync`; a commit that failed is
//! invisible for ever; nothing is written at the cap.
//!
//! A commit has three steps, so that a committer can make those of many logs durable together: it is staged
//! (placed and written behind what is committed), made durable by whoever staged it, and then confirmed, which is
//! what gives it to readers, or withdrawn.
//!
//! Failure: after a failed write or sync the page cache cannot be trusted, so the segment is cut to its last
//! committed byte and never written again; the next commit opens a new segment whose base is the next offset.
//! Whatever the cut left behind starts at or above that base and recovery discards it.

use super::Log;
use crate::batch::Batch;
use crate::durable;
use crate::error::{CommitError, IoError};
use crate::frame::{HEADER_BYTES, Header};
use crate::segment::{self, Extent, Segment};
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// A segment before it has its name; harmless if a crash leaves it.
const TEMPORARY_NAME: &str = "segment.tmp";
/// Filesystems allocate in blocks of this size.
pub(crate) const BLOCK_BYTES: u64 = 4096;

/// Frames written behind the committed part of a segment and not durable yet.
pub(crate) struct Staged {
    pub(crate) segment: Arc<Segment>,
    pub(crate) position: u64,
}

impl Log {
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
        let Some(staged) = self.stage(batches)? else { return Ok(self.next_offset..self.next_offset) };
        match staged.segment.sync() {
            Ok(()) => Ok(self.confirm(staged, batches)),
            Err(error) => {
                let error = self.path_error("sync", &staged, error);
                self.withdraw(staged);
                Err(error)
            }
        }
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

    /// Begins a segment, so that everything committed is in segments that are closed: only they can be removed. Does
    /// nothing if there is no record behind the last closed one.
    ///
    /// # Errors
    /// [`IoError`]; the segment that is there goes on being written.
    pub fn roll(&mut self) -> Result<(), IoError> {
        let is_written = |active: &Arc<Segment>| active.with_extent(|extent| extent.bytes) > 0;
        if self.shared.segments.last().as_ref().is_some_and(is_written) {
            self.begin_segment()?;
        }
        Ok(())
    }

    /// Whether a commit of `bytes` ([`Batch::byte_len`]) stays within the cap.
    pub fn has_room(&self, bytes: u64) -> bool {
        self.check_room(bytes).is_ok()
    }

    /// What a commit of `bytes` that does not fit is answered.
    pub(crate) fn refusal(&self, bytes: u64) -> CommitError {
        let cap = self.options.cap_bytes.unwrap_or(u64::MAX);
        CommitError::Full { needed: bytes, allocated: self.allocated(), cap }
    }

    /// Places the batches behind what is committed and writes them; `None` when there is nothing in them.
    ///
    /// # Errors
    /// [`CommitError`]; nothing is staged, and nothing of it is in the log.
    pub(crate) fn stage(&mut self, batches: &mut [&mut Batch]) -> Result<Option<Staged>, CommitError> {
        let bytes: u64 = batches.iter().map(|batch| batch.byte_len() as u64).sum();
        if bytes == 0 {
            return Ok(None);
        }
        self.check_room(bytes)?;
        let segment = self.segment_for(bytes)?;
        let position = segment.with_extent(|extent| extent.bytes);
        let staged = Staged { segment, position };
        let written = if let [batch] = batches {
            staged.segment.file.write_at(batch.place(self.next_offset, false), position)
        } else {
            self.group.clear();
            join(batches, self.next_offset, &mut self.group);
            staged.segment.file.write_at(&self.group, position)
        };
        match written {
            Ok(()) => {
                self.take_room(&staged.segment, bytes, position + bytes);
                Ok(Some(staged))
            }
            Err(error) => {
                let error = self.path_error("write", &staged, error);
                self.withdraw(staged);
                Err(error)
            }
        }
    }

    /// What was staged is durable: it is in the log from here on. The batches are those that were staged.
    pub(crate) fn confirm(&mut self, staged: Staged, batches: &[&mut Batch]) -> Range<u64> {
        let Staged { segment, position } = staged;
        let start = self.next_offset;
        let end_position = position + batches.iter().map(|batch| batch.byte_len() as u64).sum::<u64>();
        // Only the accounting depends on this answer: without it, count what was written.
        let allocated = segment.file.allocated().unwrap_or(end_position.next_multiple_of(BLOCK_BYTES));
        segment.change_extent(|extent| {
            extent.allocated = allocated;
            let mut at = position;
            for batch in batches {
                note_frames(extent, at, batch.bytes());
                at += batch.byte_len() as u64;
            }
            extent.bytes = at;
            self.next_offset = extent.next_offset;
        });
        self.shared.count_allocated();
        if self.options.expose_on_commit {
            self.expose(self.next_offset);
        }
        start..self.next_offset
    }

    /// What was staged did not become durable: its segment is cut to what was committed before, and left for ever.
    /// If the cut fails too, the base of the next segment makes the rest void.
    pub(crate) fn withdraw(&mut self, staged: Staged) {
        let Staged { segment, position } = staged;
        let cut = segment.file.set_len(position).is_ok() && segment.sync().is_ok();
        self.in_doubt = !cut;
        if let Ok(allocated) = segment.file.allocated() {
            segment.change_extent(|extent| extent.allocated = allocated);
        }
        self.shared.count_allocated();
        self.active = None;
    }

    /// Names the file that something staged was being done to.
    pub(crate) fn path_error(&self, action: &'static str, staged: &Staged, error: io::Error) -> CommitError {
        IoError::on(action, &segment::path(&self.dir, staged.segment.base_offset))(error).into()
    }

    fn check_room(&self, bytes: u64) -> Result<(), CommitError> {
        let Some(cap) = self.options.cap_bytes.filter(|_| bytes > 0) else { return Ok(()) };
        let allocated = self.allocated();
        // What the blocks of the active segment still hold costs nothing, and its room comes back when it is closed.
        let (slack, given_back) = match &self.active {
            Some(active) if !self.must_roll(bytes) => {
                (active.with_extent(|extent| extent.allocated.saturating_sub(extent.bytes)), 0)
            }
            Some(active) => (0, active.with_extent(Extent::room)),
            None => (0, 0),
        };
        let allocated = allocated.saturating_sub(given_back);
        let closing = if self.must_roll(bytes) { self.shared.segments.closing_bytes() } else { 0 };
        let needed = bytes.saturating_sub(slack).next_multiple_of(BLOCK_BYTES) + closing.next_multiple_of(BLOCK_BYTES);
        if allocated.saturating_add(needed) > cap {
            return Err(CommitError::Full { needed, allocated, cap });
        }
        Ok(())
    }

    fn must_roll(&self, bytes: u64) -> bool {
        let limit = self.options.segment_limit();
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
        self.begin_segment()
    }

    fn begin_segment(&mut self) -> Result<Arc<Segment>, IoError> {
        let base_offset = self.next_offset;
        // A segment of this name may be there, with commits that failed. It is replaced, not removed: it may be
        // the only one, and then its name alone says where the log goes on.
        let path = segment::path(&self.dir, base_offset);
        let file = durable::create(&*self.fs, &path, &self.dir.join(TEMPORARY_NAME))?;
        if let Some(last) = self.shared.segments.last() {
            self.give_room_back(&last);
        }
        self.room_upto = 0;
        let extent = Extent::empty(base_offset, self.options.index_interval_bytes);
        let segment = Arc::new(Segment::new(base_offset, file, extent));
        self.shared.segments.begin(Arc::clone(&segment));
        self.shared.count_allocated();
        self.active = Some(Arc::clone(&segment));
        self.in_doubt = false;
        self.rolled = Some(base_offset);
        Ok(segment)
    }
}

/// Places the batches one behind the other and joins their frames.
fn join(batches: &mut [&mut Batch], start: u64, group: &mut Vec<u8>) {
    let mut next_offset = start;
    for batch in batches {
        group.extend_from_slice(batch.place(next_offset, !group.is_empty()));
        next_offset += batch.record_count();
    }
}

/// Takes committed frames into the extent.
fn note_frames(extent: &mut Extent, mut position: u64, mut frames: &[u8]) {
    while frames.len() >= HEADER_BYTES {
        let Ok(header) = Header::parse(frames) else { break };
        let offsets = header.base_offset..header.base_offset + u64::from(header.offset_count);
        extent.index.note(position, &offsets, header.max_timestamp_ms);
        extent.next_offset = offsets.end;
        position += header.frame_bytes as u64;
        frames = &frames[header.frame_bytes..];
    }
}

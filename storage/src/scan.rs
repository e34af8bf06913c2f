//! Walks the frames of one segment and tells good ones, damage, a torn tail and leftovers apart.
//!
//! Guarantees: streams through a bounded window; never believes a length before the CRC held; every
//! offset between the start and the end of the walk is in exactly one frame or in exactly one gap.
//!
//! The rules (recovery, verify and readers all use this one walk):
//! - Frames of a segment lie back to back, so the frame right behind a good one starts at the next
//!   offset, whatever its base offset field says: that field is outside the CRC and is only repaired.
//! - Behind bytes that are no frame, the walk resynchronises at the next valid frame whose base offset is
//!   plausible: not below the expected one, and, unless the segment was compacted, not further than the bad bytes
//!   could have held.
//!   The bad frame's own length is tried first, so that a payload which contains a frame is stepped over.
//! - Where the end of the segment's offsets is known, bad bytes are damage. Where it is not (the last segment
//!   of a log being opened), they are damage if a later commit follows, because a commit starts only after
//!   the sync of the one before it returned. Else they lie in the last commit, which was interrupted: a torn
//!   tail from there on. So an interrupted commit survives as a prefix, never with a hole.
//! - Zeros up to the end of the file are room that the writer took ahead, and no torn tail.
//! - A tail that the device cannot read is no torn tail: nobody can say what was acknowledged. It is damage, and
//!   the gap is the most that it can have held, so that no offset is given twice.
//! - The base rule: what starts at or above the end of the segment's offsets was never acknowledged.

use crate::frame::{self, HEADER_BYTES, Header, MIN_RECORD_BYTES};
use crate::fs::File;
use crate::window::Window;
use std::io;
use std::ops::Range;

/// Bytes looked at together where all may be zero.
const ZEROS_BYTES: u64 = 64 * 1024;
/// Bytes of a frame up to the end of its length: base offset and length of a record batch.
const LENGTH_END: u64 = 12;

/// What lies next in the segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// A good frame; its bytes are at [`Scan::frame`].
    Frame(FrameAt),
    /// Bytes that were acknowledged once and cannot be read.
    Damage(DamageAt),
    /// Bytes behind the last good frame that no acknowledgement can cover.
    Leftover(Leftover),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FrameAt {
    pub(crate) position: u64,
    pub(crate) offsets: Range<u64>,
    pub(crate) header: Header,
    /// The fields outside the CRC were wrong and have been restored.
    pub(crate) repaired: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DamageAt {
    pub(crate) position: u64,
    pub(crate) bytes: u64,
    pub(crate) gap: Range<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leftover {
    pub(crate) position: u64,
    pub(crate) bytes: u64,
    /// At or above the next segment's base, instead of torn.
    pub(crate) base_rule: bool,
    /// Zeros alone: room that the writer took ahead ([`crate::log::room`]), and nobody's bytes.
    pub(crate) is_room: bool,
}

impl FrameAt {
    /// The repair of the fields outside the CRC, told as damage without loss.
    pub(crate) fn repair(&self) -> DamageAt {
        let bytes = frame::UNPROTECTED_BYTES as u64;
        DamageAt { position: self.position, bytes, gap: self.offsets.start..self.offsets.start }
    }
}

/// Where a walk starts and ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Position of a frame, and the offset it starts with.
    pub(crate) position: u64,
    pub(crate) offset: u64,
    /// Bytes of the file to look at.
    pub(crate) end_position: u64,
    /// The offset at which the segment ends; unknown for the last segment of a log being opened.
    pub(crate) end_offset: Option<u64>,
}

pub(crate) struct Scan<'a> {
    window: Window<'a>,
    position: u64,
    expected: u64,
    end_offset: Option<u64>,
    frame: (u64, usize),
    /// Whether compaction wrote the segment, once a frame of it was seen.
    is_compacted: Option<bool>,
    finished: bool,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(file: &'a dyn File, bounds: Bounds) -> Scan<'a> {
        Scan {
            window: Window::new(file, bounds.end_position),
            position: bounds.position,
            expected: bounds.offset,
            end_offset: bounds.end_offset,
            frame: (0, 0),
            is_compacted: None,
            finished: false,
        }
    }

    /// Whether the frame at the start of the walk says that it has the offset expected there.
    pub(crate) fn starts_as_expected(&mut self) -> io::Result<bool> {
        let bytes = self.window.get(self.position, HEADER_BYTES)?;
        let header = bytes.and_then(|bytes| Header::parse(bytes).ok());
        Ok(header.is_some_and(|header| header.base_offset == self.expected))
    }

    /// The next thing in the segment; `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Found>> {
        if self.finished {
            return Ok(None);
        }
        let left = self.window.end().saturating_sub(self.position);
        if self.end_offset.is_some_and(|end| self.expected >= end) {
            return self.finish(left, true);
        }
        if left > 0
            && let Some(header) = self.valid_at(self.position)?
            && self.fits(self.expected, &header)
        {
            return self.take(header).map(Some);
        }
        if left > 0
            && let Some((position, base_offset)) = self.resynchronise()?
            && (self.end_offset.is_some() || self.commit_starts_behind(position, base_offset)?)
        {
            return Ok(Some(self.skip_to(position, base_offset)));
        }
        match self.end_offset {
            Some(end_offset) => {
                self.finished = true;
                Ok(Some(self.skip_to(self.window.end().max(self.position), end_offset)))
            }
            None if self.window.is_unreadable_behind(self.position) => {
                self.finished = true;
                let most = left / MIN_RECORD_BYTES as u64;
                Ok(Some(self.skip_to(self.window.end(), self.expected + most)))
            }
            None => self.finish(left, false),
        }
    }

    /// The bytes of the frame returned last, its base offset restored.
    pub(crate) fn frame(&self) -> &[u8] {
        let (position, bytes) = self.frame;
        self.window.loaded(position, bytes).unwrap_or_default()
    }

    /// Where the walk stands: position, and the offset expected there.
    pub(crate) fn place(&self) -> (u64, u64) {
        (self.position, self.expected)
    }

    fn take(&mut self, header: Header) -> io::Result<Found> {
        let (position, base_offset) = (self.position, self.expected);
        let repaired = !header.is_placed_at(base_offset);
        if let Some(frame) = self.window.loaded_mut(position, header.frame_bytes) {
            frame::place(frame, base_offset, false);
        }
        let offsets = base_offset..base_offset + u64::from(header.offset_count);
        self.frame = (position, header.frame_bytes);
        self.is_compacted = Some(header.is_compacted);
        self.position += header.frame_bytes as u64;
        self.expected = offsets.end;
        Ok(Found::Frame(FrameAt { position, offsets, header, repaired }))
    }

    fn skip_to(&mut self, position: u64, offset: u64) -> Found {
        let damage = DamageAt { position: self.position, bytes: position - self.position, gap: self.expected..offset };
        self.position = position;
        self.expected = offset;
        Found::Damage(damage)
    }

    fn finish(&mut self, bytes: u64, base_rule: bool) -> io::Result<Option<Found>> {
        self.finished = true;
        if bytes == 0 {
            return Ok(None);
        }
        // A frame that was interrupted has its length in its first twelve bytes, and no length is zero.
        let is_room = bytes >= LENGTH_END && self.is_zero_from_here()?;
        Ok(Some(Found::Leftover(Leftover { position: self.position, bytes, base_rule, is_room })))
    }

    fn is_zero_from_here(&mut self) -> io::Result<bool> {
        let mut position = self.position;
        while position < self.window.end() {
            let length = (self.window.end() - position).min(ZEROS_BYTES);
            let Some(bytes) = self.window.get(position, length as usize)? else { return Ok(false) };
            if bytes.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            position += length;
        }
        Ok(true)
    }

    /// Position and base offset of the next valid and plausible frame behind the bad bytes here.
    fn resynchronise(&mut self) -> io::Result<Option<(u64, u64)>> {
        if let Some(bytes) = self.window.get(self.position, HEADER_BYTES)?
            && let Ok(header) = Header::parse(bytes)
        {
            let behind = self.position + header.frame_bytes as u64;
            if let Some(base_offset) = self.plausible_at(behind)? {
                return Ok(Some((behind, base_offset)));
            }
        }
        let last = self.window.end().saturating_sub(HEADER_BYTES as u64);
        for position in self.position + 1..=last {
            if let Some(base_offset) = self.plausible_at(position)? {
                return Ok(Some((position, base_offset)));
            }
        }
        Ok(None)
    }

    /// Whether a commit starts at or behind a frame found by resynchronising.
    fn commit_starts_behind(&mut self, position: u64, offset: u64) -> io::Result<bool> {
        let here = (self.position, self.expected);
        (self.position, self.expected) = (position, offset);
        let starts = loop {
            match self.valid_at(self.position)? {
                Some(header) if !header.continues_commit => break true,
                Some(header) => {
                    self.position += header.frame_bytes as u64;
                    self.expected += u64::from(header.offset_count);
                }
                None => match self.resynchronise()? {
                    Some(found) => (self.position, self.expected) = found,
                    None => break false,
                },
            }
        };
        (self.position, self.expected) = here;
        Ok(starts)
    }

    fn plausible_at(&mut self, position: u64) -> io::Result<Option<u64>> {
        let Some(bytes) = self.window.get(position, HEADER_BYTES)? else { return Ok(None) };
        // Cheap tests first: this runs for every byte of a torn tail.
        let Ok(header) = Header::parse(bytes) else { return Ok(None) };
        let base_offset = header.base_offset;
        let most = (position - self.position) / MIN_RECORD_BYTES as u64;
        let most = if self.may_be_sparse(&header) { u64::MAX } else { most };
        if base_offset < self.expected || base_offset - self.expected > most || !self.fits(base_offset, &header) {
            return Ok(None);
        }
        Ok(self.valid_at(position)?.map(|_| base_offset))
    }

    /// Whether the bad bytes may cover more offsets than they can hold records: in a closed segment that was
    /// compacted. Every frame of one is marked, so the frame before the bad bytes says it; without one, the frame
    /// behind them.
    fn may_be_sparse(&self, behind: &Header) -> bool {
        self.end_offset.is_some() && self.is_compacted.unwrap_or(behind.is_compacted)
    }

    fn fits(&self, base_offset: u64, header: &Header) -> bool {
        let offsets = header.offsets_from(base_offset);
        offsets.is_some_and(|offsets| self.end_offset.is_none_or(|limit| offsets.end <= limit))
    }

    fn valid_at(&mut self, position: u64) -> io::Result<Option<Header>> {
        let Some(bytes) = self.window.get(position, HEADER_BYTES)? else { return Ok(None) };
        let Ok(header) = Header::parse(bytes) else { return Ok(None) };
        let Some(bytes) = self.window.get(position, header.frame_bytes)? else { return Ok(None) };
        Ok(header.check_crc(bytes).is_ok().then_some(header))
    }
}

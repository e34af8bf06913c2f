//! Reading whole frames in large blocks, for those who pass them on as they are.
//!
//! Guarantees: what [`crate::reader`] guarantees, and that no record is looked at: bytes go from the file into the
//! caller's buffer with one read, frames are walked there, each CRC is checked, and base offset and leader epoch are
//! restored in place. Where a frame is not what it should be, [`Reader::read`] with its search for the next good one takes
//! over. The segment that is being read stays readable for as long as the read takes, whatever becomes of its name.

use crate::error::ReadError;
use crate::frame::{self, FrameError, HEADER_BYTES, Header, MAX_FRAME_BYTES};
use crate::reader::Reader;
use crate::recovery::Damage;
use crate::segment::Segment;
use crate::segments::Lookup;
use std::io;
use std::ops::Range;

/// What is read beyond what was asked for when the index points before the offset, in bytes: about the way from one
/// entry of the index to the next.
const SLACK_BYTES: usize = 64 * 1024;

/// What one read of a block found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Block {
    /// Where in the buffer the frames are, whole and back to back. The first one may start before the offset asked for.
    pub frames: Range<usize>,
    /// Where to go on reading.
    pub next_offset: u64,
    /// Damage that was skipped.
    pub gaps: Vec<Damage>,
}

/// How a walk over the bytes of a buffer ended.
enum Walked {
    /// With these frames, and the offset behind them.
    Frames(Range<usize>, u64),
    /// Before the first frame that is wanted: it begins `skip` bytes further on, with `offset`, and takes `bytes`.
    Further { skip: usize, offset: u64, bytes: usize },
    /// At bytes that are no frame.
    Bad,
}

impl Reader {
    /// Reads frames into `buffer` from the one that holds `from` on, up to `max_bytes` but at least one whole frame, and
    /// of one segment only. The buffer grows if it has to and never shrinks; what lies outside of [`Block::frames`] means
    /// nothing. At the end of the log the block is empty.
    ///
    /// # Errors
    /// As [`Reader::read`]; damage is no error.
    pub fn read_block(&self, from: u64, max_bytes: usize, buffer: &mut Vec<u8>) -> Result<Block, ReadError> {
        let (start, end) = (self.start_offset(), self.end_offset());
        if from < start || from > end {
            return Err(ReadError::OutOfRange { got: from, start, end });
        }
        if from < end
            && let Lookup::Found(segment) = self.find(from)?
        {
            // Bytes that the device cannot read are damage too, which the other way tells from a broken device.
            if let Ok(Some(block)) = fill(&segment, from..end, max_bytes, buffer) {
                return Ok(block);
            }
        }
        let chunk = self.read(from, max_bytes)?;
        let bytes = chunk.bytes.len();
        if buffer.len() < bytes {
            buffer.resize(bytes, 0);
        }
        buffer[..bytes].copy_from_slice(&chunk.bytes);
        Ok(Block { frames: 0..bytes, next_offset: chunk.next_offset, gaps: chunk.gaps })
    }
}

/// Reads frames that hold `offsets`; `None` where there is anything but good frames.
fn fill(segment: &Segment, offsets: Range<u64>, max_bytes: usize, buffer: &mut Vec<u8>) -> io::Result<Option<Block>> {
    let (entry, bytes, next_offset) =
        segment.with_extent(|extent| (extent.index.before_offset(offsets.start), extent.bytes, extent.next_offset));
    let (mut position, mut expected) = entry.map_or((0, segment.base_offset), |entry| (entry.position, entry.offset));
    let mut wanted = max_bytes.max(HEADER_BYTES) + if expected == offsets.start { 0 } else { SLACK_BYTES };
    loop {
        let there = usize::try_from(bytes.saturating_sub(position)).unwrap_or(usize::MAX).min(wanted);
        if buffer.len() < there {
            buffer.resize(there, 0);
        }
        let loaded = &mut buffer[..there];
        read_exactly(segment, loaded, position)?;
        match walk(loaded, expected, &offsets, max_bytes, next_offset) {
            Walked::Frames(frames, next_offset) => return Ok(Some(Block { frames, next_offset, gaps: Vec::new() })),
            // Goes on only if it gets further: the file has more, and this read takes more of it.
            Walked::Further { skip, offset, bytes: frame }
                if position + (skip + frame) as u64 <= bytes && (skip > 0 || frame > there) =>
            {
                position += skip as u64;
                expected = offset;
                wanted = max_bytes.max(frame);
            }
            Walked::Further { .. } | Walked::Bad => return Ok(None),
        }
    }
}

fn read_exactly(segment: &Segment, buffer: &mut [u8], position: u64) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        match segment.file.read_at(&mut buffer[filled..], position + filled as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => filled += read,
        }
    }
    Ok(())
}

/// Walks the frames at the front of `bytes`, of which the first starts with `expected`, and restores those that hold
/// `offsets`. No frame reaches past `limit`, where the segment ends.
fn walk(bytes: &mut [u8], mut expected: u64, offsets: &Range<u64>, max_bytes: usize, limit: u64) -> Walked {
    let mut at = 0;
    let mut first = None;
    while expected < offsets.end {
        let rest = &mut bytes[at..];
        let header = match Header::check(rest) {
            Ok(header) => header,
            Err(FrameError::Short { expected: frame, .. }) => match first {
                None if frame <= MAX_FRAME_BYTES => {
                    return Walked::Further { skip: at, offset: expected, bytes: frame };
                }
                None => return Walked::Bad,
                Some(_) => break,
            },
            Err(_) if first.is_none() => return Walked::Bad,
            Err(_) => break,
        };
        let next = expected.saturating_add(u64::from(header.offset_count));
        // The place of the first frame is the word of an index, which the frame has to confirm.
        if next > limit || (at == 0 && header.base_offset != expected) {
            return Walked::Bad;
        }
        if next > offsets.start {
            let taken = first.map_or(0, |first: usize| at - first);
            if first.is_none() && next > offsets.end {
                // Exposed and compacted since the end was looked up: the other way looks it up again.
                return Walked::Bad;
            }
            if next > offsets.end || (taken > 0 && taken + header.frame_bytes > max_bytes) {
                break;
            }
            frame::place(rest, expected, false);
            first.get_or_insert(at);
        }
        at += header.frame_bytes;
        expected = next;
    }
    let first = first.unwrap_or(at);
    Walked::Frames(first..at, expected)
}

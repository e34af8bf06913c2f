//! One frame: a Kafka record batch of format v2, uncompressed, as it lies in a segment.
//!
//! Guarantees: [`Header::check`] accepts a frame only if its magic, length, counts and CRC agree, never
//! panics and never reads past the bytes given. `base offset` and `leader epoch` stand outside the CRC
//! (Kafka's choice, so that a broker can assign them). Inside a segment the base offset is known from the
//! frame's place, so the scan restores it. The leader epoch says on disk where a commit starts: 0 in its
//! first frame, -1 (Kafka's "none") in the others, and 0x0f0f0f0f in every frame that compaction wrote; readers get 0
//! throughout.
//!
//! A frame covers the offsets from its base offset to its last offset delta, and the next frame starts behind them. Its
//! records have them all, unless compaction ([`crate::compaction`]) took some out: then there are fewer, each at
//! the offset that it always had, perhaps none at all.
//!
//! Format (big endian), specified at <https://kafka.apache.org/documentation/#recordbatch>:
//!
//! ```text
//!  0 base offset i64      12 leader epoch i32       21 attributes i16 (0)      43 producer id i64 (-1)
//!  8 length i32 (rest)    16 magic i8 (2)           23 last offset delta i32   51 producer epoch i16 (-1)
//!                         17 crc32c u32 of 21..     27 base timestamp i64      53 base sequence i32 (-1)
//!                                                   35 max timestamp i64       57 record count i32, 61 records
//! ```

use std::ops::Range;
use thiserror::Error;

/// Bytes before the records.
pub const HEADER_BYTES: usize = 61;
/// A record's encoded size is at most this, so that a reader's memory is bounded.
pub const MAX_RECORD_BYTES: usize = 4 * 1024 * 1024;
/// A frame is closed when the next record would take it past this; a larger record gets a frame of its
/// own. Small, because one damaged frame costs all its records.
pub const FRAME_TARGET_BYTES: usize = 64 * 1024;
/// The largest frame that is written or believed.
pub const MAX_FRAME_BYTES: usize = HEADER_BYTES + MAX_RECORD_BYTES;
/// The smallest record: seven one-byte fields.
pub(crate) const MIN_RECORD_BYTES: usize = 7;

const MAGIC: u8 = 2;
/// Length, at 8, counts from here.
const LENGTH_END: usize = 12;
/// Leader epoch of the first frame of a commit, and of the others.
const COMMIT_START: u32 = 0;
const COMMIT_CONTINUES: u32 = u32::MAX;
/// Leader epoch of a frame that compaction wrote. It differs from the other two in half of the bits.
const COMPACTED: u32 = 0x0f0f_0f0f;
/// The most offsets that one frame covers: its last delta is a positive i32.
pub const MAX_OFFSETS: u64 = 1 << 31;
/// Base offset, length and leader epoch: no CRC covers them.
pub(crate) const UNPROTECTED_BYTES: usize = 16;
/// The CRC covers everything from here.
const CRC_START: usize = 21;

/// The fields of a frame that the log needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Offset of the first record as the file says it (outside the CRC).
    pub base_offset: u64,
    /// Size of the whole frame, header included.
    pub frame_bytes: usize,
    /// Records in the frame; none if compaction took out all that it covers.
    pub record_count: u32,
    /// Offsets that the frame covers, at least one and at least as many as records.
    pub offset_count: u32,
    /// Timestamp of the first record in milliseconds since 1970.
    pub base_timestamp_ms: i64,
    /// The latest timestamp in the frame.
    pub max_timestamp_ms: i64,
    /// Whether the frame goes on with the commit of the frame before it.
    pub continues_commit: bool,
    /// Whether compaction wrote the frame.
    pub is_compacted: bool,
    leader_epoch: u32,
    crc: u32,
}

/// Why bytes are not a frame of this log.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[allow(missing_docs)] // the messages say what the fields are
pub enum FrameError {
    #[error("frame cut short: got {got} bytes, expected {expected}")]
    Short { got: usize, expected: usize },
    #[error("not a record batch of format v2: got magic {got}, expected 2")]
    Magic { got: u8 },
    #[error("frame length out of bounds: got {got}, expected {HEADER_BYTES} to {MAX_FRAME_BYTES}")]
    Length { got: i64 },
    #[error("frame checksum: got {got:#010x}, expected {expected:#010x}")]
    Crc { got: u32, expected: u32 },
    #[error("frame counts disagree: {count} records, last offset delta {last_delta}")]
    Count { count: i32, last_delta: i32 },
    #[error("frame attributes {got:#06x}: only uncompressed, non-transactional batches are kept here")]
    Attributes { got: u16 },
}

impl Header {
    /// The offsets that the frame covers when it starts at `base_offset`; `None` past the largest offset.
    pub(crate) fn offsets_from(&self, base_offset: u64) -> Option<Range<u64>> {
        let end = base_offset.checked_add(u64::from(self.offset_count))?;
        (end <= i64::MAX as u64).then_some(base_offset..end)
    }

    /// Reads the header at the front of `bytes` without looking at the CRC.
    ///
    /// # Errors
    /// [`FrameError`] when a field cannot belong to a frame of this log.
    pub fn parse(bytes: &[u8]) -> Result<Header, FrameError> {
        let Some(fields) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(FrameError::Short { got: bytes.len(), expected: HEADER_BYTES });
        };
        if fields[16] != MAGIC {
            return Err(FrameError::Magic { got: fields[16] });
        }
        let length = i64::from(i32::from_be_bytes(field(fields, 8))) + LENGTH_END as i64;
        if length < HEADER_BYTES as i64 || length > MAX_FRAME_BYTES as i64 {
            return Err(FrameError::Length { got: length });
        }
        let leader_epoch = u32::from_be_bytes(field(fields, 12));
        let attributes = u16::from_be_bytes(field(fields, 21));
        // Bit 3 only says who set the timestamp.
        if attributes & !0x08 != 0 {
            return Err(FrameError::Attributes { got: attributes });
        }
        let count = i32::from_be_bytes(field(fields, 57));
        let last_delta = i32::from_be_bytes(field(fields, 23));
        let most = (length as usize - HEADER_BYTES) / MIN_RECORD_BYTES;
        if count < 0 || count as usize > most || last_delta < (count - 1).max(0) {
            return Err(FrameError::Count { count, last_delta });
        }
        let epoch_ones = leader_epoch.count_ones();
        Ok(Header {
            base_offset: u64::from_be_bytes(field(fields, 0)),
            frame_bytes: length as usize,
            record_count: count as u32,
            offset_count: last_delta as u32 + 1,
            base_timestamp_ms: i64::from_be_bytes(field(fields, 27)),
            max_timestamp_ms: i64::from_be_bytes(field(fields, 35)),
            // The values differ in many bits, so that a few flipped ones do not hide which it was.
            continues_commit: epoch_ones > u32::BITS * 3 / 4,
            is_compacted: (u32::BITS / 4..=u32::BITS * 3 / 4).contains(&epoch_ones),
            leader_epoch,
            crc: u32::from_be_bytes(field(fields, 17)),
        })
    }

    /// Reads and verifies the whole frame at the front of `bytes`.
    ///
    /// # Errors
    /// [`FrameError`], with [`FrameError::Short`] when `bytes` ends before the frame does.
    pub fn check(bytes: &[u8]) -> Result<Header, FrameError> {
        let header = Header::parse(bytes)?;
        header.check_crc(bytes)?;
        Ok(header)
    }

    pub(crate) fn check_crc(&self, bytes: &[u8]) -> Result<(), FrameError> {
        let Some(frame) = bytes.get(..self.frame_bytes) else {
            return Err(FrameError::Short { got: bytes.len(), expected: self.frame_bytes });
        };
        let expected = crc32c::crc32c(&frame[CRC_START..]);
        if self.crc == expected { Ok(()) } else { Err(FrameError::Crc { got: self.crc, expected }) }
    }

    /// Whether the two fields outside the CRC are what was written there.
    pub(crate) fn is_placed_at(&self, base_offset: u64) -> bool {
        let written = [COMMIT_START, COMMIT_CONTINUES, COMPACTED].contains(&self.leader_epoch);
        self.base_offset == base_offset && written
    }
}

/// What [`write_header`] needs to know of the records behind the header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contents {
    pub(crate) record_count: u32,
    /// 1 to [`MAX_OFFSETS`].
    pub(crate) offset_count: u32,
    pub(crate) base_timestamp_ms: i64,
    pub(crate) max_timestamp_ms: i64,
}

/// Fills the first [`HEADER_BYTES`] of `frame`, whose records are complete; the base offset stays 0
/// until [`place`].
pub(crate) fn write_header(frame: &mut [u8], contents: Contents) {
    let length = (frame.len() - LENGTH_END) as u32;
    frame[..8].fill(0);
    frame[8..12].copy_from_slice(&length.to_be_bytes());
    frame[12..16].fill(0);
    frame[16] = MAGIC;
    frame[21..23].fill(0);
    frame[23..27].copy_from_slice(&(contents.offset_count - 1).to_be_bytes());
    frame[27..35].copy_from_slice(&contents.base_timestamp_ms.to_be_bytes());
    frame[35..43].copy_from_slice(&contents.max_timestamp_ms.to_be_bytes());
    frame[43..57].fill(0xff);
    frame[57..61].copy_from_slice(&contents.record_count.to_be_bytes());
    let crc = crc32c::crc32c(&frame[CRC_START..]);
    frame[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// Gives the frame at the front of `frame` the fields that its CRC does not cover.
pub(crate) fn place(frame: &mut [u8], base_offset: u64, continues_commit: bool) {
    place_as(frame, base_offset, if continues_commit { COMMIT_CONTINUES } else { COMMIT_START });
}

/// As [`place`], for a frame that compaction writes.
pub(crate) fn place_compacted(frame: &mut [u8], base_offset: u64) {
    place_as(frame, base_offset, COMPACTED);
}

fn place_as(frame: &mut [u8], base_offset: u64, leader_epoch: u32) {
    frame[..8].copy_from_slice(&base_offset.to_be_bytes());
    frame[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
}

/// A frame without records that covers `offsets`, at most 2^31 of them, to stand for records that are lost: consumers of the
/// Kafka protocol pass it as they pass what compaction leaves. It is for them, and in no segment.
pub fn covering(offsets: Range<u64>) -> Vec<u8> {
    let mut frame = vec![0; HEADER_BYTES];
    let offset_count = (offsets.end - offsets.start).clamp(1, MAX_OFFSETS) as u32;
    write_header(&mut frame, Contents { record_count: 0, offset_count, base_timestamp_ms: -1, max_timestamp_ms: -1 });
    place(&mut frame, offsets.start, false);
    frame
}

fn field<const N: usize>(fields: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&fields[at..at + N]);
    bytes
}

//! One frame: a Kafka record batch of format v2, uncompressed, as it lies in a segment.
//!
//! Guarantees: [`Header::check`] accepts a frame only if its magic, length, counts and CRC agree, never
//! panics and never reads past the bytes given. `base offset` and `leader epoch` stand outside the CRC
//! (Kafka's choice, so that a broker can assign them). Inside a segment the base offset is known from the
//! frame's place, so the scan restores it. The leader epoch says on disk where a commit starts: 0 in its
//! first frame, -1 (Kafka's "none") in the others; readers get 0 throughout.
//!
//! Format (big endian), specified at <https://kafka.apache.org/documentation/#recordbatch>:
//!
//! ```text
//!  0 base offset i64      12 leader epoch i32       21 attributes i16 (0)      43 producer id i64 (-1)
//!  8 length i32 (rest)    16 magic i8 (2)           23 last offset delta i32   51 producer epoch i16 (-1)
//!                         17 crc32c u32 of 21..     27 base timestamp i64      53 base sequence i32 (-1)
//!                                                   35 max timestamp i64       57 record count i32, 61 records
//! ```

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
    /// Records in the frame, at least one.
    pub record_count: u32,
    /// Timestamp of the first record in milliseconds since 1970.
    pub base_timestamp_ms: i64,
    /// The latest timestamp in the frame.
    pub max_timestamp_ms: i64,
    /// Whether the frame goes on with the commit of the frame before it.
    pub continues_commit: bool,
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
        if length < (HEADER_BYTES + MIN_RECORD_BYTES) as i64 || length > MAX_FRAME_BYTES as i64 {
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
        if count < 1 || count as usize > most || last_delta != count - 1 {
            return Err(FrameError::Count { count, last_delta });
        }
        Ok(Header {
            base_offset: u64::from_be_bytes(field(fields, 0)),
            frame_bytes: length as usize,
            record_count: count as u32,
            base_timestamp_ms: i64::from_be_bytes(field(fields, 27)),
            max_timestamp_ms: i64::from_be_bytes(field(fields, 35)),
            // The two values differ in every bit, so that a flipped one does not hide which it was.
            continues_commit: leader_epoch.count_ones() > u32::BITS / 2,
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
        let written = [COMMIT_START, COMMIT_CONTINUES].contains(&self.leader_epoch);
        self.base_offset == base_offset && written
    }
}

/// What [`write_header`] needs to know of the records behind the header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contents {
    pub(crate) record_count: u32,
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
    frame[23..27].copy_from_slice(&(contents.record_count - 1).to_be_bytes());
    frame[27..35].copy_from_slice(&contents.base_timestamp_ms.to_be_bytes());
    frame[35..43].copy_from_slice(&contents.max_timestamp_ms.to_be_bytes());
    frame[43..57].fill(0xff);
    frame[57..61].copy_from_slice(&contents.record_count.to_be_bytes());
    let crc = crc32c::crc32c(&frame[CRC_START..]);
    frame[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// Gives the frame at the front of `frame` the fields that its CRC does not cover.
pub(crate) fn place(frame: &mut [u8], base_offset: u64, continues_commit: bool) {
    let leader_epoch = if continues_commit { COMMIT_CONTINUES } else { COMMIT_START };
    frame[..8].copy_from_slice(&base_offset.to_be_bytes());
    frame[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
}

fn field<const N: usize>(fields: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&fields[at..at + N]);
    bytes
}

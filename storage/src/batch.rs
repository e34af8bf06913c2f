//! The staging buffer: records encoded as frames while they wait for their commit.
//!
//! Guarantees: a frame is at most [`FRAME_TARGET_BYTES`] or holds one single record; pushing allocates
//! only to grow the buffer, and [`Batch::clear`] keeps the capacity. Offsets are given at the commit:
//! the base offset stands outside the CRC, so sealing (and its CRC) happens on the caller's thread.

use crate::frame::{self, Contents, FRAME_TARGET_BYTES, HEADER_BYTES, Header, MAX_RECORD_BYTES};
use crate::record::{Record, Records};
use crate::varint;
use thiserror::Error;

/// Records on their way to a log, encoded.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    record_count: u64,
    open: Option<OpenFrame>,
}

/// The frame that still takes records.
#[derive(Debug, Clone, Copy)]
struct OpenFrame {
    start: usize,
    contents: Contents,
}

/// A record above [`MAX_RECORD_BYTES`]; nothing was pushed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("record too large: got {got} bytes encoded, expected at most {MAX_RECORD_BYTES}")]
pub struct RecordTooLarge {
    /// Encoded size of the record in bytes.
    pub got: usize,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Adds one record. `timestamp_ms` is milliseconds since 1970; headers are name and value.
    ///
    /// # Errors
    /// [`RecordTooLarge`]; the batch is as before.
    pub fn push(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, &[u8])],
    ) -> Result<(), RecordTooLarge> {
        let fields = fields_len(key, value, headers);
        // Ten more bytes each for the length and the two deltas, at most.
        let most = fields.saturating_add(3 * varint::MAX_BYTES);
        if most > MAX_RECORD_BYTES {
            return Err(RecordTooLarge { got: most });
        }
        if self.open.is_some_and(|open| self.bytes.len() - open.start + most > FRAME_TARGET_BYTES) {
            self.seal();
        }
        let (timestamp_delta, offset_delta) = self.claim_place(timestamp_ms);
        let length = fields + varint::len(timestamp_delta) + varint::len(offset_delta);
        self.bytes.reserve(most);
        varint::put(&mut self.bytes, length as i64);
        self.bytes.push(0);
        varint::put(&mut self.bytes, timestamp_delta);
        varint::put(&mut self.bytes, offset_delta);
        put_optional(&mut self.bytes, key);
        put_optional(&mut self.bytes, value);
        varint::put(&mut self.bytes, headers.len() as i64);
        for (name, value) in headers {
            put_optional(&mut self.bytes, Some(name.as_bytes()));
            put_optional(&mut self.bytes, Some(value));
        }
        Ok(())
    }

    /// Whether there is no record in it.
    pub fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// Records pushed since it was new or cleared.
    pub fn record_count(&self) -> u64 {
        self.record_count
    }

    /// Bytes that a commit of this batch writes.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// The records, in order; their offsets are not those that a commit gives. Closes the open frame.
    pub fn records(&mut self) -> impl Iterator<Item = Record<'_>> {
        self.seal();
        let mut rest = &self.bytes[..];
        let frames = std::iter::from_fn(move || {
            let header = Header::parse(rest).ok()?;
            let (frame, behind) = rest.split_at_checked(header.frame_bytes)?;
            rest = behind;
            Some(frame)
        });
        frames.flat_map(|frame| Records::of_frame(frame).into_iter().flatten().flatten())
    }

    /// The frames, as far as they are sealed, with the offsets that the last commit tried gave them.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.record_count = 0;
        self.open = None;
    }

    /// Closes the open frame: header and CRC. The commit does it if nobody did; doing it earlier takes
    /// the work off the commit's thread.
    pub fn seal(&mut self) {
        if let Some(open) = self.open.take() {
            frame::write_header(&mut self.bytes[open.start..], open.contents);
        }
    }

    /// Seals it and gives every frame its offset, the first record `base_offset`; the bytes to write.
    /// `continues_commit` if another batch comes before it in the same commit.
    pub(crate) fn place(&mut self, base_offset: u64, continues_commit: bool) -> &[u8] {
        self.seal();
        let mut next_offset = base_offset;
        let mut continues = continues_commit;
        let mut rest = &mut self.bytes[..];
        while let Ok(header) = Header::parse(rest) {
            frame::place(rest, next_offset, continues);
            continues = true;
            next_offset += u64::from(header.offset_count);
            rest = &mut rest[header.frame_bytes..];
        }
        &self.bytes
    }

    /// Deltas of a record that comes now, opening a frame if none is open.
    fn claim_place(&mut self, timestamp_ms: i64) -> (i64, i64) {
        let start = self.bytes.len();
        if self.open.is_none() {
            self.bytes.resize(start + HEADER_BYTES, 0);
        }
        let open = self.open.get_or_insert(OpenFrame {
            start,
            contents: Contents {
                record_count: 0,
                offset_count: 0,
                base_timestamp_ms: timestamp_ms,
                max_timestamp_ms: timestamp_ms,
            },
        });
        let contents = &mut open.contents;
        let offset_delta = i64::from(contents.record_count);
        contents.record_count += 1;
        contents.offset_count += 1;
        contents.max_timestamp_ms = contents.max_timestamp_ms.max(timestamp_ms);
        self.record_count += 1;
        (timestamp_ms.wrapping_sub(contents.base_timestamp_ms), offset_delta)
    }
}

/// Encoded bytes of everything in a record but its length and its deltas.
fn fields_len(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[(&str, &[u8])]) -> usize {
    let attributes = 1;
    headers.iter().fold(
        attributes + optional_len(key) + optional_len(value) + varint::len(headers.len() as i64),
        |sum, (name, value)| sum + optional_len(Some(name.as_bytes())) + optional_len(Some(value)),
    )
}

pub(crate) fn optional_len(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varint::len(bytes.len() as i64) + bytes.len())
}

pub(crate) fn put_optional(buffer: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => varint::put(buffer, -1),
        Some(bytes) => {
            varint::put(buffer, bytes.len() as i64);
            buffer.extend_from_slice(bytes);
        }
    }
}

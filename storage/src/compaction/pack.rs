//! From records that stay to frames: the inverse of a scan, for a segment with holes.
//!
//! Guarantees: frames follow on each other without a hole in offsets, whatever is missing between records; a frame is
//! at most [`FRAME_TARGET_BYTES`] or holds a single record; memory is one frame.

use crate::batch::{optional_len, put_optional};
use crate::frame::{self, Contents, FRAME_TARGET_BYTES, HEADER_BYTES, MAX_OFFSETS};
use crate::fs::File;
use crate::index::Index;
use crate::record::Record;
use crate::varint;
use std::io;

/// Bytes written between two syncs: one long sync would make the syncs of commits wait behind it.
const SYNC_BYTES: u64 = 4 * 1024 * 1024;
/// The timestamps of a frame without records: Kafka's "none".
const NO_TIMESTAMP_MS: i64 = -1;

pub(super) struct Packer<'a> {
    file: &'a dyn File,
    /// Bytes written, and of these synced.
    position: u64,
    synced: u64,
    index: Index,
    /// The frame being filled, with room for its header in front.
    frame: Vec<u8>,
    contents: Option<Contents>,
    /// Where the frame being filled starts: all before it is covered.
    base_offset: u64,
    /// The offset behind its last record.
    next_offset: u64,
}

impl<'a> Packer<'a> {
    /// Fills an empty file with frames from `base_offset` on.
    pub(super) fn new(file: &'a dyn File, base_offset: u64, index_interval_bytes: u64) -> Packer<'a> {
        let index = Index::new(index_interval_bytes);
        let (frame, contents) = (vec![0; HEADER_BYTES], None);
        Packer { file, position: 0, synced: 0, index, frame, contents, base_offset, next_offset: base_offset }
    }

    /// Adds the record, whose offset is above those before it.
    pub(super) fn push(&mut self, record: &Record<'_>) -> io::Result<()> {
        let headers = record.headers.as_bytes();
        let header_count = record.headers.len() as i64;
        let attributes = 1;
        let fields = attributes
            + optional_len(record.key)
            + optional_len(record.value)
            + varint::len(header_count)
            + headers.len();
        let is_far = record.offset - self.base_offset >= MAX_OFFSETS;
        let is_full = self.frame.len() + fields + 3 * varint::MAX_BYTES > FRAME_TARGET_BYTES;
        if self.contents.is_some() && (is_far || is_full) {
            self.close(self.next_offset)?;
        }
        // A frame reaches back to the one before it, as far as it can.
        while record.offset - self.base_offset >= MAX_OFFSETS {
            self.close(self.base_offset + MAX_OFFSETS)?;
        }
        let timestamp_ms = record.timestamp_ms;
        let new = Contents {
            record_count: 0,
            offset_count: 0,
            base_timestamp_ms: timestamp_ms,
            max_timestamp_ms: timestamp_ms,
        };
        let contents = self.contents.get_or_insert(new);
        contents.record_count += 1;
        contents.max_timestamp_ms = contents.max_timestamp_ms.max(timestamp_ms);
        let timestamp_delta = timestamp_ms.wrapping_sub(contents.base_timestamp_ms);
        let offset_delta = (record.offset - self.base_offset) as i64;
        let length = fields + varint::len(timestamp_delta) + varint::len(offset_delta);
        varint::put(&mut self.frame, length as i64);
        self.frame.push(0);
        varint::put(&mut self.frame, timestamp_delta);
        varint::put(&mut self.frame, offset_delta);
        put_optional(&mut self.frame, record.key);
        put_optional(&mut self.frame, record.value);
        varint::put(&mut self.frame, header_count);
        self.frame.extend_from_slice(headers);
        self.next_offset = record.offset + 1;
        Ok(())
    }

    /// Ends a frame exactly before `offset`, above all records so far.
    pub(super) fn cover(&mut self, offset: u64) -> io::Result<()> {
        while offset - self.base_offset > MAX_OFFSETS {
            let most = self.base_offset + MAX_OFFSETS;
            self.close(if self.contents.is_some() { self.next_offset } else { most })?;
        }
        if offset > self.base_offset { self.close(offset) } else { Ok(()) }
    }

    /// Makes the file durable: bytes of its frames, and their index.
    pub(super) fn finish(self) -> io::Result<(u64, Index)> {
        self.file.sync_data()?;
        Ok((self.position, self.index))
    }

    /// Writes the frame being filled, which covers offsets up to `end`.
    fn close(&mut self, end: u64) -> io::Result<()> {
        let offsets = self.base_offset..end;
        let none = Contents {
            record_count: 0,
            offset_count: 0,
            base_timestamp_ms: NO_TIMESTAMP_MS,
            max_timestamp_ms: NO_TIMESTAMP_MS,
        };
        let contents = self.contents.take().unwrap_or(none);
        let contents = Contents { offset_count: (end - self.base_offset) as u32, ..contents };
        frame::write_header(&mut self.frame, contents);
        frame::place_compacted(&mut self.frame, self.base_offset);
        self.file.write_at(&self.frame, self.position)?;
        self.index.note(self.position, &offsets, contents.max_timestamp_ms);
        self.position += self.frame.len() as u64;
        if self.position - self.synced >= SYNC_BYTES {
            self.file.sync_data()?;
            self.synced = self.position;
        }
        self.frame.truncate(HEADER_BYTES);
        (self.base_offset, self.next_offset) = (end, end);
        Ok(())
    }
}

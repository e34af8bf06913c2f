//! Records as they lie inside a frame, decoded in place.
//!
//! Guarantees: decoding hostile bytes never panics, never allocates, and stops at the first record that
//! does not fit its frame; offsets ascend, and lie within what the frame covers.
//!
//! Format, specified at <https://kafka.apache.org/documentation/#record>, every integer a zigzag varint:
//! `length, attributes i8, timestamp delta, offset delta, key length (-1 = none), key, value length
//! (-1 = none), value, header count, then per header: key length, key, value length (-1 = none), value`.

use crate::frame::{FrameError, HEADER_BYTES, Header};
use crate::varint;
use thiserror::Error;

/// One record, borrowed from the bytes that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its place in the log.
    pub offset: u64,
    /// Milliseconds since 1970, as the writer gave them.
    pub timestamp_ms: i64,
    /// Key, if the writer gave one.
    pub key: Option<&'a [u8]>,
    /// Value, if the writer gave one.
    pub value: Option<&'a [u8]>,
    /// Headers in the order written.
    pub headers: Headers<'a>,
}

/// The headers of one record; already validated, so iterating cannot fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headers<'a> {
    count: usize,
    bytes: &'a [u8],
}

/// A frame whose checksum holds but whose records do not follow the format.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MalformedRecord {
    /// The frame itself is not one.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A field does not fit.
    #[error("record at offset {offset}: {field} does not fit the record format v2")]
    Field {
        /// Offset of the record.
        offset: u64,
        /// The first field that does not fit.
        field: &'static str,
    },
}

/// Iterates the records of one frame; after an error it ends.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
    /// Records to come.
    left: u32,
    /// The least offset of the next one.
    next_offset: u64,
    /// The offset behind the last one that the frame covers.
    end_offset: u64,
    base_offset: u64,
    base_timestamp_ms: i64,
}

impl<'a> Records<'a> {
    /// The records of the frame at the front of `bytes`, whose CRC the caller has checked.
    ///
    /// # Errors
    /// [`FrameError`] when `bytes` does not hold a whole frame.
    pub fn of_frame(bytes: &'a [u8]) -> Result<Records<'a>, FrameError> {
        let header = Header::parse(bytes)?;
        let Some(rest) = bytes.get(HEADER_BYTES..header.frame_bytes) else {
            return Err(FrameError::Short { got: bytes.len(), expected: header.frame_bytes });
        };
        Ok(Records {
            rest,
            left: header.record_count,
            next_offset: header.base_offset,
            end_offset: header.base_offset.saturating_add(u64::from(header.offset_count)),
            base_offset: header.base_offset,
            base_timestamp_ms: header.base_timestamp_ms,
        })
    }

    fn decode(&mut self) -> Result<Record<'a>, &'static str> {
        let length = varint::take(&mut self.rest).ok_or("length")?;
        let mut fields = take_bytes(&mut self.rest, length).ok_or("length")?;
        take_bytes(&mut fields, 1).ok_or("attributes")?;
        let timestamp_delta = varint::take(&mut fields).ok_or("timestamp delta")?;
        let offset_delta = varint::take(&mut fields).ok_or("offset delta")?;
        let offset = u64::try_from(offset_delta).ok().and_then(|delta| self.base_offset.checked_add(delta));
        // Ascending, with room left for the records behind: without a gap unless the frame was compacted.
        let fits = |offset: &u64| *offset >= self.next_offset && self.end_offset - *offset >= u64::from(self.left);
        let offset = offset.filter(|offset| *offset < self.end_offset).filter(fits).ok_or("offset delta")?;
        let key = take_optional(&mut fields).ok_or("key")?;
        let value = take_optional(&mut fields).ok_or("value")?;
        let headers = take_headers(&mut fields).ok_or("headers")?;
        if !fields.is_empty() {
            return Err("length");
        }
        let timestamp_ms = self.base_timestamp_ms.wrapping_add(timestamp_delta);
        Ok(Record { offset, timestamp_ms, key, value, headers })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, MalformedRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.next_offset;
        if self.left == 0 {
            if self.rest.is_empty() {
                return None;
            }
            self.rest = &[];
            return Some(Err(MalformedRecord::Field { offset, field: "record count" }));
        }
        match self.decode() {
            Ok(record) => {
                self.left -= 1;
                self.next_offset = record.offset + 1;
                Some(Ok(record))
            }
            Err(field) => {
                self.rest = &[];
                self.left = 0;
                Some(Err(MalformedRecord::Field { offset, field }))
            }
        }
    }
}

impl<'a> Headers<'a> {
    /// Number of headers.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// As they lie in the record, behind their number.
    pub(crate) fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Name and value of each header, in the order written.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> + use<'a> {
        let mut bytes = self.bytes;
        (0..self.count).map_while(move |_| take_header(&mut bytes))
    }

    /// The value of the first header called `name`.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.iter().find(|(candidate, _)| *candidate == name).and_then(|(_, value)| value)
    }
}

fn take_headers<'a>(bytes: &mut &'a [u8]) -> Option<Headers<'a>> {
    let count = usize::try_from(varint::take(bytes)?).ok()?;
    let all = *bytes;
    for _ in 0..count {
        take_header(bytes)?;
    }
    let used = all.len() - bytes.len();
    Some(Headers { count, bytes: &all[..used] })
}

fn take_header<'a>(bytes: &mut &'a [u8]) -> Option<(&'a str, Option<&'a [u8]>)> {
    let name = std::str::from_utf8(take_optional(bytes)??).ok()?;
    Some((name, take_optional(bytes)?))
}

fn take_optional<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    match varint::take(bytes)? {
        -1 => Some(None),
        length => take_bytes(bytes, length).map(Some),
    }
}

fn take_bytes<'a>(bytes: &mut &'a [u8], length: i64) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(taken)
}

//! What is answered: small fields gathered in one buffer, blocks of records passed through by reference.

use bytes::{BufMut, Bytes, BytesMut};

use super::MOST_STRING;

/// A response being written.
///
/// [`Output::finish`] yields pieces to be written one after the other: an owned buffer wherever there were fields, and
/// the blocks of [`Output::records`] as they were given.
#[derive(Debug, Default)]
pub struct Output {
    finished: Vec<Bytes>,
    finished_bytes: usize,
    open: BytesMut,
    flexible: bool,
}

impl Output {
    /// An empty response, in the classic encoding until told otherwise.
    pub fn new() -> Self {
        Self::default()
    }

    /// From here on fields are in the flexible encoding, or in the classic one.
    pub fn set_flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.finished_bytes + self.open.len()
    }

    /// Nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One byte.
    pub fn i8(&mut self, value: i8) {
        self.open.put_i8(value);
    }

    /// Two bytes.
    pub fn i16(&mut self, value: i16) {
        self.open.put_i16(value);
    }

    /// Four bytes.
    pub fn i32(&mut self, value: i32) {
        self.open.put_i32(value);
    }

    /// Eight bytes.
    pub fn i64(&mut self, value: i64) {
        self.open.put_i64(value);
    }

    /// One byte, 0 or 1.
    pub fn boolean(&mut self, value: bool) {
        self.open.put_u8(u8::from(value));
    }

    /// Sixteen bytes that name something; all zero stands for nothing.
    pub fn uuid(&mut self, value: [u8; 16]) {
        self.open.put_slice(&value);
    }

    /// A string. One over [`MOST_STRING`] bytes is cut: only a message for people could be.
    pub fn string(&mut self, value: &str) {
        self.nullable_string(Some(value));
    }

    /// A string or null.
    pub fn nullable_string(&mut self, value: Option<&str>) {
        let value = value.map(|value| &value.as_bytes()[..value.floor_char_boundary(MOST_STRING)]);
        let length = value.map(<[u8]>::len);
        if self.flexible {
            self.compact_length(length);
        } else {
            self.open.put_i16(length.map_or(-1, |length| length as i16));
        }
        self.open.put_slice(value.unwrap_or_default());
    }

    /// Bytes.
    pub fn bytes(&mut self, value: &[u8]) {
        self.length(Some(value.len()));
        self.open.put_slice(value);
    }

    /// Blocks of record batches that become one field of bytes, by reference.
    pub fn records(&mut self, blocks: &[Bytes]) {
        let total: usize = blocks.iter().map(Bytes::len).sum();
        self.length(Some(total));
        if total > 0 {
            self.close();
            self.finished_bytes += total;
            self.finished.extend(blocks.iter().filter(|block| !block.is_empty()).cloned());
        }
    }

    /// An array.
    pub fn array<T>(&mut self, elements: &[T], mut element: impl FnMut(&mut Self, &T)) {
        self.length(Some(elements.len()));
        for each in elements {
            element(self, each);
        }
    }

    /// An array that is null.
    pub fn null_array(&mut self) {
        self.length(None);
    }

    /// The end of a structure: no tagged fields, where the encoding has a place for them.
    pub fn tags(&mut self) {
        if self.flexible {
            self.uvarint(0);
        }
    }

    /// The pieces to send, in order.
    pub fn finish(mut self) -> Vec<Bytes> {
        self.close();
        self.finished
    }

    /// Lengths of bytes and arrays, which are all far below 2 GiB: what a response holds is bounded where it is made.
    fn length(&mut self, length: Option<usize>) {
        if self.flexible {
            self.compact_length(length);
        } else {
            self.open.put_i32(length.map_or(-1, |length| length as i32));
        }
    }

    fn compact_length(&mut self, length: Option<usize>) {
        self.uvarint(length.map_or(0, |length| length as u32 + 1));
    }

    fn uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.open.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.open.put_u8(value as u8);
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            let piece = self.open.split().freeze();
            self.finished_bytes += piece.len();
            self.finished.push(piece);
        }
    }
}

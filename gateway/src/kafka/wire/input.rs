//! What a client sent, taken apart field by field.

use bytes::Bytes;
use thiserror::Error;

/// The most elements of all arrays of one request together. A client with ten thousand partitions stays far below.
pub const MOST_ELEMENTS: usize = 1 << 16;
/// The most bytes of one string: what its classic encoding can say.
pub const MOST_STRING: usize = i16::MAX as usize;

/// Why bytes are not the message that they claim to be. The connection cannot go on: where the next field begins is
/// unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// A field claims more bytes than there are.
    #[error("a field of {wanted} bytes, got {got}")]
    Short {
        /// What it claims.
        wanted: usize,
        /// What is left.
        got: usize,
    },
    /// An array claims more elements than the bytes that are left can hold.
    #[error("an array of {elements} elements in {got} bytes")]
    Array {
        /// What it claims.
        elements: usize,
        /// What is left.
        got: usize,
    },
    /// The arrays of this request have too many elements together.
    #[error("more than {MOST_ELEMENTS} elements")]
    Elements,
    /// A length below -1.
    #[error("a length of {0}")]
    Length(i32),
    /// A string over the bound.
    #[error("a string of {0} bytes, expected at most {MOST_STRING}")]
    LongString(usize),
    /// A string that is not UTF-8.
    #[error("a string that is not UTF-8")]
    NotUtf8,
    /// Null where the version at hand has no null.
    #[error("null in a field that must have a value")]
    Null,
    /// A varint of more than 32 bits.
    #[error("a varint of more than 32 bits")]
    Varint,
}

/// The rest of a request: what has not been read yet.
#[derive(Debug)]
pub struct Input<'a> {
    rest: &'a [u8],
    flexible: bool,
    elements: usize,
}

impl<'a> Input<'a> {
    /// A request without the length in front of it; in the classic encoding until told otherwise.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, flexible: false, elements: 0 }
    }

    /// From here on fields are in the flexible encoding, or in the classic one.
    pub fn set_flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    /// Bytes that have not been read. Some are left after a request of a client that knows more than this version.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// One byte.
    pub fn i8(&mut self) -> Result<i8, Malformed> {
        Ok(i8::from_be_bytes(self.fixed()?))
    }

    /// Two bytes.
    pub fn i16(&mut self) -> Result<i16, Malformed> {
        Ok(i16::from_be_bytes(self.fixed()?))
    }

    /// Four bytes.
    pub fn i32(&mut self) -> Result<i32, Malformed> {
        Ok(i32::from_be_bytes(self.fixed()?))
    }

    /// Eight bytes.
    pub fn i64(&mut self) -> Result<i64, Malformed> {
        Ok(i64::from_be_bytes(self.fixed()?))
    }

    /// One byte; all but 0 is true.
    pub fn boolean(&mut self) -> Result<bool, Malformed> {
        Ok(self.i8()? != 0)
    }

    /// Sixteen bytes that name something; all zero stands for nothing.
    pub fn uuid(&mut self) -> Result<[u8; 16], Malformed> {
        self.fixed()
    }

    /// A string.
    pub fn string(&mut self) -> Result<String, Malformed> {
        self.nullable_string()?.ok_or(Malformed::Null)
    }

    /// A string or null.
    pub fn nullable_string(&mut self) -> Result<Option<String>, Malformed> {
        let length = if self.flexible { self.compact_length()? } else { plain_length(i32::from(self.i16()?))? };
        let Some(length) = length else { return Ok(None) };
        if length > MOST_STRING {
            return Err(Malformed::LongString(length));
        }
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| Malformed::NotUtf8)?;
        Ok(Some(text.to_owned()))
    }

    /// Bytes, copied: what a group remembers of one member must not keep the whole request in memory.
    pub fn bytes(&mut self) -> Result<Bytes, Malformed> {
        self.nullable_bytes()?.ok_or(Malformed::Null)
    }

    /// Bytes or null, copied.
    pub fn nullable_bytes(&mut self) -> Result<Option<Bytes>, Malformed> {
        let length = if self.flexible { self.compact_length()? } else { plain_length(self.i32()?)? };
        let Some(length) = length else { return Ok(None) };
        Ok(Some(Bytes::copy_from_slice(self.take(length)?)))
    }

    /// An array whose elements take at least `least` bytes each, in whichever encoding takes less.
    pub fn array<T>(
        &mut self,
        least: usize,
        element: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        self.nullable_array(least, element)?.ok_or(Malformed::Null)
    }

    /// An array or null; see [`Input::array`].
    pub fn nullable_array<T>(
        &mut self,
        least: usize,
        mut element: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<Vec<T>>, Malformed> {
        let length = if self.flexible { self.compact_length()? } else { plain_length(self.i32()?)? };
        let Some(length) = length else { return Ok(None) };
        // Both before anything is allocated for it.
        if length.saturating_mul(least.max(1)) > self.rest.len() {
            return Err(Malformed::Array { elements: length, got: self.rest.len() });
        }
        self.elements += length;
        if self.elements > MOST_ELEMENTS {
            return Err(Malformed::Elements);
        }
        let mut elements = Vec::with_capacity(length);
        for _ in 0..length {
            elements.push(element(self)?);
        }
        Ok(Some(elements))
    }

    /// The tagged fields after a structure of the flexible encoding: none of them matters to what is served here.
    pub fn tags(&mut self) -> Result<(), Malformed> {
        if !self.flexible {
            return Ok(());
        }
        // Each takes two bytes at least, so this ends with the bytes.
        for _ in 0..self.uvarint()? {
            let _tag = self.uvarint()?;
            let length = self.uvarint()? as usize;
            self.take(length)?;
        }
        Ok(())
    }

    fn uvarint(&mut self) -> Result<u32, Malformed> {
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.fixed()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && byte > 0x0f {
                return Err(Malformed::Varint);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed::Varint)
    }

    fn compact_length(&mut self) -> Result<Option<usize>, Malformed> {
        Ok(self.uvarint()?.checked_sub(1).map(|length| length as usize))
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let Some((head, rest)) = self.rest.split_first_chunk() else {
            return Err(Malformed::Short { wanted: N, got: self.rest.len() });
        };
        self.rest = rest;
        Ok(*head)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let Some((head, rest)) = self.rest.split_at_checked(length) else {
            return Err(Malformed::Short { wanted: length, got: self.rest.len() });
        };
        self.rest = rest;
        Ok(head)
    }
}

fn plain_length(length: i32) -> Result<Option<usize>, Malformed> {
    match length {
        -1 => Ok(None),
        length => usize::try_from(length).map(Some).map_err(|_| Malformed::Length(length)),
    }
}

//! A list that needs no allocator: values encoded back to back, decoded one at a time.
//!
//! On the wire: a postcard byte string (varint length, then that many bytes), whose bytes are the postcard
//! encodings of the values without separators. A device stores, copies and sends encoded readings without
//! decoding them, and a gateway reads them in place.

use core::fmt;
use core::marker::PhantomData;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Values of type `T`, encoded back to back in borrowed bytes.
pub struct Items<'a, T> {
    bytes: &'a [u8],
    of: PhantomData<fn() -> T>,
}

impl<'a, T> Items<'a, T> {
    /// Takes `bytes` to be encoded values; a wrong byte shows when it is decoded.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, of: PhantomData }
    }

    /// The encoded values.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether there are no values.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The values in order; after the first error there are no more.
    pub fn iter(&self) -> Iter<'a, T> {
        Iter { rest: self.bytes, of: PhantomData }
    }
}

impl<'a, T> IntoIterator for Items<'a, T>
where
    T: Deserialize<'a>,
{
    type Item = Result<T, postcard::Error>;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> Clone for Items<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Items<'_, T> {}

impl<T> PartialEq for Items<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl<'a, T: Deserialize<'a> + fmt::Debug> fmt::Debug for Items<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T> Serialize for Items<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.bytes)
    }
}

impl<'de: 'a, 'a, T> Deserialize<'de> for Items<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&'a [u8]>::deserialize(deserializer).map(Self::new)
    }
}

/// Decodes the values of [`Items`] in order.
pub struct Iter<'a, T> {
    rest: &'a [u8],
    of: PhantomData<fn() -> T>,
}

impl<'a, T> Iter<'a, T> {
    /// The bytes that were not decoded yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a, T: Deserialize<'a>> Iterator for Iter<'a, T> {
    type Item = Result<T, postcard::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match postcard::take_from_bytes(self.rest) {
            // A value of no bytes would repeat for ever.
            Ok((_, rest)) if rest.len() == self.rest.len() => {
                self.rest = &[];
                Some(Err(postcard::Error::DeserializeBadEncoding))
            }
            Ok((value, rest)) => {
                self.rest = rest;
                Some(Ok(value))
            }
            Err(error) => {
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

/// Encodes values back to back into a fixed buffer.
pub struct ItemsWriter<'b> {
    buffer: &'b mut [u8],
    used: usize,
}

impl<'b> ItemsWriter<'b> {
    /// Starts at the front of `buffer`.
    pub fn new(buffer: &'b mut [u8]) -> Self {
        Self { buffer, used: 0 }
    }

    /// Appends one value; if it does not fit, nothing is written and `false` comes back.
    #[must_use]
    pub fn push<T: Serialize>(&mut self, value: &T) -> bool {
        match postcard::to_slice(value, &mut self.buffer[self.used..]) {
            Ok(written) => {
                self.used += written.len();
                true
            }
            Err(_) => false,
        }
    }

    /// The values written so far.
    pub fn finish<T>(self) -> Items<'b, T> {
        let buffer: &'b [u8] = self.buffer;
        Items::new(&buffer[..self.used])
    }
}

/// Appends one encoded value to `out`.
#[cfg(feature = "std")]
pub fn push<T: Serialize>(out: &mut Vec<u8>, value: &T) {
    // Encoding into memory fails only for types that postcard cannot describe; ours are all plain.
    let before = out.len();
    if postcard::to_io(value, &mut *out).is_err() {
        debug_assert!(false, "a wire type that postcard cannot encode");
        out.truncate(before);
    }
}

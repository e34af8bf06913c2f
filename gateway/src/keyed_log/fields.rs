//! The fields of which records of internal topics are made: big endian, lengths in front, a version first.
//!
//! Reading allocates nothing before the bytes are there, and refuses whatever does not end where it should.

use thiserror::Error;

/// A record that is none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// Written by another build.
    #[error("got version {got}, expected {expected}")]
    Version {
        /// What it says.
        got: u8,
        /// What this build writes.
        expected: u8,
    },
    /// A kind that this build does not know.
    #[error("got kind {got}, which is not known here")]
    Kind {
        /// What it says.
        got: u8,
    },
    /// Too short, too long, or no text.
    #[error("{field} does not fit")]
    Field {
        /// The first field that does not.
        field: &'static str,
    },
}

/// Adds a text of up to 64 KiB: its length as u16, its bytes. What is longer is cut off; whoever lets texts in has bounds
/// far below that.
pub fn put_text(out: &mut Vec<u8>, text: &str) {
    put_short(out, text.as_bytes());
}

/// Adds bytes as [`put_text`] adds a text.
pub fn put_short(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend(length.to_be_bytes());
    out.extend(&bytes[..usize::from(length)]);
}

/// Adds bytes: their length as u32, themselves. A record is smaller than 4 GiB.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend(length.to_be_bytes());
    out.extend(bytes);
}

/// What is left of a record.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// The next bytes, as many as the caller has room for.
    ///
    /// # Errors
    /// [`Malformed::Field`], as everything here.
    pub fn take<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed::Field { field })?;
        self.0 = rest;
        Ok(*taken)
    }

    /// The next byte.
    ///
    /// # Errors
    /// It is not there.
    pub fn byte(&mut self, field: &'static str) -> Result<u8, Malformed> {
        self.take(field).map(|[byte]| byte)
    }

    /// The next byte as yes or no.
    ///
    /// # Errors
    /// It is neither 0 nor 1.
    pub fn flag(&mut self, field: &'static str) -> Result<bool, Malformed> {
        match self.byte(field)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed::Field { field }),
        }
    }

    /// The version.
    ///
    /// # Errors
    /// [`Malformed::Version`] if it is not `expected`.
    pub fn version(&mut self, expected: u8) -> Result<(), Malformed> {
        match self.byte("version")? {
            got if got == expected => Ok(()),
            got => Err(Malformed::Version { got, expected }),
        }
    }

    /// What [`put_text`] added.
    ///
    /// # Errors
    /// It is not there, or no UTF-8.
    pub fn text(&mut self, field: &'static str) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.short(field)?).map_err(|_| Malformed::Field { field })
    }

    /// What [`put_short`] added.
    ///
    /// # Errors
    /// It is not there.
    pub fn short(&mut self, field: &'static str) -> Result<&'a [u8], Malformed> {
        let length = usize::from(u16::from_be_bytes(self.take(field)?));
        self.bytes_of(length, field)
    }

    /// What [`put_bytes`] added.
    ///
    /// # Errors
    /// It is not there.
    pub fn bytes(&mut self, field: &'static str) -> Result<&'a [u8], Malformed> {
        let length = u32::from_be_bytes(self.take(field)?);
        self.bytes_of(usize::try_from(length).map_err(|_| Malformed::Field { field })?, field)
    }

    fn bytes_of(&mut self, length: usize, field: &'static str) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Malformed::Field { field })?;
        self.0 = rest;
        Ok(bytes)
    }

    /// Nothing follows.
    ///
    /// # Errors
    /// Something does.
    pub fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed::Field { field: "end" }) }
    }
}

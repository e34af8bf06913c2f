//! Serial frames: one message each, safe to join at any byte.
//!
//! ```text
//! COBS( version u8 | message, postcard | CRC-32 little endian over version and message ) 0x00
//! ```
//!
//! A zero byte ends every frame and occurs nowhere else (Cheshire and Baker, "Consistent Overhead Byte
//! Stuffing", 1999), so after garbage the decoder is back in step at the next zero. A frame that is damaged,
//! too long or of another version is reported once and skipped.

use core::fmt;
use serde::{Deserialize, Serialize};

use crate::checksum::crc32;
use crate::version::{SERIAL_CURRENT, SERIAL_MIN};

/// The longest message, in postcard bytes.
pub const MAX_MESSAGE: usize = 1024;
/// The longest frame before COBS: version, message, checksum.
pub const MAX_PLAIN: usize = 1 + MAX_MESSAGE + 4;
/// The longest frame on the line, with its closing zero.
pub const MAX_FRAME: usize = cobs::max_encoding_length(MAX_PLAIN) + 1;

/// Why a frame was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// More bytes than [`MAX_FRAME`] without a zero.
    TooLong,
    /// Not COBS.
    BadStuffing,
    /// Shorter than version and checksum.
    TooShort,
    /// The checksum does not match.
    BadChecksum,
    /// A version that this build does not read.
    BadVersion(u8),
    /// The checksum is right but the message is none that this build knows.
    BadMessage,
}

impl FrameError {
    /// A short fixed name, for counters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::BadStuffing => "bad_stuffing",
            Self::TooShort => "too_short",
            Self::BadChecksum => "bad_checksum",
            Self::BadVersion(_) => "bad_version",
            Self::BadMessage => "bad_message",
        }
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadVersion(got) => {
                write!(f, "frame version {got}; this build reads {SERIAL_MIN} to {SERIAL_CURRENT}")
            }
            other => f.write_str(other.name()),
        }
    }
}

impl core::error::Error for FrameError {}

/// Encodes `message` as a whole frame into `out` and returns its length, or `None` if it does not fit.
/// `scratch` holds the frame before COBS; [`MAX_PLAIN`] and [`MAX_FRAME`] bytes are always enough.
pub fn encode<T: Serialize>(message: &T, scratch: &mut [u8], out: &mut [u8]) -> Option<usize> {
    let (version, body) = scratch.split_first_mut()?;
    *version = SERIAL_CURRENT;
    let end = 1 + postcard::to_slice(message, body).ok()?.len();
    let crc = crc32(&scratch[..end]);
    scratch.get_mut(end..end + 4)?.copy_from_slice(&crc.to_le_bytes());
    let plain = &scratch[..end + 4];
    if out.len() < cobs::max_encoding_length(plain.len()) + 1 {
        return None;
    }
    let length = cobs::encode(plain, out);
    out[length] = 0;
    Some(length + 1)
}

/// Encodes `message` as a whole frame.
#[cfg(feature = "std")]
pub fn to_vec<T: Serialize>(message: &T) -> Option<Vec<u8>> {
    let mut scratch = [0; MAX_PLAIN];
    let mut out = vec![0; MAX_FRAME];
    let length = encode(message, &mut scratch, &mut out)?;
    out.truncate(length);
    Some(out)
}

/// Finds frames in a stream of bytes, however they arrive. `N` bounds the memory; a frame longer than that
/// is refused, so use [`MAX_FRAME`] unless the peer is known to send less.
pub struct Decoder<const N: usize> {
    buffer: [u8; N],
    used: usize,
    /// The current frame outgrew the buffer: skip to the next zero.
    skipping: bool,
}

impl<const N: usize> Default for Decoder<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Decoder<N> {
    /// An empty decoder.
    pub const fn new() -> Self {
        Self { buffer: [0; N], used: 0, skipping: false }
    }

    /// Takes bytes from the front of `input` until a frame is complete, and returns its message (version and
    /// checksum checked and removed) to be given to [`message`]. `None`: `input` is used up.
    pub fn feed<'d>(&'d mut self, input: &mut &[u8]) -> Option<Result<&'d [u8], FrameError>> {
        while let Some((&byte, rest)) = input.split_first() {
            *input = rest;
            if byte != 0 {
                if self.used < N {
                    self.buffer[self.used] = byte;
                    self.used += 1;
                } else {
                    self.skipping = true;
                }
                continue;
            }
            let used = core::mem::take(&mut self.used);
            if core::mem::take(&mut self.skipping) {
                return Some(Err(FrameError::TooLong));
            }
            // Two zeros in a row are an idle line, not a frame.
            if used > 0 {
                return Some(open(&mut self.buffer[..used]));
            }
        }
        None
    }
}

/// Undoes COBS in place and checks version and checksum.
fn open(frame: &mut [u8]) -> Result<&[u8], FrameError> {
    let length = cobs::decode_in_place(frame).map_err(|_| FrameError::BadStuffing)?;
    let plain = frame.get(..length).ok_or(FrameError::BadStuffing)?;
    let (content, crc) = plain.split_last_chunk::<4>().ok_or(FrameError::TooShort)?;
    let (&version, message) = content.split_first().ok_or(FrameError::TooShort)?;
    if crc32(content) != u32::from_le_bytes(*crc) {
        return Err(FrameError::BadChecksum);
    }
    if !(SERIAL_MIN..=SERIAL_CURRENT).contains(&version) {
        return Err(FrameError::BadVersion(version));
    }
    Ok(message)
}

/// Decodes the message of a frame; bytes left over are an error.
pub fn message<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, FrameError> {
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Ok(message),
        _ => Err(FrameError::BadMessage),
    }
}

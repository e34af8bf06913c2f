//! Names: short identifiers that are safe in an MQTT topic, a file name, a URL and a log line.
//!
//! 1 to 47 bytes of `A-Z a-z 0-9 . _ - :`, not starting with a dot. Held inline, so a name is `Copy` and
//! needs no allocator. On the wire a name is a postcard string.

use core::fmt;
use core::hash::{Hash, Hasher};
use core::str::FromStr;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest name, in bytes.
pub const MAX_NAME: usize = 47;

/// A short identifier; see the module for what it may hold.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    // Unused bytes stay zero, so the derived comparisons are those of the text.
    bytes: [u8; MAX_NAME],
    len: u8,
}

/// Why a text is not a [`Name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// No bytes at all.
    Empty,
    /// More than [`MAX_NAME`] bytes; holds the length found.
    TooLong(usize),
    /// A byte that a name may not hold, with its position.
    BadByte {
        /// Where, in bytes from the start.
        position: usize,
        /// What was found there.
        byte: u8,
    },
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "empty name; use 1 to {MAX_NAME} of A-Z a-z 0-9 . _ - :"),
            Self::TooLong(len) => write!(f, "name of {len} bytes; at most {MAX_NAME} are allowed"),
            Self::BadByte { position, byte } => write!(
                f,
                "byte 0x{byte:02x} at position {position}; a name holds A-Z a-z 0-9 . _ - : and does not start with a dot"
            ),
        }
    }
}

impl core::error::Error for NameError {}

impl Name {
    /// Checks `text` and holds a copy of it.
    pub const fn new(text: &str) -> Result<Self, NameError> {
        let from = text.as_bytes();
        if from.is_empty() {
            return Err(NameError::Empty);
        }
        if from.len() > MAX_NAME {
            return Err(NameError::TooLong(from.len()));
        }
        let mut bytes = [0; MAX_NAME];
        let mut i = 0;
        while i < from.len() {
            let byte = from[i];
            let allowed = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b':') || (byte == b'.' && i > 0);
            if !allowed {
                return Err(NameError::BadByte { position: i, byte });
            }
            bytes[i] = byte;
            i += 1;
        }
        Ok(Self { bytes, len: from.len() as u8 })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        // Only ASCII ever gets in, so the fallback is unreachable; it keeps this free of panics.
        core::str::from_utf8(self.as_bytes()).unwrap_or("")
    }

    /// The bytes of that text, which need not be checked to be one: for what is done a million times a second.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }
}

impl Hash for Name {
    /// Of the text: most names are a fraction of the longest, and every batch looks for its devices.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.as_bytes());
        state.write_u8(self.len);
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Name;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "1 to {MAX_NAME} bytes of A-Z a-z 0-9 . _ - :")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Name, E> {
                Name::new(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

//! Bytes that break the standard: which reason code that has, and which rule they break.

use std::fmt;

use super::packet::Version;

/// What the reason code says of it (section 2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It cannot be parsed.
    Malformed,
    /// It can, and may not be sent.
    Protocol,
    /// A protocol level that is neither 4 (3.1.1) nor 5.
    Version,
    /// No client id, and no clean session; MQTT 3.1.1 only.
    ClientId,
    /// Larger than the limit.
    TooLarge,
    /// A topic alias of 0.
    TopicAlias,
}

impl Fault {
    /// The reason code of MQTT 5.
    pub const fn code(self) -> u8 {
        match self {
            Self::Malformed => 0x81,
            Self::Protocol => 0x82,
            Self::Version => 0x84,
            Self::ClientId => 0x85,
            Self::TopicAlias => 0x94,
            Self::TooLarge => 0x95,
        }
    }

    /// The return code of a CONNACK in the version of the client; `None` if it gets none, because the connection just
    /// closes (3.1.1, section 3.2.2.3).
    pub const fn connack_code(self, version: Version) -> Option<u8> {
        match (version, self) {
            (Version::V5, _) => Some(self.code()),
            (Version::V4, Self::Version) => Some(1),
            (Version::V4, Self::ClientId) => Some(2),
            (Version::V4, _) => None,
        }
    }
}

/// Why a packet is refused by itself, whatever came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The kind, which has a reason code.
    pub fault: Fault,
    /// The rule that is broken, for the reason string; at most 80 bytes.
    pub rule: &'static str,
}

impl Malformed {
    pub(super) const fn new(rule: &'static str) -> Self {
        Self { fault: Fault::Malformed, rule }
    }

    pub(super) const fn protocol(rule: &'static str) -> Self {
        Self { fault: Fault::Protocol, rule }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule)
    }
}

impl std::error::Error for Malformed {}

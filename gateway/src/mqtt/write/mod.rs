//! Packets out: what the gateway tells a client, in the version of the client.
//!
//! What it guarantees: no packet is larger than the client takes: reason strings are left out then, and so is a message,
//! which the caller is told. A client that wants no reason strings gets none where it may say so. What 3.1.1 has no place
//! for is left out.
//!
//! Formats: chapter 3. Packets are appended to one buffer and leave with one write.

mod connack;
mod publish;
#[cfg(test)]
mod tests;

use bytes::{BufMut, BytesMut};

use super::packet::Version;
use super::properties::REASON_STRING;
pub use connack::ConnAck;
pub use publish::Message;

/// Writes to one client.
#[derive(Clone, Copy, Debug)]
pub struct Writer {
    /// The version that the client speaks.
    pub version: Version,
    /// Whether it wants reason strings; only MQTT 5 has them.
    pub reasons: bool,
    /// The largest packet that it takes, in bytes.
    pub max_packet: u32,
}

/// A packet would be larger than the client takes; nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

/// What a message is answered with (sections 3.4 to 3.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckKind {
    /// PUBACK.
    PubAck,
    /// PUBREC.
    PubRec,
    /// PUBREL.
    PubRel,
    /// PUBCOMP.
    PubComp,
}

impl AckKind {
    const fn first(self) -> u8 {
        match self {
            Self::PubAck => 0x40,
            Self::PubRec => 0x50,
            Self::PubRel => 0x62,
            Self::PubComp => 0x70,
        }
    }
}

impl Writer {
    /// PUBACK, PUBREC, PUBREL or PUBCOMP: success.
    pub fn acknowledge(self, out: &mut BytesMut, kind: AckKind, id: u16) {
        let [high, low] = id.to_be_bytes();
        out.put_slice(&[kind.first(), 2, high, low]);
    }

    /// The same with a reason code and a sentence of at most [`MAX_REASON`] bytes; on 3.1.1, which has none, a plain one.
    pub fn acknowledge_with(self, out: &mut BytesMut, kind: AckKind, id: u16, reason: u8, text: &str) {
        let [high, low] = id.to_be_bytes();
        match self.version {
            Version::V4 => self.acknowledge(out, kind, id),
            // Section 3.4.2.2.1: without properties their length may be left out.
            Version::V5 => self.with_reason(out, kind.first(), &[high, low, reason], text, Tail::None),
        }
    }

    /// SUBACK; one code for each filter. 3.1.1 knows one failure, 0x80.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn subscribed(self, out: &mut BytesMut, id: u16, codes: &[u8]) -> Result<(), TooLarge> {
        self.listed(out, 0x90, id, codes)?;
        if self.version == Version::V4 {
            let first = out.len() - codes.len();
            out[first..].iter_mut().filter(|code| **code > 0x80).for_each(|code| *code = 0x80);
        }
        Ok(())
    }

    /// UNSUBACK; one code for each filter, which 3.1.1 leaves out.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn unsubscribed(self, out: &mut BytesMut, id: u16, codes: &[u8]) -> Result<(), TooLarge> {
        self.listed(out, 0xb0, id, if self.version == Version::V4 { &[] } else { codes })
    }

    /// PINGRESP.
    pub fn pong(self, out: &mut BytesMut) {
        out.put_slice(&[0xd0, 0]);
    }

    /// DISCONNECT with a reason code and a sentence of at most [`MAX_REASON`] bytes; 3.1.1 servers have none and just close.
    pub fn disconnect(self, out: &mut BytesMut, reason: u8, text: &str) {
        if self.version == Version::V5 {
            self.told(out, 0xe0, &[reason], text, Tail::None);
        }
    }

    fn listed(self, out: &mut BytesMut, first: u8, id: u16, codes: &[u8]) -> Result<(), TooLarge> {
        let properties = usize::from(self.version == Version::V5);
        let remaining = 2 + properties + codes.len();
        self.fits(remaining)?;
        out.put_u8(first);
        put_variable(out, remaining);
        out.put_u16(id);
        out.put_bytes(0, properties);
        out.put_slice(codes);
        Ok(())
    }

    /// A packet with a reason string if the client asked for them and it fits ([MQTT-3.1.2-29]).
    fn with_reason(self, out: &mut BytesMut, first: u8, head: &[u8], text: &str, tail: Tail) {
        let text = if self.reasons { text } else { "" };
        self.told(out, first, head, text, tail);
    }

    /// A packet of MQTT 5 that ends with a reason string as its only property, if it fits. CONNACK and DISCONNECT may have
    /// one whatever the client asked for.
    fn told(self, out: &mut BytesMut, first: u8, head: &[u8], text: &str, tail: Tail) {
        debug_assert!(text.len() <= MAX_REASON, "{text}");
        let property = 3 + text.len();
        let remaining = head.len() + variable_length(property) + property;
        out.put_u8(first);
        if text.is_empty() || self.fits(remaining).is_err() {
            let empty = usize::from(tail == Tail::Length);
            put_variable(out, head.len() + empty);
            out.put_slice(head);
            return out.put_bytes(0, empty);
        }
        put_variable(out, remaining);
        out.put_slice(head);
        put_variable(out, property);
        out.put_u8(REASON_STRING);
        put_text(out, text);
    }

    /// Whether a packet with that many bytes behind its fixed header is one that the client takes ([MQTT-3.1.2-24]).
    fn fits(self, remaining: usize) -> Result<(), TooLarge> {
        let whole = 1 + variable_length(remaining) + remaining;
        if whole as u64 <= u64::from(self.max_packet) && remaining <= MAX_REMAINING { Ok(()) } else { Err(TooLarge) }
    }
}

/// What stands for no properties at the end of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tail {
    /// Nothing.
    None,
    /// A length of 0.
    Length,
}

/// The longest reason string, in bytes.
pub const MAX_REASON: usize = 200;
/// The most bytes behind a fixed header (section 1.5.5).
const MAX_REMAINING: usize = 268_435_455;

/// How many bytes a variable byte integer takes.
const fn variable_length(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

/// A variable byte integer (section 1.5.5) of at most [`MAX_REMAINING`].
fn put_variable(out: &mut BytesMut, mut value: usize) {
    while value >= 0x80 {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// A string with its length (section 1.5.4); callers have bounded it.
fn put_text(out: &mut BytesMut, text: &str) {
    debug_assert!(text.len() <= usize::from(u16::MAX));
    out.put_u16(text.len() as u16);
    out.put_slice(text.as_bytes());
}

//! The first bytes of a packet: its type, its flags and its length (section 2.1).
//!
//! What it guarantees: a packet that may not be sent, or is too large, is refused by its first bytes and not waited for.

use super::malformed::{Fault, Malformed};
use super::packet::Version;

/// What follows, by the first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Connect,
    Publish,
    PubAck,
    PubRec,
    PubRel,
    PubComp,
    Subscribe,
    Unsubscribe,
    PingReq,
    Disconnect,
    Auth,
}

/// A fixed header that is all there.
#[derive(Clone, Copy, Debug)]
pub(super) struct FixedHeader {
    pub(super) kind: Kind,
    /// The low four bits of the first byte; they mean something in PUBLISH alone.
    pub(super) flags: u8,
    /// Bytes of the header itself, 2 to 5.
    pub(super) length: usize,
    /// Bytes behind it.
    pub(super) remaining: usize,
}

/// Reads a fixed header; `None` if it is not all there yet. Of what follows it, `limit` says how many bytes there may be.
pub(super) fn fixed_header(
    stream: &[u8],
    version: Version,
    limit: impl Fn(Kind) -> usize,
) -> Result<Option<FixedHeader>, Malformed> {
    let Some(&first) = stream.first() else { return Ok(None) };
    let kind = kind(first, version)?;
    let mut remaining = 0_usize;
    for index in 1..=4 {
        let Some(byte) = stream.get(index) else { return Ok(None) };
        remaining |= usize::from(byte & 0x7f) << (7 * (index - 1));
        if byte & 0x80 != 0 {
            continue;
        }
        // [MQTT-1.5.5-1]; 3.1.1 does not ask for the shortest form.
        if version == Version::V5 && *byte == 0 && index > 1 {
            return Err(Malformed::new("the remaining length is not in its shortest form"));
        }
        if remaining > limit(kind) {
            return Err(Malformed { fault: Fault::TooLarge, rule: "larger than the limit for such a packet" });
        }
        return Ok(Some(FixedHeader { kind, flags: first & 0x0f, length: index + 1, remaining }));
    }
    Err(Malformed::new("the remaining length has more than four bytes"))
}

fn kind(first: u8, version: Version) -> Result<Kind, Malformed> {
    let kind = match first >> 4 {
        1 => Kind::Connect,
        3 => return Ok(Kind::Publish),
        4 => Kind::PubAck,
        5 => Kind::PubRec,
        6 => Kind::PubRel,
        7 => Kind::PubComp,
        8 => Kind::Subscribe,
        10 => Kind::Unsubscribe,
        12 => Kind::PingReq,
        14 => Kind::Disconnect,
        15 if version == Version::V5 => Kind::Auth,
        0 | 15 => return Err(Malformed::new("a packet type that is reserved")),
        _ => return Err(Malformed::protocol("a packet that only a server sends")),
    };
    let expected = if matches!(kind, Kind::PubRel | Kind::Subscribe | Kind::Unsubscribe) { 0b0010 } else { 0 };
    // [MQTT-2.1.3-1]
    if first & 0x0f == expected { Ok(kind) } else { Err(Malformed::new("reserved flags of the fixed header")) }
}

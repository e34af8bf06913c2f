//! Packets in: bytes of a client to a [`Packet`], for MQTT 3.1.1 and 5.
//!
//! What it guarantees: a packet is taken off the stream when it is all there, and only then costs anything; topics,
//! payloads and properties are slices of the stream's own block. A packet that breaks a rule which can be seen in it
//! alone is refused with the code that the standard gives for it.

mod acknowledgements;
mod connect;
mod disconnect;
mod publish;
mod subscribe;
#[cfg(test)]
mod tests;

use bytes::{Bytes, BytesMut};
use weir_protocol::batch::MAX_PAYLOAD;

use super::fixed_header::{FixedHeader, Kind, fixed_header};
use super::input::Input;
use super::malformed::{Fault, Malformed};
use super::packet::{Connect, Packet, Version};
use acknowledgements::{PUBACK, PUBCOMP, PUBREC, PUBREL};

/// The largest packet that a client may send, in bytes behind its fixed header: a payload, its topic and some properties.
pub const MAX_PACKET: usize = MAX_PAYLOAD + 1024;
/// The largest CONNECT, in bytes: names, and a will of one status.
pub const MAX_CONNECT: usize = 8 * 1024;
/// The largest packet that is no PUBLISH, in bytes: decoding one takes several times its length, so a long list of
/// short filters may not be long.
pub const MAX_CONTROL: usize = 8 * 1024;

/// A CONNECT and the version that it says, once it is all there.
pub type Opened = Option<(Version, Box<Connect>)>;

/// Takes the CONNECT off the front of `stream`, which says itself what version it is; `None` if it is not all there yet.
///
/// # Errors
/// With the version in which the client may be answered.
pub fn read_connect(stream: &mut BytesMut) -> Result<Opened, (Version, Malformed)> {
    // [MQTT-3.1.0-1]
    if stream.first().is_some_and(|first| first >> 4 != 1) {
        return Err((Version::V4, Malformed::protocol("a CONNECT comes first")));
    }
    let header = fixed_header(stream, Version::V4, |_| MAX_CONNECT).map_err(|malformed| (Version::V4, malformed))?;
    let Some(header) = header else { return Ok(None) };
    let behind = &stream[header.length..];
    let version = match connect::level(&behind[..behind.len().min(header.remaining)]) {
        None if behind.len() < connect::LEVEL_WITHIN.min(header.remaining) => return Ok(None),
        None => return Err((Version::V4, Malformed::new("the protocol name is not MQTT"))),
        Some(4) => Version::V4,
        Some(5) => Version::V5,
        // A level from the future understands an answer of 5 at best; the past one of 3.1.1.
        Some(level) => {
            let version = if level > 5 { Version::V5 } else { Version::V4 };
            return Err((version, Malformed { fault: Fault::Version, rule: "use MQTT 3.1.1 (level 4) or 5" }));
        }
    };
    match read(stream, version, MAX_CONNECT) {
        Ok(Some(Packet::Connect(connect))) => Ok(Some((version, connect))),
        Ok(_) => Ok(None),
        Err(malformed) => Err((version, malformed)),
    }
}

/// Takes the next packet off the front of `stream`; `None` if it is not all there yet. A PUBLISH may have `limit` bytes
/// behind its fixed header.
///
/// # Errors
/// [`Malformed`]; the stream is of no more use.
pub fn read(stream: &mut BytesMut, version: Version, limit: usize) -> Result<Option<Packet>, Malformed> {
    let most = |kind| match kind {
        Kind::Publish => limit,
        Kind::Connect => MAX_CONNECT.min(limit),
        _ => MAX_CONTROL.min(limit),
    };
    let Some(header) = fixed_header(stream, version, most)? else { return Ok(None) };
    if stream.len() < header.length + header.remaining {
        return Ok(None);
    }
    let mut bytes = stream.split_to(header.length + header.remaining).freeze();
    bytes::Buf::advance(&mut bytes, header.length);
    packet(header, bytes, version).map(Some)
}

fn packet(header: FixedHeader, bytes: Bytes, version: Version) -> Result<Packet, Malformed> {
    let mut input = Input::new(&bytes);
    let packet = match header.kind {
        Kind::Publish => return publish::read(header.flags, &bytes, version),
        Kind::Connect => Packet::Connect(Box::new(connect::read(&mut input)?)),
        Kind::PubAck => Packet::PubAck(acknowledgements::read(&mut input, version, PUBACK)?),
        Kind::PubRec => Packet::PubRec(acknowledgements::read(&mut input, version, PUBREC)?),
        Kind::PubRel => Packet::PubRel(acknowledgements::read(&mut input, version, PUBREL)?),
        Kind::PubComp => Packet::PubComp(acknowledgements::read(&mut input, version, PUBCOMP)?),
        Kind::Subscribe => Packet::Subscribe(subscribe::read(&mut input, version)?),
        Kind::Unsubscribe => Packet::Unsubscribe(subscribe::read_unsubscribe(&mut input, version)?),
        Kind::PingReq => Packet::PingReq,
        Kind::Disconnect => Packet::Disconnect(disconnect::read(&mut input, version)?),
        // Whatever it says, nobody here speaks it.
        Kind::Auth => return Ok(Packet::Auth),
    };
    input.finish()?;
    Ok(packet)
}

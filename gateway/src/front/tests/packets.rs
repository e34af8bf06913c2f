//! Packets of clients, byte by byte, in both versions.

use crate::mqtt::packet::Version;

/// A packet: its first byte and its content.
pub(super) fn packet(first: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    let mut length = content.len();
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(content);
    out
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

/// Properties of MQTT 5 with their length, which are few; nothing in 3.1.1.
fn properties(version: Version, bytes: &[u8]) -> Vec<u8> {
    if version == Version::V4 { Vec::new() } else { [&[bytes.len() as u8], bytes].concat() }
}

/// CONNECT of `client`; a session that is `durable` outlives its connection by an hour.
pub(super) fn connect(version: Version, client: &str, clean: bool, durable: bool) -> Vec<u8> {
    let level = if version == Version::V4 { 4 } else { 5 };
    let expiry: &[u8] = if durable { &[0x11, 0, 0, 14, 16] } else { &[] };
    let head = [b"\x00\x04MQTT", &[level, u8::from(clean) << 1, 0, 0][..]].concat();
    packet(0x10, &[head, properties(version, expiry), text(client)].concat())
}

/// PUBLISH with the flags that `first` has.
pub(super) fn publish(version: Version, first: u8, topic: &str, id: u16, more: &[u8], payload: &[u8]) -> Vec<u8> {
    let id = if first & 6 == 0 { Vec::new() } else { id.to_be_bytes().to_vec() };
    packet(first, &[text(topic), id, properties(version, more), payload.to_vec()].concat())
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP, as `first` says.
pub(super) fn acknowledgement(first: u8, id: u16) -> Vec<u8> {
    packet(first, &id.to_be_bytes())
}

/// SUBSCRIBE to one filter.
pub(super) fn subscribe(version: Version, id: u16, filter: &str, options: u8) -> Vec<u8> {
    packet(0x82, &[id.to_be_bytes().to_vec(), properties(version, &[]), text(filter), vec![options]].concat())
}

/// UNSUBSCRIBE from one filter.
pub(super) fn unsubscribe(version: Version, id: u16, filter: &str) -> Vec<u8> {
    packet(0xa2, &[id.to_be_bytes().to_vec(), properties(version, &[]), text(filter)].concat())
}

/// The length of the packet in front, if it is whole.
pub(super) fn whole(bytes: &[u8]) -> Option<usize> {
    let mut length = 0;
    for (index, byte) in bytes.get(1..)?.iter().enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let whole = index + 2 + length;
            return (bytes.len() >= whole).then_some(whole);
        }
    }
    None
}

/// What is behind the fixed header of a whole packet.
pub(super) fn body(packet: &[u8]) -> &[u8] {
    &packet[2 + packet[1..].iter().take_while(|byte| **byte & 0x80 != 0).count()..]
}

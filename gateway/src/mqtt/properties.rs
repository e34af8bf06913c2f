//! Properties of MQTT 5 (section 2.2.2).
//!
//! What it guarantees: a property that is not of this packet is refused, and so is one that comes twice; only user
//! properties may, and subscription identifiers in what we send.

use bytes::{Bytes, BytesMut};

use super::input::Input;
use super::malformed::Malformed;
use super::topic;

pub(super) const PAYLOAD_FORMAT: u8 = 0x01;
pub(super) const MESSAGE_EXPIRY: u8 = 0x02;
pub(super) const CONTENT_TYPE: u8 = 0x03;
pub(super) const RESPONSE_TOPIC: u8 = 0x08;
pub(super) const CORRELATION_DATA: u8 = 0x09;
pub(super) const SUBSCRIPTION_IDENTIFIER: u8 = 0x0b;
pub(super) const SESSION_EXPIRY: u8 = 0x11;
pub(super) const ASSIGNED_CLIENT_ID: u8 = 0x12;
pub(super) const SERVER_KEEP_ALIVE: u8 = 0x13;
pub(super) const AUTHENTICATION_METHOD: u8 = 0x15;
pub(super) const AUTHENTICATION_DATA: u8 = 0x16;
pub(super) const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
pub(super) const WILL_DELAY: u8 = 0x18;
pub(super) const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
pub(super) const RESPONSE_INFORMATION: u8 = 0x1a;
pub(super) const REASON_STRING: u8 = 0x1f;
pub(super) const RECEIVE_MAXIMUM: u8 = 0x21;
pub(super) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
pub(super) const TOPIC_ALIAS: u8 = 0x23;
pub(super) const USER_PROPERTY: u8 = 0x26;
pub(super) const MAXIMUM_PACKET_SIZE: u8 = 0x27;
pub(super) const SHARED_SUBSCRIPTION_AVAILABLE: u8 = 0x2a;

/// A property that this packet may not have, or nobody knows: section 2.2.2.2 calls that malformed.
pub(super) const NOT_HERE: Malformed = Malformed::new("a property that this packet may not have");

/// Takes the properties of a packet: `take` gets the id of each and what follows it.
pub(super) fn each(
    input: &mut Input<'_>,
    mut take: impl FnMut(u8, &mut Input<'_>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let length = input.variable()? as usize;
    let mut part = input.part(length)?;
    while !part.is_empty() {
        // An id is a variable byte integer, and all there are have one byte.
        let id = part.byte()?;
        take(id, &mut part)?;
    }
    Ok(())
}

/// Notes a property that may come once.
pub(super) fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), Malformed> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(TWICE),
    }
}

/// A user property, checked.
pub(super) fn user(input: &mut Input<'_>) -> Result<(), Malformed> {
    input.text()?;
    input.text().map(|_| ())
}

/// What a message carries to every subscriber, as it came and in its order, while the other properties of its packet are
/// taken out.
#[derive(Default)]
pub(super) struct Forwarded {
    /// A bit for each id that came and may come once.
    seen: u16,
    /// What came so far without a gap: from where to where in the packet.
    run: Option<(usize, usize)>,
    /// What came before that.
    before: BytesMut,
}

impl Forwarded {
    /// Takes the property `id`, whose id byte is taken already, if it is one of a message's own.
    pub(super) fn take(&mut self, id: u8, input: &mut Input<'_>) -> Result<(), Malformed> {
        let start = input.at() - 1;
        match id {
            PAYLOAD_FORMAT => input.flag().map(|_| ())?,
            CONTENT_TYPE => input.text().map(|_| ())?,
            // [MQTT-3.3.2-14]
            RESPONSE_TOPIC if !topic::is_name(input.text()?) => {
                return Err(Malformed::protocol("a response topic that is empty or has wildcards"));
            }
            RESPONSE_TOPIC => (),
            CORRELATION_DATA => input.binary().map(|_| ())?,
            USER_PROPERTY => user(input)?,
            _ => return Err(NOT_HERE),
        }
        if id != USER_PROPERTY {
            if self.seen & (1 << id) != 0 {
                return Err(TWICE);
            }
            self.seen |= 1 << id;
        }
        let run = match self.run {
            Some((first, end)) if end == start => first,
            // Another property lies in between: few senders do that, and theirs are copied.
            Some((first, end)) => {
                self.before.extend_from_slice(input.slice(first, end));
                start
            }
            None => start,
        };
        self.run = Some((run, input.at()));
        Ok(())
    }

    /// All of them.
    pub(super) fn finish(mut self, input: &Input<'_>) -> Bytes {
        match self.run {
            None => Bytes::new(),
            Some((first, end)) if self.before.is_empty() => input.shared(first, end),
            Some((first, end)) => {
                self.before.extend_from_slice(input.slice(first, end));
                self.before.freeze()
            }
        }
    }
}

const TWICE: Malformed = Malformed::protocol("a property that may come once came twice");

//! `session u64, qos u8, retain u8, delay u32, has expiry u8, expiry u32`, then topic, properties and payload (each length
//! u32, bytes): what is to be published if the client vanishes. Delay and expiry in seconds; the properties as they are
//! forwarded ([`crate::mqtt::packet::Properties`]).

use bytes::Bytes;

use super::{begin_of, begun_of};
use crate::keyed_log::fields::{Malformed, put_bytes};
use crate::mqtt::packet::{Properties, QoS, Will};

/// Replaces `out` by the value.
pub fn encode(number: u64, will: &Will, out: &mut Vec<u8>) {
    begin_of(out, number);
    out.extend([will.qos as u8, u8::from(will.retain)]);
    out.extend(will.delay.to_be_bytes());
    out.push(u8::from(will.properties.expiry.is_some()));
    out.extend(will.properties.expiry.unwrap_or(0).to_be_bytes());
    put_bytes(out, &will.topic);
    put_bytes(out, &will.properties.forwarded);
    put_bytes(out, &will.payload);
}

/// Reads one: the number of the session, and its will.
///
/// # Errors
/// [`Malformed`].
pub fn decode(value: &[u8]) -> Result<(u64, Will), Malformed> {
    let (number, mut input) = begun_of(value)?;
    let qos = match input.byte("qos")? {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        2 => QoS::ExactlyOnce,
        _ => return Err(Malformed::Field { field: "qos" }),
    };
    let retain = input.flag("retain")?;
    let delay = u32::from_be_bytes(input.take("delay")?);
    let has_expiry = input.flag("has expiry")?;
    let expiry = u32::from_be_bytes(input.take("expiry")?);
    let topic = Bytes::copy_from_slice(input.bytes("topic")?);
    let forwarded = Bytes::copy_from_slice(input.bytes("properties")?);
    let payload = Bytes::copy_from_slice(input.bytes("payload")?);
    input.end()?;
    let properties = Properties { expiry: has_expiry.then_some(expiry), forwarded };
    Ok((number, Will { topic, payload, qos, retain, delay, properties }))
}

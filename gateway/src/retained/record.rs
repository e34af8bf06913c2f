//! The records of `weir.retained`, version 1.
//!
//! ```text
//! key    version u8 = 1, tenant (length u16, UTF-8), topic (length u32, bytes)
//! value  version u8 = 1, qos u8, has expiry u8, expiry u32, clock i64, publisher (length u16, UTF-8),
//!        properties, payload (each length u32, bytes); none: the topic has no retained message
//! ```
//!
//! Numbers are big endian; expiry in seconds from the clock on ([`crate::keyed_log::clock`]); the properties as they are
//! forwarded ([`Properties`]); the record's timestamp is the wall clock. The checksum is that of the batch. Nothing follows the
//! last field, and a reader leaves alone what is of another version.

use bytes::Bytes;
use weir_protocol::Tenant;

use super::Message;
use crate::access::ClientId;
use crate::keyed_log::fields::{Input, Malformed, put_bytes, put_text};
use crate::mqtt::packet::{Properties, QoS};

const VERSION: u8 = 1;

/// Replaces `out` by the key of a topic of a tenant.
pub fn encode_key((tenant, topic): &(Tenant, Bytes), out: &mut Vec<u8>) {
    out.clear();
    out.push(VERSION);
    put_text(out, tenant.as_str());
    put_bytes(out, topic);
}

/// Replaces `out` by the value of a message.
pub fn encode(message: &Message, out: &mut Vec<u8>) {
    let Message { payload, qos, properties, publisher, clock_ms, .. } = message;
    out.clear();
    out.extend([VERSION, *qos as u8, u8::from(properties.expiry.is_some())]);
    out.extend(properties.expiry.unwrap_or(0).to_be_bytes());
    out.extend(clock_ms.to_be_bytes());
    put_text(out, publisher.as_str());
    put_bytes(out, &properties.forwarded);
    put_bytes(out, payload);
}

/// Reads a record: whose topic, and what it has.
///
/// # Errors
/// [`Malformed`].
pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<((Tenant, Bytes), Option<Message>), Malformed> {
    let mut input = Input(key);
    input.version(VERSION)?;
    let tenant = Tenant::new(input.text("tenant")?).map_err(|_| Malformed::Field { field: "tenant" })?;
    let topic = Bytes::copy_from_slice(input.bytes("topic")?);
    input.end()?;
    let message = value.map(|value| decode_message(topic.clone(), value)).transpose()?;
    Ok(((tenant, topic), message))
}

fn decode_message(topic: Bytes, value: &[u8]) -> Result<Message, Malformed> {
    let mut input = Input(value);
    input.version(VERSION)?;
    let qos = match input.byte("qos")? {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        2 => QoS::ExactlyOnce,
        _ => return Err(Malformed::Field { field: "qos" }),
    };
    let has_expiry = input.flag("has expiry")?;
    let expiry = u32::from_be_bytes(input.take("expiry")?);
    let clock_ms = i64::from_be_bytes(input.take("clock")?);
    let publisher = ClientId::new(input.text("publisher")?).map_err(|_| Malformed::Field { field: "publisher" })?;
    let forwarded = Bytes::copy_from_slice(input.bytes("properties")?);
    let payload = Bytes::copy_from_slice(input.bytes("payload")?);
    input.end()?;
    let properties = Properties { expiry: has_expiry.then_some(expiry), forwarded };
    Ok(Message { topic, payload, qos, properties, publisher, clock_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Version 1 as it is on disks. Never edited: another version is another number.
    #[test]
    fn version_1_is_what_it_was() {
        let key = (Tenant::new("mill").expect("a name"), Bytes::from_static(b"a/b"));
        let message = Message {
            topic: key.1.clone(),
            payload: Bytes::from_static(b"on"),
            qos: QoS::AtLeastOnce,
            properties: Properties { expiry: Some(60), forwarded: Bytes::from_static(b"\x01\x01") },
            publisher: ClientId::new("pump/1").expect("a client id"),
            clock_ms: 5000,
        };
        let pinned_key = b"\x01\x00\x04mill\x00\x00\x00\x03a/b";
        let pinned = b"\x01\x01\x01\x00\x00\x00\x3c\x00\x00\x00\x00\x00\x00\x13\x88\x00\x06pump/1\x00\x00\x00\x02\x01\x01\x00\x00\x00\x02on";
        let mut bytes = Vec::new();
        encode_key(&key, &mut bytes);
        assert_eq!(bytes, pinned_key);
        encode(&message, &mut bytes);
        assert_eq!(bytes, pinned);
        assert_eq!(decode(pinned_key, Some(pinned)), Ok((key.clone(), Some(message))));
        assert_eq!(decode(pinned_key, None), Ok((key, None)));
        for end in 0..pinned_key.len() {
            assert!(decode(&pinned_key[..end], None).is_err());
        }
        for end in 0..pinned.len() {
            assert!(decode(pinned_key, Some(&pinned[..end])).is_err());
        }
        assert!(decode(pinned_key, Some(&[&pinned[..], b"x"].concat())).is_err());
        assert_eq!(decode(b"\x02", None), Err(Malformed::Version { got: 2, expected: 1 }));
    }
}

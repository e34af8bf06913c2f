//! PUBLISH (section 3.3): the packet that there are many of.

use bytes::Bytes;

use super::super::input::Input;
use super::super::malformed::{Fault, Malformed};
use super::super::packet::{Packet, Properties, Publish, QoS, Version};
use super::super::properties::{self as property, Forwarded, each, once};
use super::super::topic;

/// Flags of section 3.3.1.
const RETAIN: u8 = 0x01;
const DUP: u8 = 0x08;

pub(super) fn read(flags: u8, bytes: &Bytes, version: Version) -> Result<Packet, Malformed> {
    let qos = match (flags >> 1) & 3 {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        2 => QoS::ExactlyOnce,
        // [MQTT-3.3.1-4]
        _ => return Err(Malformed::new("a PUBLISH with QoS 3")),
    };
    let dup = flags & DUP != 0;
    // [MQTT-3.3.1-2]
    if dup && qos == QoS::AtMostOnce {
        return Err(Malformed::new("a PUBLISH with DUP at QoS 0"));
    }
    let mut input = Input::new(bytes);
    let topic = input.text()?;
    let topic_end = input.at();
    let id = if qos == QoS::AtMostOnce { 0 } else { input.packet_id()? };
    let (alias, properties) = match version {
        Version::V4 => (None, Properties::default()),
        Version::V5 => read_properties(&mut input)?,
    };
    // [MQTT-3.3.2-1], [MQTT-3.3.2-2]
    if topic.is_empty() {
        if alias.is_none() {
            return Err(Malformed::protocol("a PUBLISH with neither a topic nor an alias"));
        }
    } else if topic.bytes().any(topic::is_wildcard) {
        return Err(Malformed::new("a PUBLISH on a topic with wildcards"));
    }
    Ok(Packet::Publish(Box::new(Publish {
        dup,
        qos,
        retain: flags & RETAIN != 0,
        topic: input.shared(2, topic_end),
        id,
        alias,
        payload: input.rest(),
        properties,
    })))
}

fn read_properties(input: &mut Input<'_>) -> Result<(Option<u16>, Properties), Malformed> {
    let (mut alias, mut expiry, mut forwarded) = (None, None, Forwarded::default());
    each(input, |id, value| match id {
        property::MESSAGE_EXPIRY => once(&mut expiry, value.four()?),
        property::TOPIC_ALIAS => match value.two()? {
            // [MQTT-3.3.2-8]
            0 => Err(Malformed { fault: Fault::TopicAlias, rule: "a topic alias of 0" }),
            number => once(&mut alias, number),
        },
        // [MQTT-3.3.4-6]
        property::SUBSCRIPTION_IDENTIFIER => Err(Malformed::protocol("a subscription identifier from a client")),
        _ => forwarded.take(id, value),
    })?;
    let forwarded = forwarded.finish(input);
    Ok((alias, Properties { expiry, forwarded }))
}

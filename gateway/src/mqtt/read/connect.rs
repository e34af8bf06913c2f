//! CONNECT (section 3.1).

use bytes::Bytes;

use super::super::input::Input;
use super::super::malformed::{Fault, Malformed};
use super::super::packet::{Connect, Properties, QoS, Version, Will};
use super::super::properties::{self as property, Forwarded, each, once};
use super::super::topic;

/// In how many bytes behind the fixed header the protocol level is found.
pub(super) const LEVEL_WITHIN: usize = 9;

/// The protocol level, from the bytes behind the fixed header; MQTT 3.1 called itself MQIsdp.
pub(super) fn level(behind: &[u8]) -> Option<u8> {
    let rest = behind.strip_prefix(b"\x00\x04MQTT");
    rest.or_else(|| behind.strip_prefix(b"\x00\x06MQIsdp"))?.first().copied()
}

/// Flags of section 3.1.2.3.
const RESERVED: u8 = 0x01;
const CLEAN_START: u8 = 0x02;
const WILL: u8 = 0x04;
const WILL_QOS: u8 = 0x18;
const WILL_RETAIN: u8 = 0x20;
const PASSWORD: u8 = 0x40;
const USERNAME: u8 = 0x80;

/// Reads one whose level is that of 3.1.1 or 5.
pub(super) fn read(input: &mut Input<'_>) -> Result<Connect, Malformed> {
    input.text()?;
    let version = if input.byte()? == 5 { Version::V5 } else { Version::V4 };
    let flags = input.byte()?;
    check(flags, version)?;
    let keep_alive = input.two()?;
    let clean_start = flags & CLEAN_START != 0;
    let properties = match version {
        Version::V4 => {
            Optional { session_expiry: if clean_start { None } else { Some(u32::MAX) }, ..Optional::default() }
        }
        Version::V5 => Optional::read(input)?,
    };
    let client_id = input.text()?.to_owned();
    // [MQTT-3.1.3-8] of 3.1.1; 5 lets the server choose a name for any session.
    if version == Version::V4 && client_id.is_empty() && !clean_start {
        return Err(Malformed { fault: Fault::ClientId, rule: "an empty client id asks for a clean session" });
    }
    let will = if flags & WILL == 0 { None } else { Some(Box::new(will(input, flags, version)?)) };
    Ok(Connect {
        client_id,
        clean_start,
        keep_alive,
        session_expiry: properties.session_expiry.unwrap_or(0),
        receive_maximum: properties.receive_maximum.unwrap_or(u16::MAX),
        max_packet: properties.max_packet.unwrap_or(u32::MAX),
        topic_alias_maximum: properties.topic_alias_maximum.unwrap_or(0),
        request_response_information: properties.request_response_information.unwrap_or(false),
        request_problem_information: properties.request_problem_information.unwrap_or(true),
        authentication_method: properties.authentication_method,
        username: if flags & USERNAME == 0 { None } else { Some(input.text()?.to_owned()) },
        password: if flags & PASSWORD == 0 { None } else { Some(input.binary()?) },
        will,
    })
}

fn check(flags: u8, version: Version) -> Result<(), Malformed> {
    // [MQTT-3.1.2-3]
    if flags & RESERVED != 0 {
        return Err(Malformed::new("the reserved flag of CONNECT"));
    }
    // [MQTT-3.1.2-11], [MQTT-3.1.2-13]
    if flags & WILL == 0 && flags & (WILL_QOS | WILL_RETAIN) != 0 {
        return Err(Malformed::new("flags of a will without a will"));
    }
    // [MQTT-3.1.2-12]
    if flags & WILL_QOS == WILL_QOS {
        return Err(Malformed::new("a will with QoS 3"));
    }
    // [MQTT-3.1.2-22] of 3.1.1; 5 allows it.
    if version == Version::V4 && flags & (USERNAME | PASSWORD) == PASSWORD {
        return Err(Malformed::new("a password without a user name"));
    }
    Ok(())
}

/// Properties of CONNECT (section 3.1.2.11), as far as they came.
#[derive(Default)]
struct Optional {
    session_expiry: Option<u32>,
    receive_maximum: Option<u16>,
    max_packet: Option<u32>,
    topic_alias_maximum: Option<u16>,
    request_response_information: Option<bool>,
    request_problem_information: Option<bool>,
    authentication_method: Option<String>,
}

impl Optional {
    fn read(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let mut all = Self::default();
        let mut authentication_data = None;
        each(input, |id, value| match id {
            property::SESSION_EXPIRY => once(&mut all.session_expiry, value.four()?),
            property::RECEIVE_MAXIMUM => match value.two()? {
                0 => Err(Malformed::protocol("a receive maximum of 0")),
                most => once(&mut all.receive_maximum, most),
            },
            property::MAXIMUM_PACKET_SIZE => match value.four()? {
                0 => Err(Malformed::protocol("a maximum packet size of 0")),
                most => once(&mut all.max_packet, most),
            },
            property::TOPIC_ALIAS_MAXIMUM => once(&mut all.topic_alias_maximum, value.two()?),
            property::REQUEST_RESPONSE_INFORMATION => once(&mut all.request_response_information, value.flag()?),
            property::REQUEST_PROBLEM_INFORMATION => once(&mut all.request_problem_information, value.flag()?),
            property::USER_PROPERTY => property::user(value),
            property::AUTHENTICATION_METHOD => once(&mut all.authentication_method, value.text()?.to_owned()),
            property::AUTHENTICATION_DATA => once(&mut authentication_data, value.binary()?),
            _ => Err(property::NOT_HERE),
        })?;
        if authentication_data.is_some() && all.authentication_method.is_none() {
            return Err(Malformed::protocol("authentication data without a method"));
        }
        Ok(all)
    }
}

/// A will: properties, topic and payload (section 3.1.3.2).
fn will(input: &mut Input<'_>, flags: u8, version: Version) -> Result<Will, Malformed> {
    let (mut delay, mut expiry, mut forwarded) = (None, None, Forwarded::default());
    if version == Version::V5 {
        each(input, |id, value| match id {
            property::WILL_DELAY => once(&mut delay, value.four()?),
            property::MESSAGE_EXPIRY => once(&mut expiry, value.four()?),
            _ => forwarded.take(id, value),
        })?;
    }
    let forwarded = forwarded.finish(input);
    let start = input.at() + 2;
    if !topic::is_name(input.text()?) {
        return Err(Malformed::new("the topic of the will is empty or has wildcards"));
    }
    let topic: Bytes = input.shared(start, input.at());
    Ok(Will {
        topic,
        payload: input.binary()?,
        qos: match flags & WILL_QOS {
            0x00 => QoS::AtMostOnce,
            0x08 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        },
        retain: flags & WILL_RETAIN != 0,
        delay: delay.unwrap_or(0),
        properties: Properties { expiry, forwarded },
    })
}

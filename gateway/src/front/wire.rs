//! Packets in: bytes of MQTT 3.1.1 and 5 become one kind of [`Packet`].
//!
//! What it guarantees: a length prefix beyond the limit is refused before its bytes are buffered; nothing a
//! client sends can panic; after an error the stream is not read on. Decoding is that of `rumqttc`'s codecs;
//! only what differs between the versions is looked at here.

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::v4;
use rumqttc::mqttbytes::{Error as V4Error, QoS as V4QoS};
use rumqttc::v5::mqttbytes::v5;
use rumqttc::v5::mqttbytes::{Error as V5Error, QoS as V5QoS};
use weir_protocol::batch::MAX_PAYLOAD;

use super::refusal::Refusal;

/// The largest packet that a client may send, in bytes: a payload, its topic and some properties.
pub const MAX_PACKET: usize = MAX_PAYLOAD + 1024;
/// The largest CONNECT, in bytes: names, and a will of one status.
pub const MAX_CONNECT: usize = 8 * 1024;
/// The largest packet that is no PUBLISH, in bytes: decoding one takes several times its length, so a long list of
/// short filters may not be long.
pub const MAX_CONTROL: usize = 8 * 1024;

/// The version of MQTT that a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 3.1.1.
    V4,
    /// 5.
    V5,
}

/// What a client sends.
#[derive(Debug)]
pub enum Packet {
    /// Opens the session.
    Connect(Box<Connect>),
    /// Carries a payload.
    Publish(Publish),
    /// Asks for topics; filters with their QoS.
    Subscribe {
        /// The packet id that the answer carries.
        pkid: u16,
        /// Filters and the QoS asked for.
        filters: Vec<(String, u8)>,
    },
    /// Asks for topics no more.
    Unsubscribe {
        /// The packet id that the answer carries.
        pkid: u16,
        /// The filters.
        filters: Vec<String>,
    },
    /// Acknowledges what we published.
    PubAck {
        /// The packet id that we gave.
        pkid: u16,
    },
    /// Asks whether we are there.
    PingReq,
    /// Closes the session; `with_will` if the will shall be published all the same.
    Disconnect {
        /// MQTT 5 reason 0x04.
        with_will: bool,
    },
}

/// A CONNECT.
#[derive(Debug)]
pub struct Connect {
    /// The client id.
    pub client_id: String,
    /// Seconds of silence that the client allows itself; 0: any.
    pub keep_alive: u16,
    /// What to publish if the client vanishes.
    pub will: Option<Will>,
    /// How many of our QoS 1 messages the client takes unacknowledged.
    pub receive_maximum: u16,
    /// The largest packet that the client takes, in bytes.
    pub max_packet: u32,
    /// Whether the client wants reason strings.
    pub problem_information: bool,
    /// Whether the client wants to use AUTH.
    pub enhanced_authentication: bool,
}

/// The will of a client.
#[derive(Debug)]
pub struct Will {
    /// Where.
    pub topic: Bytes,
    /// What.
    pub payload: Bytes,
    /// 0, 1 or 2.
    pub qos: u8,
}

/// A PUBLISH.
#[derive(Debug)]
pub struct Publish {
    /// Where.
    pub topic: Bytes,
    /// What.
    pub payload: Bytes,
    /// 0, 1 or 2.
    pub qos: u8,
    /// The packet id; 0 at QoS 0.
    pub pkid: u16,
    /// Whether it carries a topic alias.
    pub has_alias: bool,
}

/// Takes the CONNECT off the front of `stream`; `None` if it is not all there yet.
pub fn read_connect(stream: &mut BytesMut) -> Result<Option<(Version, Packet)>, (Version, Refusal)> {
    if stream.first().is_some_and(|first| *first != 0x10) {
        return Err((Version::V4, Refusal::Protocol));
    }
    let length = match fixed_header(stream, MAX_CONNECT) {
        Ok(Some(length)) => length,
        Ok(None) => return Ok(None),
        Err(refusal) => return Err((Version::V4, refusal)),
    };
    let version = match protocol_level(&stream[length..]) {
        None if stream.len() - length < 9 => return Ok(None),
        Some(4) => Version::V4,
        Some(5) => Version::V5,
        // A level from the future understands an answer of 5 at best; the past one of 3.1.1.
        Some(6..) => return Err((Version::V5, Refusal::Version)),
        Some(_) => return Err((Version::V4, Refusal::Version)),
        None => return Err((Version::V4, Refusal::Malformed)),
    };
    match read(stream, version, MAX_CONNECT) {
        Ok(packet) => Ok(packet.map(|packet| (version, packet))),
        Err(refusal) => Err((version, refusal)),
    }
}

/// Takes the next packet off the front of `stream`; `None` if it is not all there yet. `limit` in bytes.
pub fn read(stream: &mut BytesMut, version: Version, limit: usize) -> Result<Option<Packet>, Refusal> {
    let is_publish = stream.first().is_some_and(|first| first >> 4 == 3);
    let limit = if is_publish { limit } else { limit.min(MAX_CONTROL) };
    let Some(header) = fixed_header(stream, limit)? else { return Ok(None) };
    // The codec refuses the two bytes of a plain DISCONNECT of MQTT 5.
    if version == Version::V5 && stream[..header] == [0xe0, 0] {
        drop(stream.split_to(header));
        return Ok(Some(Packet::Disconnect { with_will: false }));
    }
    let flags = stream[0] & 0x0f;
    let expected = match stream[0] >> 4 {
        3 => flags,
        // SUBSCRIBE and UNSUBSCRIBE: sections 3.8.1 and 3.10.1.
        8 | 10 => 0b0010,
        _ => 0,
    };
    if flags != expected {
        return Err(Refusal::Malformed);
    }
    match version {
        Version::V4 => match v4::Packet::read(stream, limit) {
            Ok(packet) => from_v4(packet).map(Some),
            Err(V4Error::InsufficientBytes(_)) => Ok(None),
            Err(V4Error::PayloadSizeLimitExceeded(_)) => Err(Refusal::PacketTooLarge),
            Err(_) => Err(Refusal::Malformed),
        },
        Version::V5 => match v5::Packet::read(stream, u32::try_from(limit).ok()) {
            Ok(packet) => from_v5(packet).map(Some),
            Err(V5Error::InsufficientBytes(_)) => Ok(None),
            Err(V5Error::PayloadSizeLimitExceeded { .. }) => Err(Refusal::PacketTooLarge),
            Err(_) => Err(Refusal::Malformed),
        },
    }
}

/// The length of the fixed header (MQTT section 2.1), once it is complete and names no more than `limit`.
fn fixed_header(stream: &[u8], limit: usize) -> Result<Option<usize>, Refusal> {
    let mut length = 0_usize;
    for index in 1..=4 {
        let Some(byte) = stream.get(index) else { return Ok(None) };
        length |= usize::from(byte & 0x7f) << (7 * (index - 1));
        if byte & 0x80 == 0 {
            return if length > limit { Err(Refusal::PacketTooLarge) } else { Ok(Some(index + 1)) };
        }
    }
    Err(Refusal::Malformed)
}

/// The protocol level of a CONNECT, from the bytes behind its fixed header; MQTT 3.1 called itself MQIsdp.
fn protocol_level(variable_header: &[u8]) -> Option<u8> {
    let rest = variable_header.strip_prefix(b"\x00\x04MQTT");
    rest.or_else(|| variable_header.strip_prefix(b"\x00\x06MQIsdp"))?.first().copied()
}

fn from_v4(packet: v4::Packet) -> Result<Packet, Refusal> {
    let level = |qos| match qos {
        V4QoS::AtMostOnce => 0,
        V4QoS::AtLeastOnce => 1,
        V4QoS::ExactlyOnce => 2,
    };
    Ok(match packet {
        v4::Packet::Connect(connect) => Packet::Connect(Box::new(Connect {
            client_id: connect.client_id,
            keep_alive: connect.keep_alive,
            will: connect.last_will.map(|will| Will {
                topic: will.topic.into(),
                payload: will.message,
                qos: level(will.qos),
            }),
            receive_maximum: u16::MAX,
            max_packet: u32::MAX,
            problem_information: false,
            enhanced_authentication: false,
        })),
        v4::Packet::Publish(publish) => Packet::Publish(Publish {
            topic: publish.topic.into(),
            payload: publish.payload,
            qos: level(publish.qos),
            pkid: publish.pkid,
            has_alias: false,
        }),
        v4::Packet::Subscribe(subscribe) => Packet::Subscribe {
            pkid: subscribe.pkid,
            filters: subscribe.filters.into_iter().map(|filter| (filter.path, level(filter.qos))).collect(),
        },
        v4::Packet::Unsubscribe(unsubscribe) => {
            Packet::Unsubscribe { pkid: unsubscribe.pkid, filters: unsubscribe.topics }
        }
        v4::Packet::PubAck(ack) => Packet::PubAck { pkid: ack.pkid },
        v4::Packet::PingReq => Packet::PingReq,
        v4::Packet::Disconnect => Packet::Disconnect { with_will: false },
        _ => return Err(Refusal::Protocol),
    })
}

fn from_v5(packet: v5::Packet) -> Result<Packet, Refusal> {
    let level = |qos| match qos {
        V5QoS::AtMostOnce => 0,
        V5QoS::AtLeastOnce => 1,
        V5QoS::ExactlyOnce => 2,
    };
    Ok(match packet {
        v5::Packet::Connect(connect, will, _login) => {
            let properties = connect.properties.unwrap_or_default();
            // Section 3.1.2.11.3: a receive maximum of 0 is a protocol error, and so is a maximum packet size of 0.
            if properties.receive_maximum == Some(0) {
                return Err(Refusal::Protocol);
            }
            let max_packet = properties.max_packet_size.unwrap_or(u32::MAX);
            if max_packet == 0 {
                return Err(Refusal::Protocol);
            }
            Packet::Connect(Box::new(Connect {
                client_id: connect.client_id,
                keep_alive: connect.keep_alive,
                will: will.map(|will| Will { topic: will.topic, payload: will.message, qos: level(will.qos) }),
                receive_maximum: properties.receive_maximum.unwrap_or(u16::MAX),
                max_packet,
                problem_information: properties.request_problem_info != Some(0) && max_packet >= SMALLEST_WITH_REASON,
                enhanced_authentication: properties.authentication_method.is_some(),
            }))
        }
        v5::Packet::Publish(publish) => Packet::Publish(Publish {
            topic: publish.topic,
            payload: publish.payload,
            qos: level(publish.qos),
            pkid: publish.pkid,
            has_alias: publish.properties.is_some_and(|properties| properties.topic_alias.is_some()),
        }),
        v5::Packet::Subscribe(subscribe) => Packet::Subscribe {
            pkid: subscribe.pkid,
            filters: subscribe.filters.into_iter().map(|filter| (filter.path, level(filter.qos))).collect(),
        },
        v5::Packet::Unsubscribe(unsubscribe) => {
            Packet::Unsubscribe { pkid: unsubscribe.pkid, filters: unsubscribe.filters }
        }
        v5::Packet::PubAck(ack) => Packet::PubAck { pkid: ack.pkid },
        v5::Packet::PingReq(_) => Packet::PingReq,
        v5::Packet::Disconnect(disconnect) => Packet::Disconnect {
            with_will: disconnect.reason_code == v5::DisconnectReasonCode::DisconnectWithWillMessage,
        },
        _ => return Err(Refusal::Protocol),
    })
}

/// A client that takes only smaller packets, in bytes, gets no reason strings: they would not fit.
const SMALLEST_WITH_REASON: u32 = 256;

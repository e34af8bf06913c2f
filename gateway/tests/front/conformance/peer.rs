//! A client made of bytes: it sends what it is told to, right or wrong, and shows what comes back.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use weir_gateway::mqtt::packet::Version::{self, V4, V5};

use crate::script::packet;
use crate::world::Gateway;

/// Far beyond what anything here takes: a wait so long is a failure and not a hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// One connection.
pub(crate) struct Peer {
    stream: TcpStream,
    input: BytesMut,
    pub(crate) version: Version,
}

/// A CONNECT to be.
#[derive(Clone)]
pub(crate) struct Opening<'a> {
    pub(crate) version: Version,
    pub(crate) client_id: &'a str,
    /// Clean start or clean session.
    pub(crate) clean: bool,
    pub(crate) keep_alive: u16,
    /// Properties of MQTT 5, as bytes.
    pub(crate) properties: &'a [u8],
    pub(crate) will: Option<Will<'a>>,
}

/// A will to be.
#[derive(Clone, Default)]
pub(crate) struct Will<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    /// Properties of MQTT 5, as bytes.
    pub(crate) properties: &'a [u8],
}

/// What a CONNACK says.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) flags: u8,
    pub(crate) code: u8,
    properties: Option<v5::ConnAckProperties>,
}

impl Opened {
    /// What a client of MQTT 5 learns.
    pub(crate) fn learned(&self) -> &v5::ConnAckProperties {
        self.properties.as_ref().expect("properties")
    }
}

/// A message as it came.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    pub(crate) id: u16,
    pub(crate) properties: v5::PublishProperties,
}

/// A text with its length.
pub(crate) fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

/// Properties with their length, or nothing in 3.1.1.
pub(crate) fn properties(version: Version, bytes: &[u8]) -> Vec<u8> {
    if version == V4 { Vec::new() } else { packet(0, bytes)[1..].to_vec() }
}

/// Session expiry of an hour.
pub(crate) const AN_HOUR: &[u8] = &[0x11, 0, 0, 14, 16];

impl<'a> Opening<'a> {
    /// One of `client_id` that asks for nothing.
    pub(crate) fn new(version: Version, client_id: &'a str) -> Self {
        Self { version, client_id, clean: true, keep_alive: 0, properties: &[], will: None }
    }

    /// One whose session outlives its connection.
    pub(crate) fn lasting(version: Version, client_id: &'a str) -> Self {
        let properties = if version == V4 { &[] } else { AN_HOUR };
        Self { clean: false, properties, ..Self::new(version, client_id) }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let level = if self.version == V4 { 4 } else { 5 };
        let will = self.will.as_ref();
        let flags = u8::from(self.clean) << 1 | will.map_or(0, |w| 4 | w.qos << 3 | u8::from(w.retain) << 5);
        let [high, low] = self.keep_alive.to_be_bytes();
        let mut body = [b"\x00\x04MQTT", &[level, flags, high, low][..]].concat();
        body.extend(properties(self.version, self.properties));
        body.extend(text(self.client_id));
        if let Some(will) = will {
            body.extend(properties(self.version, will.properties));
            body.extend(text(will.topic));
            body.extend((will.payload.len() as u16).to_be_bytes());
            body.extend_from_slice(will.payload);
        }
        packet(0x10, &body)
    }
}

/// PUBLISH with the flags that `first` has.
pub(crate) fn publish_as(version: Version, first: u8, topic: &str, id: u16, more: &[u8], payload: &[u8]) -> Vec<u8> {
    let id = if first & 6 == 0 { vec![] } else { id.to_be_bytes().to_vec() };
    packet(first, &[text(topic), id, properties(version, more), payload.to_vec()].concat())
}

/// PUBLISH of a new message that is not retained.
pub(crate) fn publish(version: Version, qos: u8, topic: &str, id: u16, payload: &[u8]) -> Vec<u8> {
    publish_as(version, 0x30 | qos << 1, topic, id, &[], payload)
}

/// SUBSCRIBE; filters with their options.
pub(crate) fn subscribe(version: Version, id: u16, more: &[u8], filters: &[(&str, u8)]) -> Vec<u8> {
    let filters = filters.iter().flat_map(|(filter, options)| [text(filter), vec![*options]].concat()).collect();
    packet(0x82, &[id.to_be_bytes().to_vec(), properties(version, more), filters].concat())
}

/// UNSUBSCRIBE.
pub(crate) fn unsubscribe(version: Version, id: u16, filters: &[&str]) -> Vec<u8> {
    let filters = filters.iter().flat_map(|filter| text(filter)).collect();
    packet(0xa2, &[id.to_be_bytes().to_vec(), properties(version, &[]), filters].concat())
}

impl Peer {
    /// A connection on which nothing was said.
    pub(crate) async fn dial(gateway: &Gateway, version: Version) -> Self {
        let stream = TcpStream::connect(gateway.at.mqtt).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, input: BytesMut::new(), version }
    }

    /// A client with a session of its own that ends with the connection.
    pub(crate) async fn new(gateway: &Gateway, version: Version, client_id: &str) -> Self {
        let (peer, opened) = Self::open(gateway, &Opening::new(version, client_id)).await;
        assert_eq!((opened.flags, opened.code), (0, 0));
        peer
    }

    /// Says CONNECT and hears CONNACK.
    pub(crate) async fn open(gateway: &Gateway, opening: &Opening<'_>) -> (Self, Opened) {
        let mut peer = Self::dial(gateway, opening.version).await;
        peer.send(&opening.bytes()).await;
        let opened = peer.opened().await;
        (peer, opened)
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        // A server that has closed already is what some tests wait for.
        let _ = self.stream.write_all(bytes).await;
    }

    /// The next packet whole; `None` if the connection ended.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(length) = whole(&self.input) {
                return Some(self.input.split_to(length).freeze());
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.input)).await;
            if read.expect("nothing came").unwrap_or(0) == 0 {
                assert!(self.input.is_empty(), "half a packet: {:?}", self.input);
                return None;
            }
        }
    }

    /// The next packet, which is these bytes.
    pub(crate) async fn expect(&mut self, bytes: &[u8]) {
        assert_eq!(self.next().await.as_deref(), Some(bytes), "{:?}", self.version);
    }

    /// The end of the connection, after a DISCONNECT with `code` where there is one.
    pub(crate) async fn expect_end(&mut self, code: u8) {
        if self.version == V5 {
            let packet = self.next().await.expect("a DISCONNECT");
            assert_eq!((packet[0], packet.get(2)), (0xe0, Some(&code)), "{packet:?}");
        }
        assert_eq!(self.next().await, None);
    }

    /// Nothing but the answer to a ping is on its way.
    pub(crate) async fn expect_quiet(&mut self) {
        self.send(&[0xc0, 0]).await;
        self.expect(&[0xd0, 0]).await;
    }

    /// The next packet, which is a CONNACK.
    pub(crate) async fn opened(&mut self) -> Opened {
        let packet = self.next().await.expect("a CONNACK");
        assert_eq!(packet[0], 0x20, "{packet:?}");
        let properties = match self.version {
            V4 => None,
            V5 => match v5::Packet::read(&mut BytesMut::from(&packet[..]), None).unwrap() {
                v5::Packet::ConnAck(ack) => ack.properties,
                other => panic!("{other:?}"),
            },
        };
        let body = behind(&packet);
        Opened { flags: body[0], code: body[1], properties }
    }

    /// The next packet, which is a PUBLISH.
    pub(crate) async fn received(&mut self) -> Received {
        let packet = self.next().await.expect("a PUBLISH");
        assert_eq!(packet[0] >> 4, 3, "{packet:?}");
        let mut bytes = BytesMut::from(&packet[..]);
        match self.version {
            V4 => match v4::Packet::read(&mut bytes, 1 << 24).unwrap() {
                v4::Packet::Publish(p) => Received {
                    topic: p.topic,
                    payload: p.payload,
                    qos: p.qos as u8,
                    retain: p.retain,
                    dup: p.dup,
                    id: p.pkid,
                    ..Received::default()
                },
                other => panic!("{other:?}"),
            },
            V5 => match v5::Packet::read(&mut bytes, None).unwrap() {
                v5::Packet::Publish(p) => Received {
                    topic: String::from_utf8(p.topic.into()).unwrap(),
                    payload: p.payload,
                    qos: p.qos as u8,
                    retain: p.retain,
                    dup: p.dup,
                    id: p.pkid,
                    properties: p.properties.unwrap_or_default(),
                },
                other => panic!("{other:?}"),
            },
        }
    }

    /// The next message, which has this payload; its acknowledgement is sent.
    pub(crate) async fn take(&mut self, payload: &str) -> Received {
        let received = self.received().await;
        assert_eq!(received.payload, payload.as_bytes(), "{received:?}");
        if received.qos == 1 {
            self.send(&packet(0x40, &received.id.to_be_bytes())).await;
        }
        received
    }

    /// Subscribes, and hears with which codes.
    pub(crate) async fn subscribe(&mut self, more: &[u8], filters: &[(&str, u8)]) -> Vec<u8> {
        self.send(&subscribe(self.version, 77, more, filters)).await;
        let packet = self.next().await.expect("a SUBACK");
        let body = behind(&packet);
        assert_eq!((packet[0], &body[..2]), (0x90, &[0, 77][..]), "{packet:?}");
        body[if self.version == V4 { 2 } else { 3 }..].to_vec()
    }

    /// Publishes at QoS 1, and hears that it is stored.
    pub(crate) async fn publish(&mut self, topic: &str, payload: &str) {
        self.publish_with(0x32, topic, &[], payload).await;
    }

    /// Publishes at QoS 1 as `first` says, with properties.
    pub(crate) async fn publish_with(&mut self, first: u8, topic: &str, more: &[u8], payload: &str) {
        self.send(&publish_as(self.version, first, topic, 99, more, payload.as_bytes())).await;
        self.expect(&[0x40, 2, 0, 99]).await;
    }

    /// Goes away without a word.
    pub(crate) fn vanish(self) {}

    /// Says goodbye, and waits until the gateway has closed.
    pub(crate) async fn leave(mut self) {
        self.send(&[0xe0, 0]).await;
        assert_eq!(self.next().await, None);
    }
}

/// What is behind the fixed header.
pub(crate) fn behind(packet: &Bytes) -> Bytes {
    let mut behind = packet.clone();
    behind.advance(2 + packet[1..].iter().take_while(|byte| **byte & 0x80 != 0).count());
    behind
}

fn whole(bytes: &[u8]) -> Option<usize> {
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

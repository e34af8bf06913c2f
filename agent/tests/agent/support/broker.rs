//! A broker that follows a script, in MQTT 5 or 3.1.1: the test reads every packet and decides every answer.

use std::time::Duration;

use bytes::BytesMut;
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Longer than anything here takes; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Broker {
    listener: TcpListener,
}

/// A subscriber that came.
pub(crate) struct Subscriber {
    stream: TcpStream,
    read: BytesMut,
    is_v5: bool,
    pub(crate) client_id: String,
    /// Whether it wants nothing of an older session.
    pub(crate) clean: bool,
    /// For how many seconds the session is to be kept; only MQTT 5 says it.
    pub(crate) session: Option<u32>,
    pub(crate) receive_max: Option<u16>,
    pub(crate) login: Option<(String, String)>,
}

/// What a subscriber says, in the terms of both versions.
#[derive(Debug)]
enum Said {
    Subscribe(u16, Vec<String>),
    Ack(u16),
    /// PUBREC: it has a message with QoS 2.
    Received(u16),
    /// PUBCOMP: it has forgotten that message's packet id.
    Completed(u16),
    Ping,
    Goodbye,
}

impl Broker {
    pub(crate) async fn open() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.expect("a port") }
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.local_addr().expect("an address").port()
    }

    /// Takes a connection and its CONNECT.
    pub(crate) async fn accept(&self, is_v5: bool) -> Subscriber {
        let accepted = tokio::time::timeout(PATIENCE, self.listener.accept()).await.expect("a connection");
        let (stream, _) = accepted.expect("a connection");
        let mut subscriber = Subscriber {
            stream,
            read: BytesMut::new(),
            is_v5,
            client_id: String::new(),
            clean: false,
            session: None,
            receive_max: None,
            login: None,
        };
        subscriber.connect().await;
        subscriber
    }
}

impl Subscriber {
    async fn connect(&mut self) {
        let mut answer = BytesMut::new();
        if self.is_v5 {
            let v5::Packet::Connect(connect, _, login) = self.read_v5().await else { panic!("expected CONNECT") };
            (self.client_id, self.clean) = (connect.client_id, connect.clean_start);
            self.login = login.map(|login| (login.username, login.password));
            let said = connect.properties.expect("properties");
            (self.session, self.receive_max) = (said.session_expiry_interval, said.receive_maximum);
            let code = v5::ConnectReturnCode::Success;
            let ack = v5::ConnAck { session_present: !self.clean, code, properties: None };
            v5::Packet::ConnAck(ack).write(&mut answer, None).expect("a packet");
        } else {
            let v4::Packet::Connect(connect) = self.read_v4().await else { panic!("expected CONNECT") };
            (self.client_id, self.clean) = (connect.client_id, connect.clean_session);
            let ack = v4::ConnAck::new(v4::ConnectReturnCode::Success, !self.clean);
            ack.write(&mut answer).expect("a packet");
        }
        self.stream.write_all(&answer).await.expect("an open connection");
    }

    /// Takes the subscriptions; `granted` says of each whether it is.
    pub(crate) async fn subscribes(&mut self, granted: impl Fn(&str) -> bool) -> Vec<String> {
        let Said::Subscribe(packet, filters) = self.says().await else { panic!("expected SUBSCRIBE") };
        let mut answer = BytesMut::new();
        if self.is_v5 {
            use v5::SubscribeReasonCode::{NotAuthorized, Success};
            let qos = rumqttc::v5::mqttbytes::QoS::AtLeastOnce;
            let code = |filter: &String| if granted(filter) { Success(qos) } else { NotAuthorized };
            let ack = v5::SubAck { pkid: packet, return_codes: filters.iter().map(code).collect(), properties: None };
            v5::Packet::SubAck(ack).write(&mut answer, None).expect("a packet");
        } else {
            use v4::SubscribeReasonCode::{Failure, Success};
            let code = |filter: &String| if granted(filter) { Success(rumqttc::QoS::AtLeastOnce) } else { Failure };
            v4::SubAck::new(packet, filters.iter().map(code).collect()).write(&mut answer).expect("a packet");
        }
        self.stream.write_all(&answer).await.expect("an open connection");
        filters
    }

    /// Publishes with QoS 1 as `packet`, or with QoS 0 as 0.
    pub(crate) async fn publishes(&mut self, packet: u16, topic: &str, payload: &[u8], retained: bool) {
        let bytes = self.publish((packet, u8::from(packet > 0)), topic, payload, retained);
        self.stream.write_all(&bytes).await.expect("an open connection");
    }

    /// Publishes with QoS 2 as `packet`.
    pub(crate) async fn publishes_once(&mut self, packet: u16, topic: &str, payload: &[u8]) {
        let bytes = self.publish((packet, 2), topic, payload, false);
        self.stream.write_all(&bytes).await.expect("an open connection");
    }

    /// Releases a message with QoS 2.
    pub(crate) async fn releases(&mut self, packet: u16) {
        let mut bytes = BytesMut::new();
        if self.is_v5 {
            let release = v5::Packet::PubRel(v5::PubRel::new(packet, None));
            release.write(&mut bytes, None).expect("a packet");
        } else {
            v4::PubRel::new(packet).write(&mut bytes).expect("a packet");
        }
        self.stream.write_all(&bytes).await.expect("an open connection");
    }

    /// Begins a message with QoS 1 whose packet has so many bytes behind its fixed header (3.1.1, 2.2.3), and says no
    /// more of it.
    pub(crate) async fn begins(&mut self, mut length: u32) {
        let mut header = vec![0x32];
        while length > 0 {
            let more = if length > 0x7f { 0x80 } else { 0 };
            header.push((length & 0x7f) as u8 | more);
            length >>= 7;
        }
        self.stream.write_all(&header).await.expect("an open connection");
    }

    /// Publishes without end with QoS 0, until the subscriber hangs up.
    pub(crate) async fn floods(mut self, topic: &str, payload: &[u8]) {
        let bytes = self.publish((0, 0), topic, payload, false).repeat(1000);
        while self.stream.write_all(&bytes).await.is_ok() {}
    }

    fn publish(&self, (packet, qos): (u16, u8), topic: &str, payload: &[u8], retained: bool) -> BytesMut {
        let mut bytes = BytesMut::new();
        if self.is_v5 {
            let qos = rumqttc::v5::mqttbytes::qos(qos).expect("a QoS");
            let mut publish = v5::Publish::new(topic, qos, payload.to_vec(), None);
            (publish.pkid, publish.retain) = (packet, retained);
            v5::Packet::Publish(publish).write(&mut bytes, None).expect("a packet");
        } else {
            let qos = rumqttc::mqttbytes::qos(qos).expect("a QoS");
            let mut publish = v4::Publish::new(topic, qos, payload.to_vec());
            (publish.pkid, publish.retain) = (packet, retained);
            publish.write(&mut bytes).expect("a packet");
        }
        bytes
    }

    /// The next acknowledgement.
    pub(crate) async fn acknowledges(&mut self) -> u16 {
        match self.says_something().await {
            Said::Ack(packet) => packet,
            other => panic!("unexpected {other:?}"),
        }
    }

    /// The next message with QoS 2 that it has.
    pub(crate) async fn receives(&mut self) -> u16 {
        match self.says_something().await {
            Said::Received(packet) => packet,
            other => panic!("unexpected {other:?}"),
        }
    }

    /// The next message with QoS 2 that is over.
    pub(crate) async fn completes(&mut self) -> u16 {
        match self.says_something().await {
            Said::Completed(packet) => packet,
            other => panic!("unexpected {other:?}"),
        }
    }

    /// What it says next but pings.
    async fn says_something(&mut self) -> Said {
        loop {
            match self.says().await {
                Said::Ping => {}
                said => return said,
            }
        }
    }

    /// Whether it says goodbye.
    pub(crate) async fn leaves(&mut self) -> bool {
        matches!(self.says().await, Said::Goodbye)
    }

    async fn says(&mut self) -> Said {
        if self.is_v5 {
            return match self.read_v5().await {
                v5::Packet::Subscribe(subscribe) => {
                    Said::Subscribe(subscribe.pkid, subscribe.filters.into_iter().map(|filter| filter.path).collect())
                }
                v5::Packet::PubAck(ack) => Said::Ack(ack.pkid),
                v5::Packet::PubRec(received) => Said::Received(received.pkid),
                v5::Packet::PubComp(completed) => Said::Completed(completed.pkid),
                v5::Packet::PingReq(_) => Said::Ping,
                v5::Packet::Disconnect(_) => Said::Goodbye,
                other => panic!("unexpected {other:?}"),
            };
        }
        match self.read_v4().await {
            v4::Packet::Subscribe(subscribe) => {
                Said::Subscribe(subscribe.pkid, subscribe.filters.into_iter().map(|filter| filter.path).collect())
            }
            v4::Packet::PubAck(ack) => Said::Ack(ack.pkid),
            v4::Packet::PubRec(received) => Said::Received(received.pkid),
            v4::Packet::PubComp(completed) => Said::Completed(completed.pkid),
            v4::Packet::PingReq => Said::Ping,
            v4::Packet::Disconnect => Said::Goodbye,
            other => panic!("unexpected {other:?}"),
        }
    }

    async fn read_v5(&mut self) -> v5::Packet {
        loop {
            match v5::Packet::read(&mut self.read, None) {
                Ok(packet) => return packet,
                Err(rumqttc::v5::mqttbytes::Error::InsufficientBytes(_)) => self.more().await,
                // A DISCONNECT without a reason, which this codec writes and does not read.
                Err(rumqttc::v5::mqttbytes::Error::PayloadRequired) => {
                    let reason = v5::DisconnectReasonCode::NormalDisconnection;
                    return v5::Packet::Disconnect(v5::Disconnect::new(reason));
                }
                Err(error) => panic!("the agent sent what is not MQTT: {error}"),
            }
        }
    }

    async fn read_v4(&mut self) -> v4::Packet {
        loop {
            match v4::Packet::read(&mut self.read, usize::MAX) {
                Ok(packet) => return packet,
                Err(rumqttc::mqttbytes::Error::InsufficientBytes(_)) => self.more().await,
                Err(error) => panic!("the agent sent what is not MQTT: {error}"),
            }
        }
    }

    async fn more(&mut self) {
        let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await;
        assert_ne!(read.expect("a packet in time").expect("an open connection"), 0, "the agent hung up");
    }
}

//! A gateway that follows a script: the test reads every packet and decides every answer.

use std::ops::Range;
use std::time::Duration;

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnAckProperties, ConnectReturnCode, Packet, PingResp, PubAck, PubAckReason, Publish, SubAck,
    SubscribeReasonCode,
};
use rumqttc::v5::mqttbytes::{Error, QoS};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use weir_agent::queue::Key;
use weir_protocol::batch::{Envelope, Section};

use super::kept::Kept;

/// Longer than anything here takes; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Gateway {
    listener: TcpListener,
}

/// One connection of the agent.
pub(crate) struct Peer {
    stream: TcpStream,
    read: BytesMut,
    /// Bytes that came.
    pub(crate) taken: usize,
    /// What was described on it.
    pub(crate) described: usize,
    /// What the agent said of where restarts stand.
    pub(crate) positions: Vec<Stands>,
    /// How positions are answered.
    pub(crate) about_positions: PubAckReason,
}

/// What a position says: restart, `[from, upto)`, held.
pub(crate) type Stands = (Key, Range<u64>, Vec<Range<u64>>);

/// A batch as it came.
#[derive(Debug, PartialEq)]
pub(crate) struct Came {
    pub(crate) packet: u16,
    pub(crate) sections: Vec<Kept>,
}

impl Gateway {
    pub(crate) async fn open() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.expect("a port") }
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.local_addr().expect("an address").port()
    }

    /// Takes the next connection and says nothing on it.
    pub(crate) async fn connection(&self) -> TcpStream {
        let accepted = tokio::time::timeout(PATIENCE, self.listener.accept()).await.expect("a connection");
        accepted.expect("a connection").0
    }

    /// Takes the next connection and its CONNECT, and says what the Receive Maximum is.
    pub(crate) async fn accept(&self, receive_max: u16) -> Peer {
        let mut peer = self.knock().await;
        peer.greet(receive_max).await;
        peer
    }

    /// Takes the next connection and its CONNECT.
    pub(crate) async fn knock(&self) -> Peer {
        let stream = self.connection().await;
        let mut peer = Peer {
            stream,
            read: BytesMut::new(),
            taken: 0,
            described: 0,
            positions: Vec::new(),
            about_positions: PubAckReason::Success,
        };
        let Packet::Connect(connect, will, _) = peer.packet().await else { panic!("expected CONNECT") };
        assert!(connect.clean_start);
        assert_eq!(connect.client_id, "edge-1");
        assert_eq!(will.expect("a will").topic, "weir/1/default/edge-1/status");
        peer
    }
}

impl Peer {
    /// CONNACK.
    pub(crate) async fn greet(&mut self, receive_max: u16) {
        let properties = ConnAckProperties { receive_max: Some(receive_max), ..no_properties() };
        let ack = ConnAck { session_present: false, code: ConnectReturnCode::Success, properties: Some(properties) };
        self.send(&Packet::ConnAck(ack)).await;
    }

    /// The next packet.
    pub(crate) async fn packet(&mut self) -> Packet {
        let packet = tokio::time::timeout(PATIENCE, self.next()).await;
        packet.expect("a packet in time").expect("the agent hung up")
    }

    /// The next packet, if the agent does not hang up. May be dropped without losing one.
    pub(crate) async fn next(&mut self) -> Option<Packet> {
        loop {
            match Packet::read(&mut self.read, None) {
                Ok(packet) => return Some(packet),
                Err(Error::InsufficientBytes(_)) => {}
                // How it reads a DISCONNECT without a reason.
                Err(Error::PayloadRequired) => return None,
                Err(error) => panic!("the agent sent what is not MQTT: {error}"),
            }
            let read = self.stream.read_buf(&mut self.read).await.unwrap_or(0);
            if read == 0 {
                return None;
            }
            self.taken += read;
        }
    }

    /// The next batch; what else comes is answered.
    pub(crate) async fn batch(&mut self) -> Came {
        self.batch_with_size().await.0
    }

    /// The next batch and its bytes; what else comes is answered.
    pub(crate) async fn batch_with_size(&mut self) -> (Came, usize) {
        loop {
            if let Some(came) = self.take().await {
                return came;
            }
        }
    }

    /// Reads on until this is so; no batch comes before that.
    pub(crate) async fn hears_until(&mut self, wanted: impl Fn(&Self) -> bool) {
        while !wanted(self) {
            if let Some((came, _)) = self.take().await {
                panic!("a batch came: {came:?}");
            }
        }
    }

    /// The next packet, if it is a batch; what else comes is answered.
    async fn take(&mut self) -> Option<(Came, usize)> {
        match self.packet().await {
            Packet::Subscribe(subscribe) => {
                assert_eq!(subscribe.filters[0].path, "weir/1/default/edge-1/command");
                let return_codes = vec![SubscribeReasonCode::Success(QoS::AtLeastOnce)];
                let ack = SubAck { pkid: subscribe.pkid, return_codes, properties: None };
                self.send(&Packet::SubAck(ack)).await;
            }
            Packet::Publish(publish) if publish.topic == "weir/1/default/edge-1/batch" => {
                let (sections, positions) = sections(&publish.payload);
                if positions.is_empty() {
                    return Some((Came { packet: publish.pkid, sections }, publish.payload.len()));
                }
                assert_eq!(sections, [], "positions come in batches of their own");
                self.positions.extend(positions);
                self.answer(publish.pkid, self.about_positions).await;
            }
            Packet::Publish(publish) => {
                if publish.topic == "weir/1/default/edge-1/describe" {
                    weir_protocol::batch::describe::decode(&publish.payload).expect("a good description");
                    self.described += 1;
                }
                self.answer(publish.pkid, PubAckReason::Success).await;
            }
            Packet::PingReq(_) => self.send(&Packet::PingResp(PingResp)).await,
            Packet::PubAck(_) | Packet::Disconnect(_) => {}
            other => panic!("unexpected {other:?}"),
        }
        None
    }

    /// Whether nothing but status and pings comes for a while.
    pub(crate) async fn is_quiet(&mut self, wait: Duration) -> bool {
        tokio::time::timeout(wait, self.batch()).await.is_err()
    }

    /// Answers everything but batches until the agent goes; true once it did.
    pub(crate) async fn is_over(&mut self) -> bool {
        loop {
            match Packet::read(&mut self.read, None) {
                Ok(Packet::Publish(publish)) if !publish.topic.ends_with(b"/batch") => {
                    self.answer_if_open(publish.pkid).await;
                }
                Ok(_) => {}
                Err(_) => {
                    let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await;
                    if matches!(read.expect("the agent goes in time"), Ok(0) | Err(_)) {
                        return true;
                    }
                }
            }
        }
    }

    /// Ends the connection; once this returns, the agent has seen it.
    pub(crate) async fn ends(mut self) {
        self.stream.shutdown().await.expect("an open connection");
        let seen = async { while self.stream.read_buf(&mut self.read).await.unwrap_or(0) > 0 {} };
        tokio::time::timeout(PATIENCE, seen).await.expect("the agent sees it in time");
    }

    /// Answers everything until the agent goes; what its last status says.
    pub(crate) async fn farewell(&mut self) -> Option<String> {
        loop {
            if let Packet::Publish(publish) = self.packet().await {
                self.answer_if_open(publish.pkid).await;
                let status: Option<serde_json::Value> = serde_json::from_slice(&publish.payload).ok();
                let state = status.and_then(|status| Some(status.get("state")?.as_str()?.to_owned()));
                if let Some(state) = state.filter(|state| state != "running") {
                    return Some(state);
                }
            }
        }
    }

    /// The agent may be gone already.
    async fn answer_if_open(&mut self, packet: u16) {
        let mut bytes = BytesMut::new();
        let ack = PubAck { pkid: packet, reason: PubAckReason::Success, properties: None };
        Packet::PubAck(ack).write(&mut bytes, None).expect("a packet");
        let _ = self.stream.write_all(&bytes).await;
    }

    pub(crate) async fn answer(&mut self, packet: u16, reason: PubAckReason) {
        self.send(&Packet::PubAck(PubAck { pkid: packet, reason, properties: None })).await;
    }

    pub(crate) async fn command(&mut self, payload: Vec<u8>) {
        self.publish("weir/1/default/edge-1/command", payload).await;
    }

    pub(crate) async fn publish(&mut self, topic: &str, payload: Vec<u8>) {
        self.publishes(topic, payload, false).await;
    }

    /// What was there before the subscription.
    pub(crate) async fn publish_retained(&mut self, topic: &str, payload: Vec<u8>) {
        self.publishes(topic, payload, true).await;
    }

    async fn publishes(&mut self, topic: &str, payload: Vec<u8>, retain: bool) {
        let mut publish = Publish::new(topic, QoS::AtLeastOnce, payload, None);
        publish.retain = retain;
        publish.pkid = 1;
        self.send(&Packet::Publish(publish)).await;
    }

    pub(crate) async fn send(&mut self, packet: &Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, None).expect("a packet");
        // An agent that hung up does not hear it.
        let _ = self.stream.write_all(&bytes).await;
    }
}

pub(crate) fn sections(payload: &[u8]) -> (Vec<Kept>, Vec<Stands>) {
    let envelope = Envelope::open(payload).expect("a good envelope");
    let mut buffer = Vec::new();
    let (mut kept, mut stands) = (Vec::new(), Vec::new());
    for section in envelope.sections(&mut buffer).expect("a good body") {
        match section.expect("a good section") {
            Section::Position(position) => {
                let held = position.held.into_iter().map(|held| held.expect("a good range"));
                let held = held.map(|held| held.start.0..held.end.0).collect();
                stands.push(((position.device, position.restart), position.from.0..position.upto.0, held));
            }
            section => kept.push(Kept::of(&section)),
        }
    }
    (kept, stands)
}

fn no_properties() -> ConnAckProperties {
    ConnAckProperties {
        session_expiry_interval: None,
        receive_max: None,
        max_qos: None,
        retain_available: None,
        max_packet_size: None,
        assigned_client_identifier: None,
        topic_alias_max: None,
        reason_string: None,
        user_properties: Vec::new(),
        wildcard_subscription_available: None,
        subscription_identifiers_available: None,
        shared_subscription_available: None,
        server_keep_alive: None,
        response_information: None,
        server_reference: None,
        authentication_method: None,
        authentication_data: None,
    }
}

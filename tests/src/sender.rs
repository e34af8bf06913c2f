//! An agent made of single messages, for tests that say exactly what is sent. It speaks MQTT 3.1.1.

use std::net::SocketAddr;

use bytes::BytesMut;
use rumqttc::mqttbytes::{QoS, v4};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir_protocol::batch::describe::{self, Description};
use weir_protocol::batch::{EnvelopeBuilder, RunBuilder, Section};
use weir_protocol::items::{self, Items};
use weir_protocol::time::{SystemClock, WallClock};
use weir_protocol::{
    Channel, ChannelId, Clock, DeviceId, Reading, Restart, SchemaHash, Sequence, Timestamp, Value, ValueKind,
};

use crate::PATIENCE;

/// The only channel of its device.
const CHANNEL: Channel<'static> =
    Channel { id: ChannelId(1), name: "level", unit: "m", kind: ValueKind::Float, resolution: 0.0 };
/// The restart that all its readings belong to.
pub const RESTART: Restart = Restart(1 << 32 | 1);

/// A connected agent with one device, which it has described.
pub struct Sender {
    socket: TcpStream,
    received: BytesMut,
    agent: &'static str,
    /// The device.
    pub device: DeviceId,
    schema: SchemaHash,
    id: u16,
}

impl Sender {
    /// Connects as `agent` and describes the device `device`.
    pub async fn connect(gateway: SocketAddr, agent: &'static str, device: &str) -> Self {
        let device = DeviceId::new(device).expect("a device name");
        let socket = TcpStream::connect(gateway).await.expect("the gateway listens");
        let mut sender =
            Self { socket, received: BytesMut::new(), agent, device, schema: SchemaHash::of(Items::new(&[])), id: 0 };
        let mut connect = BytesMut::new();
        v4::Connect::new(agent).write(&mut connect).expect("CONNECT");
        sender.socket.write_all(&connect).await.expect("CONNECT is taken");
        assert!(
            matches!(sender.receive().await, v4::Packet::ConnAck(ack) if ack.code == v4::ConnectReturnCode::Success)
        );
        sender.describe(&[CHANNEL]).await;
        sender
    }

    /// Says what the device measures from now on.
    pub async fn describe(&mut self, channels: &[Channel<'_>]) {
        let mut encoded = Vec::new();
        channels.iter().for_each(|channel| items::push(&mut encoded, channel));
        let channels = Items::new(&encoded);
        self.schema = SchemaHash::of(channels);
        let description = describe::encode(&Description { device: self.device, schema: self.schema, channels });
        self.publish("describe", description).await;
    }

    /// Publishes one section as a batch and waits for its PUBACK.
    pub async fn send(&mut self, section: &Section<'_>) {
        let mut builder = EnvelopeBuilder::new();
        builder.push(section);
        self.publish("batch", builder.finish(false)).await;
    }

    /// Publishes consecutive readings of these times and waits for the PUBACK.
    pub async fn readings(&mut self, first: u64, times: &[(Timestamp, Clock)]) {
        let mut run = RunBuilder::new(self.device, RESTART, self.schema, Sequence(first));
        for (index, (time, clock)) in times.iter().enumerate() {
            let value = Value::Float(first as f32 + index as f32);
            run.push(&Reading { channel: CHANNEL.id, time: *time, clock: *clock, value });
        }
        self.send(&run.section()).await;
    }

    /// Publishes consecutive readings of now, one of each of these channels, and waits for the PUBACK.
    pub async fn sample(&mut self, first: u64, channels: &[ChannelId]) {
        let mut run = RunBuilder::new(self.device, RESTART, self.schema, Sequence(first));
        for (index, channel) in channels.iter().enumerate() {
            let value = Value::Float(first as f32 + index as f32);
            run.push(&Reading { channel: *channel, time: SystemClock.now(), clock: Clock::Synchronised, value });
        }
        self.send(&run.section()).await;
    }

    async fn publish(&mut self, purpose: &str, payload: Vec<u8>) {
        self.id += 1;
        let topic = format!("weir/1/default/{}/{purpose}", self.agent);
        let mut publish = v4::Publish::new(topic, QoS::AtLeastOnce, payload);
        publish.pkid = self.id;
        let mut bytes = BytesMut::new();
        publish.write(&mut bytes).expect("PUBLISH");
        self.socket.write_all(&bytes).await.expect("PUBLISH is taken");
        loop {
            match self.receive().await {
                v4::Packet::PubAck(ack) => return assert_eq!(ack.pkid, self.id),
                // Commands of the gateway are not for this agent.
                v4::Packet::Publish(_) => {}
                other => panic!("got {other:?}, expected a PUBACK"),
            }
        }
    }

    async fn receive(&mut self) -> v4::Packet {
        loop {
            match v4::Packet::read(&mut self.received, 1 << 20) {
                Ok(packet) => return packet,
                Err(rumqttc::mqttbytes::Error::InsufficientBytes(_)) => {}
                Err(error) => panic!("the gateway sent what is no MQTT: {error}"),
            }
            let read = tokio::time::timeout(PATIENCE, self.socket.read_buf(&mut self.received)).await;
            assert_ne!(read.expect("an answer").expect("a connection"), 0, "the gateway closed the connection");
        }
    }
}

//! The whole front over a real ingest, sessions and log, on a disk in memory that can lose its power, and a client of bytes.

mod packets;
mod streams;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use weir_protocol::time::SystemClock;
use weir_storage::{FaultyFs, Fs};

use super::outbound::subscriptions::SubscriptionLimits;
use super::session::Limits;
use super::{Front, FrontOptions, TopicLimits, memory};
use crate::delivery::{Delivery, DeliveryOptions};
use crate::ingest::{Ingest, IngestOptions};
use crate::lobby::LobbyOptions;
use crate::mqtt::packet::Version;
use crate::retained::{self, Retained};
use crate::router::{Live, LiveOptions};
use crate::sessions::{self, Outlet, Sessions};
use crate::topics::Topics;
use crate::topics::layout::Routing;
use crate::topics::stores::Store;

/// Far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// What one connection may have in flight.
const LIMITS: Limits = Limits { receive_maximum: 5, budget: 64 << 10 };
const SUBSCRIPTIONS: SubscriptionLimits = SubscriptionLimits { most: 4, levels: 8 };

/// A gateway without sockets that stores what is published below `t/` in `messages`.
struct Rig {
    fs: FaultyFs,
    front: Arc<Front<Ingest>>,
    ingest: Ingest,
    topics: Topics,
    stop: watch::Sender<bool>,
}

impl Rig {
    fn open(fs: FaultyFs) -> Self {
        let (on, data): (Arc<dyn Fs>, _) = (Arc::new(fs.clone()), Path::new("/data"));
        let store = Store { filter: "t/#".into(), tenant: None, topic: "messages".into() };
        let routing = Routing { stores: vec![store], ..Routing::default() };
        let options = IngestOptions { partitions: 1, routing, ..IngestOptions::default() };
        let (ingest, topics, _) = Ingest::start(Arc::clone(&on), data, options, Arc::new(SystemClock)).unwrap();
        let opened = sessions::Opened::open(&on, data).unwrap();
        let random = Box::new(rand::random::<u64>);
        let sessions = Sessions::new(opened, sessions::Options::default(), &SystemClock, random);
        let opened = retained::Opened::open(&on, data).unwrap();
        let retained = Retained::new(opened, retained::Options::default(), &SystemClock);
        let (stop, stopping) = watch::channel(false);
        let live = Live::new(topics.clone(), LiveOptions::default());
        tokio::spawn(live.clone().run(stopping.clone()));
        tokio::spawn(sessions.clone().run(Outlet::new(ingest.clone(), retained.clone()), stopping));
        let options = FrontOptions {
            connections: 4,
            lobby: LobbyOptions { most: 4, most_per_address: 4 },
            buffers: 8 << 20,
            connect_timeout: Duration::from_secs(10),
            limits: LIMITS,
            subscriptions: SUBSCRIPTIONS,
            topics: TopicLimits { levels: 8, bytes: 256, property_bytes: 256 },
        };
        let delivery = Delivery::new(topics.clone(), ingest.stores().clone(), live, DeliveryOptions::default());
        let front = Front::new(ingest.clone(), (sessions, retained), options, Arc::new(SystemClock));
        let front = Arc::new(front.with_delivery(delivery).with_stores(ingest.stores().clone()));
        Self { fs, front, ingest, topics, stop }
    }

    /// The power goes, and comes back.
    fn power_cut(self) -> Self {
        let left = self.fs.power_cut();
        let _ = self.stop.send(true);
        Self::open(left)
    }

    /// How often each payload is in the log.
    async fn stored(self) -> BTreeMap<Bytes, usize> {
        let _ = self.stop.send(true);
        self.ingest.stop().await;
        let mut all = BTreeMap::new();
        let reader = self.topics.named("messages").unwrap().partitions()[0].reader();
        let mut next = reader.start_offset();
        while let Ok(chunk) = reader.read(next, 1 << 20) {
            if chunk.next_offset == next {
                break;
            }
            for record in chunk.records().map(Result::unwrap) {
                *all.entry(Bytes::copy_from_slice(record.value.unwrap_or_default())).or_default() += 1;
            }
            next = chunk.next_offset;
        }
        all
    }

    /// That nobody holds more than the bound says.
    fn check_memory(&self, connections: usize) {
        let (held, most) = (self.front.counters().snapshot().held, memory::most(LIMITS, SUBSCRIPTIONS.most));
        assert!(held <= (connections * most) as u64, "{held} bytes are held by {connections} connections");
    }

    fn dial(&self, version: Version) -> Peer {
        let (theirs, ours) = tokio::io::duplex(4096);
        let (front, stop) = (Arc::clone(&self.front), self.stop.subscribe());
        let served = tokio::spawn(async move { front.serve_one(ours, std::net::Ipv4Addr::LOCALHOST, stop).await });
        let (reader, writer) = tokio::io::split(theirs);
        let (tell, answers) = mpsc::unbounded_channel();
        let reading = tokio::spawn(read_all(version, reader, tell));
        Peer { writer: Some(writer), answers, served, reading }
    }
}

impl From<std::net::Ipv4Addr> for super::Peer {
    fn from(address: std::net::Ipv4Addr) -> Self {
        std::net::IpAddr::from(address).into()
    }
}

/// What a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Connected {
        present: bool,
        code: u8,
    },
    Acknowledged(u16, u8),
    Received(u16, u8),
    /// PUBREL, for a PUBREC that answers nothing.
    Released,
    Completed(u16),
    Message {
        id: u16,
        qos: u8,
    },
    Subscribed,
    Unsubscribed,
    Pong,
    Disconnected,
}

/// A connection.
struct Peer {
    writer: Option<WriteHalf<DuplexStream>>,
    answers: mpsc::UnboundedReceiver<Answer>,
    served: JoinHandle<()>,
    reading: JoinHandle<()>,
}

impl Peer {
    /// Whether the front still takes bytes.
    async fn send(&mut self, bytes: &[u8]) -> bool {
        let Some(writer) = &mut self.writer else { return false };
        timeout(PATIENCE, writer.write_all(bytes)).await.expect("it reads on, or closes").is_ok()
    }

    /// The connection ends: all that was answered.
    async fn end(mut self) -> Vec<Answer> {
        if let Some(mut writer) = self.writer.take() {
            let _ = writer.shutdown().await;
        }
        timeout(PATIENCE, &mut self.served).await.expect("it ends").expect("it does not panic");
        timeout(PATIENCE, &mut self.reading).await.expect("it ends").expect("whole packets");
        std::iter::from_fn(|| self.answers.try_recv().ok()).collect()
    }
}

/// Reads whole packets until the end; what another codec does not take is a finding.
async fn read_all(version: Version, mut reader: ReadHalf<DuplexStream>, tell: mpsc::UnboundedSender<Answer>) {
    let mut input = BytesMut::new();
    loop {
        while let Some(length) = packets::whole(&input) {
            // Nobody may listen any more.
            let _ = tell.send(answer(version, &input.split_to(length)));
        }
        if reader.read_buf(&mut input).await.unwrap_or(0) == 0 {
            return assert!(input.is_empty(), "half a packet: {input:?}");
        }
    }
}

fn answer(version: Version, packet: &[u8]) -> Answer {
    // To a CONNECT whose protocol level was spoilt: no version that was asked for is spoken.
    if packet == [0x20, 2, 0, 1] {
        return Answer::Connected { present: false, code: 1 };
    }
    let mut bytes = BytesMut::from(packet);
    let read = match version {
        Version::V4 => v4::Packet::read(&mut bytes, 1 << 24).map(drop).map_err(|error| error.to_string()),
        Version::V5 => v5::Packet::read(&mut bytes, None).map(drop).map_err(|error| error.to_string()),
    };
    assert!(read.is_ok() && bytes.is_empty(), "{version:?}: {packet:02x?} is {read:?}");
    let body = packets::body(packet);
    let id = || u16::from_be_bytes([body[0], body[1]]);
    let code = body.get(2).copied().unwrap_or(0);
    match packet[0] >> 4 {
        2 => Answer::Connected { present: body[0] == 1, code: body[1] },
        3 => {
            let topic = usize::from(id());
            let qos = packet[0] >> 1 & 3;
            let id = if qos == 0 { 0 } else { u16::from_be_bytes([body[2 + topic], body[3 + topic]]) };
            Answer::Message { id, qos }
        }
        4 => Answer::Acknowledged(id(), code),
        5 => Answer::Received(id(), code),
        6 => Answer::Released,
        7 => Answer::Completed(id()),
        9 => Answer::Subscribed,
        11 => Answer::Unsubscribed,
        13 => Answer::Pong,
        14 => Answer::Disconnected,
        other => panic!("packet type {other}"),
    }
}

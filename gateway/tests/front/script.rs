//! A front whose verdicts a test decides, and a client that speaks both versions of MQTT.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use weir_gateway::front::outbound::subscriptions::SubscriptionLimits;
use weir_gateway::front::session::Limits;
use weir_gateway::front::{Front, FrontOptions, Intake, Link, TopicLimits};
use weir_gateway::ingest::{Event, Events, Message, Outcome, Sender, Verdict};
use weir_gateway::lobby::LobbyOptions;
use weir_gateway::mqtt::packet::Version;
use weir_gateway::retained::{self, Retained};
use weir_gateway::sessions::{self, Sessions};
use weir_protocol::time::SystemClock;
use weir_storage::{FaultyFs, Fs};

/// Messages that one session may have in flight here.
pub(crate) const WINDOW: u16 = 5;
/// Bytes between the client and the front: what the "network" holds.
const NETWORK: usize = 4096;

/// Far beyond what anything here takes: a wait so long is a failure and not a hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// Stands where ingest stands.
pub(crate) struct Script {
    submitted: mpsc::UnboundedSender<(Message, Events)>,
    room: Arc<Semaphore>,
}

pub(crate) struct ScriptLink {
    submitted: mpsc::UnboundedSender<(Message, Events)>,
    room: Arc<Semaphore>,
    events: Events,
}

impl Intake for Script {
    type Link = ScriptLink;
    fn connect(&self, _: Sender, events: Events) -> ScriptLink {
        ScriptLink { submitted: self.submitted.clone(), room: self.room.clone(), events }
    }
}

impl Link for ScriptLink {
    async fn submit(&mut self, messages: Vec<Message>) {
        for message in messages {
            self.room.acquire().await.unwrap().forget();
            self.submitted.send((message, self.events.clone())).unwrap();
        }
    }
}

/// A front and what reaches ingest.
pub(crate) struct Stage {
    pub(crate) front: Arc<Front<Script>>,
    pub(crate) sessions: Sessions,
    pub(crate) submitted: mpsc::UnboundedReceiver<(Message, Events)>,
    pub(crate) room: Arc<Semaphore>,
    pub(crate) stop: watch::Sender<bool>,
}

impl Stage {
    /// A front with room for `room` messages.
    pub(crate) fn with_room(room: usize) -> Self {
        let (send, submitted) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(room));
        let options = FrontOptions {
            connections: 20,
            lobby: LobbyOptions { most: 10, most_per_address: 5 },
            buffers: 8 << 20,
            connect_timeout: Duration::from_secs(10),
            limits: Limits { receive_maximum: WINDOW, budget: 1 << 20 },
            subscriptions: SubscriptionLimits::default(),
            topics: TopicLimits { levels: 8, bytes: 256, property_bytes: 256 },
        };
        let script = Script { submitted: send, room: room.clone() };
        let fs: Arc<dyn Fs> = Arc::new(FaultyFs::new(1));
        let data = Path::new("/data");
        let random = Box::new(rand::random::<u64>);
        let sessions = sessions::Opened::open(&fs, data).unwrap();
        let sessions = Sessions::new(sessions, sessions::Options::default(), &SystemClock, random);
        let retained = retained::Opened::open(&fs, data).unwrap();
        let retained = Retained::new(retained, retained::Options::default(), &SystemClock);
        let kept = (sessions.clone(), retained);
        let front = Arc::new(Front::new(script, kept, options, Arc::new(SystemClock)));
        Self { front, sessions, submitted, room, stop: watch::channel(false).0 }
    }

    pub(crate) fn new() -> Self {
        Self::with_room(1000)
    }

    /// A client that has said nothing yet.
    pub(crate) fn dial(&self, version: Version) -> Client {
        self.dial_from(version, Ipv4Addr::LOCALHOST)
    }

    /// A client at `address` that has said nothing yet.
    pub(crate) fn dial_from(&self, version: Version, address: Ipv4Addr) -> Client {
        let address = IpAddr::from(address);
        let (theirs, ours) = tokio::io::duplex(NETWORK);
        let (front, stop) = (self.front.clone(), self.stop.subscribe());
        let served = tokio::spawn(async move { front.serve_one(ours, address, stop).await });
        Client { stream: theirs, input: BytesMut::new(), version, served }
    }

    /// A client with a session.
    pub(crate) async fn connect(&self, version: Version, agent: &str) -> Client {
        let mut client = self.dial(version);
        client.send(&connect(version, agent, 0, None)).await;
        assert_eq!(client.answer().await, Answered::Connected(0));
        client
    }

    /// The next message that reaches ingest.
    pub(crate) async fn message(&mut self) -> (Message, Events) {
        timeout(PATIENCE, self.submitted.recv()).await.unwrap().unwrap()
    }

    /// Decides on a message.
    pub(crate) fn decide(&self, (message, events): &(Message, Events), verdict: Verdict) {
        let outcome = Outcome { ticket: message.ticket, verdict };
        events.send(Event::Outcomes(vec![outcome])).unwrap();
    }
}

/// A client on a transport in memory, or on a socket.
pub(crate) struct Client<S = DuplexStream> {
    pub(crate) stream: S,
    input: BytesMut,
    version: Version,
    /// The connection as the front serves it; nothing of a socket's.
    served: JoinHandle<()>,
}

/// What a client is told, in the words of both versions.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    Connected(u8),
    Acknowledged(u16, u8),
    Received(u16, u8),
    Completed(u16, u8),
    Subscribed(Vec<u8>),
    Unsubscribed,
    Pong,
    Published { topic: String, payload: Bytes, pkid: u16 },
    Disconnected(u8),
    Closed,
}

impl Client<TcpStream> {
    /// A client on a socket that has said nothing yet.
    pub(crate) async fn dial_tcp(at: SocketAddr, version: Version) -> Self {
        let stream = TcpStream::connect(at).await.unwrap();
        Self { stream, input: BytesMut::new(), version, served: tokio::spawn(async {}) }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next thing the client is told.
    pub(crate) async fn answer(&mut self) -> Answered {
        loop {
            // Reason codes are read off the wire: a client library hides some.
            if let Some(length) = whole_packet(&self.input) {
                let packet = self.input.split_to(length);
                return self.decode(packet);
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.input)).await;
            if read.expect("no answer").unwrap_or(0) == 0 {
                return Answered::Closed;
            }
        }
    }

    fn decode(&self, packet: BytesMut) -> Answered {
        let body = &packet[whole_header(&packet)..];
        match packet[0] >> 4 {
            2 => Answered::Connected(body[1]),
            kind @ (4 | 5 | 7) => {
                let (id, code) = (u16::from_be_bytes([body[0], body[1]]), body.get(2).copied().unwrap_or(0));
                match kind {
                    4 => Answered::Acknowledged(id, code),
                    5 => Answered::Received(id, code),
                    _ => Answered::Completed(id, code),
                }
            }
            11 => Answered::Unsubscribed,
            9 => Answered::Subscribed(body[2 + usize::from(self.version == Version::V5)..].to_vec()),
            13 => Answered::Pong,
            14 => Answered::Disconnected(body[0]),
            3 => match self.version {
                Version::V4 => match v4::Packet::read(&mut packet.clone(), 1 << 20) {
                    Ok(v4::Packet::Publish(v4::Publish { topic, payload, pkid, .. })) => {
                        Answered::Published { topic, payload, pkid }
                    }
                    other => panic!("{other:?}"),
                },
                Version::V5 => match v5::Packet::read(&mut packet.clone(), None) {
                    Ok(v5::Packet::Publish(v5::Publish { topic, payload, pkid, .. })) => {
                        Answered::Published { topic: String::from_utf8(topic.into()).unwrap(), payload, pkid }
                    }
                    other => panic!("{other:?}"),
                },
            },
            other => panic!("packet type {other}"),
        }
    }

    /// Asserts that nothing but the answer to a ping is on its way.
    pub(crate) async fn expect_quiet(&mut self) {
        self.send(&[0xc0, 0]).await;
        assert_eq!(self.answer().await, Answered::Pong);
    }

    /// Asserts that the connection ends, with `code` if the version can say it.
    pub(crate) async fn expect_end(&mut self, code: u8) {
        if self.version == Version::V5 {
            assert_eq!(self.answer().await, Answered::Disconnected(code));
        }
        assert_eq!(self.answer().await, Answered::Closed);
    }

    /// Goes away without a word, and waits until the front has noticed.
    pub(crate) async fn vanish(self) {
        drop(self.stream);
        timeout(PATIENCE, self.served).await.unwrap().unwrap();
    }
}

fn whole_header(bytes: &[u8]) -> usize {
    2 + bytes[1..].iter().take_while(|byte| **byte & 0x80 != 0).count()
}

fn whole_packet(bytes: &[u8]) -> Option<usize> {
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

/// A packet: its first byte and its content.
pub(crate) fn packet(first: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    let mut length = content.len();
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(content);
    out
}

fn text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text);
}

/// CONNECT; `will` is topic and payload.
pub(crate) fn connect(version: Version, agent: &str, keep_alive: u16, will: Option<(&str, &str)>) -> Vec<u8> {
    let v5 = version == Version::V5;
    let mut content = b"\x00\x04MQTT".to_vec();
    content.push(if v5 { 5 } else { 4 });
    content.push(if will.is_some() { 0b0010_1110 } else { 0b10 });
    content.extend_from_slice(&keep_alive.to_be_bytes());
    content.extend(v5.then_some(0));
    text(&mut content, agent.as_bytes());
    if let Some((topic, payload)) = will {
        content.extend(v5.then_some(0));
        text(&mut content, topic.as_bytes());
        text(&mut content, payload.as_bytes());
    }
    packet(0x10, &content)
}

/// PUBLISH at `qos`.
pub(crate) fn publish(version: Version, topic: &str, qos: u8, pkid: u16, payload: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    text(&mut content, topic.as_bytes());
    if qos > 0 {
        content.extend_from_slice(&pkid.to_be_bytes());
    }
    content.extend((version == Version::V5).then_some(0));
    content.extend_from_slice(payload);
    packet(0x30 | qos << 1, &content)
}

/// PUBACK.
pub(crate) fn puback(pkid: u16) -> Vec<u8> {
    packet(0x40, &pkid.to_be_bytes())
}

/// UNSUBSCRIBE.
pub(crate) fn unsubscribe(version: Version, filters: &[&str]) -> Vec<u8> {
    let mut content = vec![0, 10];
    content.extend((version == Version::V5).then_some(0));
    filters.iter().for_each(|filter| text(&mut content, filter.as_bytes()));
    packet(0xa2, &content)
}

/// SUBSCRIBE at QoS 1.
pub(crate) fn subscribe(version: Version, filters: &[&str]) -> Vec<u8> {
    subscribe_at(version, 1, filters)
}

/// SUBSCRIBE.
pub(crate) fn subscribe_at(version: Version, qos: u8, filters: &[&str]) -> Vec<u8> {
    let mut content = vec![0, 9];
    content.extend((version == Version::V5).then_some(0));
    for filter in filters {
        text(&mut content, filter.as_bytes());
        content.push(qos);
    }
    packet(0x82, &content)
}

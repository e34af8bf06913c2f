//! A gateway that runs by itself: it takes what agents ship, keeps what an operator tells them, and notes what became of
//! it.

use std::collections::BTreeMap;
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, PubAckReason, Publish, SubAck, SubscribeReasonCode};
use tokio::sync::mpsc;
use weir_protocol::batch::{Envelope, Section, describe};
use weir_protocol::{ChannelId, SchemaHash, Value};

use super::gateway::{Gateway, Peer};

/// Longer than anything here takes; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whether it acknowledges what agents ship.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Answers,
    Mute,
}

/// What is heard of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// An agent subscribed to all that it wants, this many topics.
    Subscribed(usize),
    /// A result: channel and text.
    Result(String, String),
    /// The agent took back what was kept for it: `do/c-1`.
    TakenBack(String),
    /// The connection is over.
    Gone,
}

pub(crate) struct ControlRoom {
    pub(crate) port: u16,
    orders: mpsc::UnboundedSender<(String, Vec<u8>)>,
    heard: mpsc::UnboundedReceiver<Heard>,
}

impl ControlRoom {
    pub(crate) async fn open(manner: Manner) -> Self {
        let gateway = Gateway::open().await;
        let port = gateway.port();
        let (orders, asked) = mpsc::unbounded_channel();
        let (tell, heard) = mpsc::unbounded_channel();
        let desk = Desk { manner, tell, retained: BTreeMap::new(), channels: BTreeMap::new(), asked };
        tokio::spawn(desk.run(gateway));
        Self { port, orders, heard }
    }

    /// Publishes, retained, on `config`, `do` or `do/{id}`.
    pub(crate) fn publish(&self, purpose: &str, payload: impl Into<Vec<u8>>) {
        let topic = format!("weir/1/default/edge-1/{purpose}");
        self.orders.send((topic, payload.into())).expect("a running control room");
    }

    /// The next thing that is heard.
    pub(crate) async fn hears(&mut self) -> Heard {
        let heard = tokio::time::timeout(PATIENCE, self.heard.recv()).await;
        heard.expect("something to be heard in time").expect("a running control room")
    }

    /// Waits until an agent subscribed; to how many topics.
    pub(crate) async fn is_subscribed(&mut self) -> usize {
        loop {
            if let Heard::Subscribed(topics) = self.hears().await {
                return topics;
            }
        }
    }

    /// The next results on a channel.
    pub(crate) async fn results<const N: usize>(&mut self, channel: &str) -> [String; N] {
        let mut results = Vec::new();
        while results.len() < N {
            if let Heard::Result(on, text) = self.hears().await
                && on == channel
            {
                results.push(text);
            }
        }
        results.try_into().expect("as many as were asked for")
    }
}

/// Whether a filter, which may end with `/+`, is for a topic.
fn fits(filter: &str, topic: &str) -> bool {
    let below = filter.strip_suffix('+').and_then(|parent| topic.strip_prefix(parent));
    filter == topic || below.is_some_and(|id| !id.contains('/'))
}

struct Desk {
    manner: Manner,
    tell: mpsc::UnboundedSender<Heard>,
    retained: BTreeMap<String, Vec<u8>>,
    channels: BTreeMap<(SchemaHash, ChannelId), String>,
    asked: mpsc::UnboundedReceiver<(String, Vec<u8>)>,
}

impl Desk {
    async fn run(mut self, gateway: Gateway) {
        loop {
            let mut peer = gateway.accept(100).await;
            let mut topics = Vec::new();
            loop {
                tokio::select! {
                    packet = peer.next() => match packet {
                        Some(packet) => self.take(&mut peer, packet, &mut topics).await,
                        None => break,
                    },
                    Some((topic, payload)) = self.asked.recv() => {
                        if topics.iter().any(|filter| fits(filter, &topic)) {
                            peer.publish(&topic, payload.clone()).await;
                        }
                        self.retained.insert(topic, payload);
                    }
                }
            }
            self.hear(Heard::Gone);
        }
    }

    fn hear(&self, heard: Heard) {
        // The test may have heard enough.
        let _ = self.tell.send(heard);
    }

    async fn take(&mut self, peer: &mut Peer, packet: Packet, topics: &mut Vec<String>) {
        match packet {
            Packet::Subscribe(subscribe) => {
                let return_codes = vec![SubscribeReasonCode::Success(QoS::AtLeastOnce)];
                peer.send(&Packet::SubAck(SubAck { pkid: subscribe.pkid, return_codes, properties: None })).await;
                let topic = subscribe.filters[0].path.clone();
                for (kept, payload) in self.retained.iter().filter(|(kept, _)| fits(&topic, kept)) {
                    peer.publish_retained(kept, payload.clone()).await;
                }
                topics.push(topic);
            }
            Packet::Publish(publish) => {
                if topics.len() > 1 || self.manner == Manner::Answers {
                    self.note(&publish, topics);
                }
                if self.manner == Manner::Answers || !publish.topic.ends_with(b"/batch") {
                    peer.answer(publish.pkid, PubAckReason::Success).await;
                }
            }
            _ => {}
        }
    }

    fn note(&mut self, publish: &Publish, topics: &[String]) {
        let topic = String::from_utf8_lossy(&publish.topic).into_owned();
        if publish.retain && publish.payload.is_empty() && self.retained.remove(&topic).is_some() {
            let id = topic.strip_prefix("weir/1/default/edge-1/").expect("a topic of its own");
            return self.hear(Heard::TakenBack(id.to_owned()));
        }
        match &*publish.topic {
            // The first thing that is published on a connection; every subscription is in front of it.
            topic if topic.ends_with(b"/status") => self.hear(Heard::Subscribed(topics.len())),
            topic if topic.ends_with(b"/describe") => {
                let description = describe::decode(&publish.payload).expect("a good description");
                for channel in description.channels {
                    let channel = channel.expect("a good channel");
                    self.channels.insert((description.schema, channel.id), channel.name.to_owned());
                }
            }
            topic if topic.ends_with(b"/batch") => {
                let envelope = Envelope::open(&publish.payload).expect("a good envelope");
                let mut buffer = Vec::new();
                for section in envelope.sections(&mut buffer).expect("a good body") {
                    let Section::Readings(run) = section.expect("a good section") else { continue };
                    for reading in run.iter() {
                        let (_, reading) = reading.expect("a good reading");
                        if let Value::Text(text) = reading.value {
                            let channel = self.channels[&(run.schema, reading.channel)].clone();
                            self.hear(Heard::Result(channel, text.to_owned()));
                        }
                    }
                }
            }
            _ => {}
        }
    }
}

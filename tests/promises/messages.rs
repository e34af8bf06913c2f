//! The same to everybody: whoever reads the log, by whatever protocol.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use serde_json::Value as Json;
use tokio::time::timeout;
use weir_lab::deployment::{Aim, Deployment, Target};
use weir_lab::kafka::log::Log;
use weir_protocol::ChannelId;
use weir_tests::sender::Sender;
use weir_tests::{PATIENCE, binaries, plan};

const CHANNEL: ChannelId = ChannelId(1);
/// What is published of each kind in each of three stretches.
const STRETCH: u64 = 40;
const FILTERS: [&str; 2] = ["plant/#", "weir/1/default/live/#"];

/// A client that is told what it gets.
struct Client {
    client: AsyncClient,
    events: EventLoop,
}

impl Client {
    /// With a session that outlives its connection, if `durable`; whether the gateway had it already.
    async fn connect(lab: &Deployment, id: &str, durable: bool) -> (Self, bool) {
        let mut options = MqttOptions::new(id, lab.mqtt.ip().to_string(), lab.mqtt.port());
        options.set_clean_session(!durable).set_keep_alive(Duration::from_secs(60)).set_inflight(100);
        // Only what was looked at is acknowledged: the library reads ahead, and would acknowledge what a kill takes with it.
        options.set_manual_acks(true);
        // Room for an acknowledgement of everything, as they are sent only while events are waited for.
        let (client, events) = AsyncClient::new(options, 10 * STRETCH as usize);
        let mut client = Self { client, events };
        loop {
            if let Packet::ConnAck(ack) = client.packet().await {
                return (client, ack.session_present);
            }
        }
    }

    /// The next packet that says something.
    async fn packet(&mut self) -> Packet {
        let next = async {
            loop {
                match self.events.poll().await.unwrap() {
                    Event::Incoming(Packet::PingResp) | Event::Outgoing(_) => (),
                    Event::Incoming(packet) => return packet,
                }
            }
        };
        timeout(PATIENCE, next).await.expect("something comes")
    }

    /// Takes the next packet, if it is a message.
    async fn hear(&mut self, known: &mut BTreeSet<String>, seen: &mut Seen) {
        if let Packet::Publish(publish) = self.packet().await {
            seen.take(known, &publish.topic, &publish.payload);
            self.client.ack(&publish).await.unwrap();
        }
    }

    /// Publishes one stretch and waits until all of it is acknowledged.
    async fn publish(&mut self, stretch: u64) {
        for number in stretch * STRETCH..(stretch + 1) * STRETCH {
            let topic = format!("plant/press/{}", number % 3);
            self.client.publish(topic, QoS::AtLeastOnce, false, number.to_string()).await.unwrap();
        }
        let mut acknowledged = 0;
        while acknowledged < STRETCH {
            acknowledged += u64::from(matches!(self.packet().await, Packet::PubAck(_)));
        }
    }
}

/// Readings of an agent and messages of a client that is none, each acknowledged.
async fn store(lab: &Deployment, stretch: u64) {
    Sender::connect(lab.mqtt, "edge", "pump").await.sample(stretch * STRETCH, &[CHANNEL; STRETCH as usize]).await;
    Client::connect(lab, "press", false).await.0.publish(stretch).await;
}

/// What somebody saw: messages as topic and payload in their order, and readings by place.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    messages: Vec<(String, String)>,
    readings: BTreeMap<(i64, i64), u64>,
}

impl Seen {
    fn is_whole(&self) -> bool {
        let whole = 3 * STRETCH as usize;
        self.messages.len() >= whole && self.readings.len() >= whole
    }

    /// Takes what MQTT brought; what comes again is the same message.
    fn take(&mut self, known: &mut BTreeSet<String>, topic: &str, payload: &[u8]) {
        let text = std::str::from_utf8(payload).unwrap();
        if topic.starts_with("plant/") {
            if known.insert(text.to_owned()) {
                self.messages.push((topic.to_owned(), text.to_owned()));
            }
            return;
        }
        let record: Json = serde_json::from_str(text).unwrap();
        let number = |json: &Json| json.as_i64().unwrap();
        let place = (number(&record["partition"]), number(&record["offset"]));
        let sequence = record["value"]["sequence"].as_u64().unwrap();
        assert!(self.readings.insert(place, sequence).is_none_or(|before| before == sequence), "{place:?}");
    }
}

/// What a consumer sees over Kafka.
async fn over_kafka(lab: &Deployment) -> Seen {
    let (mut log, mut seen) = (Log::connect(lab.kafka).await.unwrap(), Seen::default());
    for place in log.partitions().await.unwrap() {
        let take = |record: &weir_lab::kafka::log::Record| {
            let value = record.value.as_deref().unwrap_or_default();
            if place.0 == "messages" {
                let topic = record.headers.iter().find(|(name, _)| name.as_str() == "mqtt-topic");
                let topic = topic.and_then(|(_, topic)| topic.as_deref()).unwrap();
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                seen.messages.push((text(topic), text(value)));
            } else if place.0 == "readings" {
                // The sequence is compared by HTTP and Kafka elsewhere; here it is which records there are.
                let before = seen.readings.insert((place.1.into(), record.offset), 0);
                assert!(before.is_none());
            }
            Ok(())
        };
        log.read_whole(&place, take).await.unwrap();
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn a_durable_subscriber_and_a_consumer_see_the_same() {
    let plan = plan(|plan| {
        plan.boards = 0;
        plan.mqtt = "[[mqtt.store]]\nfilter = \"plant/#\"\n".to_owned();
    });
    let mut lab = Deployment::prepare(plan, binaries()).await.unwrap();
    lab.gateway.start().unwrap();
    lab.wait_for_gateway().await.unwrap();
    let (mut known, mut seen) = (BTreeSet::new(), Seen::default());
    let (mut archive, present) = Client::connect(&lab, "archive", true).await;
    assert!(!present);
    for filter in FILTERS {
        archive.client.subscribe(filter, QoS::AtLeastOnce).await.unwrap();
        while !matches!(archive.packet().await, Packet::SubAck(_)) {}
    }
    store(&lab, 0).await;
    // It hears a part of it, and is gone without a word.
    while seen.messages.len() < STRETCH as usize / 2 {
        archive.hear(&mut known, &mut seen).await;
    }
    drop(archive);
    for stretch in [1, 2] {
        lab.kill(Target::Gateway, Aim::Blind, 0).await.unwrap();
        lab.wait_for_gateway().await.unwrap();
        store(&lab, stretch).await;
    }
    let (mut archive, present) = Client::connect(&lab, "archive", true).await;
    assert!(present, "the gateway has its session");
    while !seen.is_whole() {
        archive.hear(&mut known, &mut seen).await;
    }
    let kafka = over_kafka(&lab).await;
    assert_eq!(seen.messages, kafka.messages, "the same messages in the same order");
    assert!(seen.readings.keys().eq(kafka.readings.keys()), "{:?}\n{:?}", seen.readings, kafka.readings);
    let sequences: Vec<_> = seen.readings.values().copied().collect();
    assert_eq!(sequences, (0..3 * STRETCH).collect::<Vec<_>>(), "each reading once, in order");
    lab.scratch.remove().unwrap();
}

//! Ways out of a plant: brokers of others, where batches arrive behind their descriptions and the agent says whose
//! promise it is; the gateway's WebSocket; and a proxy, as companies have them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::json;
use weir_protocol::batch::{Envelope, Section, describe};
use weir_protocol::mqtt::{Purpose, Topic};
use weir_protocol::{ChannelId, Value};
use weir_tests::PATIENCE;

use crate::peer::{Broker, Proxy};
use crate::stage::{Stage, THIS_MACHINE};
use crate::tree::Tree;

/// What a consumer at the broker makes of what comes: units by schema, and values.
#[derive(Default)]
struct Consumer {
    units: BTreeMap<(u64, ChannelId), (String, String)>,
    /// `name = value unit`
    read: Vec<String>,
}

impl Consumer {
    fn take(&mut self, topic: &str, payload: &[u8]) {
        let Some(topic) = Topic::parse(topic) else { return };
        match topic.purpose {
            Purpose::Describe => {
                let description = describe::decode(payload).unwrap();
                for channel in description.channels.iter().map(Result::unwrap) {
                    let meaning = (channel.name.to_owned(), channel.unit.to_owned());
                    self.units.insert((u64::from(description.schema.0), channel.id), meaning);
                }
            }
            Purpose::Batch => {
                let envelope = Envelope::open(payload).unwrap();
                let mut buffer = Vec::new();
                for section in envelope.sections(&mut buffer).unwrap().iter() {
                    let Section::Readings(run) = section.unwrap() else { continue };
                    for (_, reading) in run.iter().map(Result::unwrap) {
                        let key = (u64::from(run.schema.0), reading.channel);
                        let (name, unit) = self.units.get(&key).expect("a description went before");
                        if let Value::Double(value) = reading.value {
                            self.read.push(format!("{name} = {value} {unit}"));
                        }
                    }
                }
            }
            _ => {}
        }
    }

    /// Reads until this was there.
    async fn until(broker: &Broker, wanted: &str, subscribed: tokio::sync::oneshot::Sender<()>) -> Self {
        let mut options = MqttOptions::new("consumer", broker.address.ip().to_string(), broker.address.port());
        options.set_keep_alive(Duration::from_secs(30)).set_max_packet_size(1 << 20, 1 << 20);
        let (client, mut events) = AsyncClient::new(options, 16);
        client.subscribe("weir/1/#", QoS::AtLeastOnce).await.unwrap();
        let (mut consumer, mut subscribed) = (Self::default(), Some(subscribed));
        loop {
            match events.poll().await.unwrap() {
                Event::Incoming(Packet::SubAck(_)) => drop(subscribed.take().map(|subscribed| subscribed.send(()))),
                Event::Incoming(Packet::Publish(publish)) => consumer.take(&publish.topic, &publish.payload),
                _ => {}
            }
            if consumer.read.iter().any(|reading| reading == wanted) {
                return consumer;
            }
        }
    }
}

/// What an agent says over 5 where no gateway answers, and over 3.1.1 always.
const OTHER: &str = "no Weir gateway";
const NOBODY_KNOWS: &str = "over MQTT 3.1.1 nobody can say";

async fn batches_arrive_at(broker: Option<Broker>, version: &str, promise: &str) {
    let Some(broker) = broker else { return };
    let machine = Tree::new(&[
        ("sys/class/thermal/thermal_zone0/type", "cpu-thermal"),
        ("sys/class/thermal/thermal_zone0/temp", "48312"),
    ]);
    let mut stage = Stage::prepare(|plan| plan.system = true).await;
    stage.set("WEIR_AGENT_UPLINK__ADDRESS", Path::new(&broker.address.to_string()));
    stage.set("WEIR_AGENT_UPLINK__MQTT", Path::new(version));
    stage.set("WEIR_AGENT_SYSTEM__ROOT", machine.root());
    let (subscribed, is_subscribed) = tokio::sync::oneshot::channel();
    let consumer = Consumer::until(&broker, "thermal.0.cpu-thermal = 48.312 Cel", subscribed);
    let story = async {
        is_subscribed.await.unwrap();
        stage.deployment.agent.start().unwrap();
        stage.until_said(promise).await;
        stage
    };
    let (_, mut stage) =
        tokio::time::timeout(PATIENCE, async { tokio::join!(consumer, story) }).await.expect("it comes");
    // What the broker has acknowledged leaves the queue: the agent has nothing left to drain.
    stage.deployment.agent.stop(PATIENCE).await.unwrap();
    assert!(stage.log_of_agent().contains("the gateway has everything"), "{}", stage.log_of_agent());
    stage.deployment.scratch.remove().unwrap();
    broker.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_over_5_is_another_broker_and_the_agent_says_so() {
    batches_arrive_at(Broker::mosquitto().await, "5", OTHER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_over_3_1_1_may_be_another_broker_and_the_agent_says_so() {
    batches_arrive_at(Broker::mosquitto().await, "3.1.1", NOBODY_KNOWS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hivemq_works_as_it_is() {
    batches_arrive_at(Broker::of("hivemq").await, "5", OTHER).await;
    batches_arrive_at(Broker::of("hivemq").await, "3.1.1", NOBODY_KNOWS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mochi_works_as_it_is() {
    batches_arrive_at(Broker::of("mochi").await, "5", OTHER).await;
    batches_arrive_at(Broker::of("mochi").await, "3.1.1", NOBODY_KNOWS).await;
}

/// It speaks 3.1.1 alone.
#[tokio::test(flavor = "multi_thread")]
async fn aedes_works_as_it_is() {
    batches_arrive_at(Broker::of("aedes").await, "3.1.1", NOBODY_KNOWS).await;
}

/// A machine ships to the gateway at this address.
async fn readings_arrive_by(address: impl FnOnce(&Stage) -> String, proxy: Option<&str>) {
    let machine = Tree::new(&[
        ("sys/class/thermal/thermal_zone0/type", "cpu-thermal"),
        ("sys/class/thermal/thermal_zone0/temp", "48312"),
    ]);
    let mut stage = Stage::prepare(|plan| plan.system = true).await;
    let address = address(&stage);
    stage.set("WEIR_AGENT_UPLINK__ADDRESS", Path::new(&address));
    if let Some(proxy) = proxy {
        stage.set("WEIR_AGENT_UPLINK__PROXY", Path::new(proxy));
    }
    stage.set("WEIR_AGENT_SYSTEM__ROOT", machine.root());
    stage.launch().await;
    stage.expect(THIS_MACHINE, &[("thermal.0.cpu-thermal", "Cel", json!(48.312))]).await;
    // The ledger was not on this way.
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readings_arrive_over_the_websocket_of_the_gateway() {
    readings_arrive_by(|stage| format!("ws://{}/mqtt", stage.deployment.http), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readings_arrive_through_tinyproxy() {
    let Some(proxy) = Proxy::start().await else { return };
    let through = format!("http://{}", proxy.address);
    readings_arrive_by(|stage| stage.deployment.mqtt.to_string(), Some(&through)).await;
    readings_arrive_by(|stage| format!("ws://{}/mqtt", stage.deployment.http), Some(&through)).await;
    assert!(proxy.log().contains("CONNECT"), "nobody came by: {}", proxy.log());
    proxy.end().await;
}

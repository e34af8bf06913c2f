//! Topics, schemas and dead letters.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value as Json, json};
use weir_lab::deployment::{Aim, Deployment, Target};
use weir_protocol::{Channel, ChannelId, ValueKind};
use weir_tests::rough::records;
use weir_tests::sender::Sender;
use weir_tests::{binaries, plan};

/// Readings in a batch.
const BATCH: u64 = 20;
const LEVEL: ChannelId = ChannelId(1);
const FLOW: ChannelId = ChannelId(2);

fn channel(id: ChannelId, name: &'static str, unit: &'static str) -> Channel<'static> {
    Channel { id, name, unit, kind: ValueKind::Float, resolution: 0.0 }
}

/// A gateway alone, running, with these tables of settings.
async fn gateway(settings: &str) -> Deployment {
    let change = |plan: &mut weir_lab::deployment::Plan| {
        plan.boards = 0;
        plan.topics = settings.to_owned();
    };
    let mut lab = Deployment::prepare(plan(change), binaries()).await.unwrap();
    lab.gateway.start().unwrap();
    lab.wait_for_gateway().await.unwrap();
    lab
}

/// Device and sequence of every reading in a topic, in the order of partition and offset, with its value as JSON.
async fn readings(lab: &Deployment, wanted: impl Fn(&str) -> bool) -> Vec<(String, Json)> {
    let mut found = Vec::new();
    for (topic, partition) in lab.log.partitions().await.unwrap() {
        if wanted(&topic) {
            let values =
                records(&lab.log, &topic, partition).await.into_iter().map(|mut record| record["value"].take());
            found.extend(values.map(|value| (topic.clone(), value)));
        }
    }
    found
}

/// Of a device, the sequences of these readings in their order.
fn sequences(readings: &[(String, Json)], device: &str) -> Vec<u64> {
    let of_device = readings.iter().filter(|(_, value)| value["device"] == device);
    of_device.map(|(_, value)| value["sequence"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_routed_reading_is_in_exactly_one_topic() {
    let routes = "[[topics.route]]\ntopic = \"pumps\"\ndevice = \"pump-*\"\n\n\
                  [[topics.route]]\ntopic = \"levels\"\nchannel = \"lev*\"\n";
    let mut lab = gateway(routes).await;
    // The first route that matches wins, and what matches none goes to `readings`.
    let expected = [("pump-1", "pumps"), ("pump-2", "pumps"), ("tank-1", "levels"), ("valve-1", "readings")];
    for round in 0..2 {
        for (device, _) in expected {
            let mut sender = Sender::connect(lab.mqtt, "router", device).await;
            let name = if device == "valve-1" { "state" } else { "level" };
            sender.describe(&[channel(LEVEL, name, "m")]).await;
            // All of it again in the second round, as an agent does that has lost its answers.
            for batch in 0..4 {
                sender.sample(batch * BATCH, &[LEVEL; BATCH as usize]).await;
            }
        }
        if round == 0 {
            lab.kill(Target::Gateway, Aim::Blind, 0).await.unwrap();
            lab.wait_for_gateway().await.unwrap();
        }
    }
    let all = readings(&lab, |topic| !topic.starts_with("weir.")).await;
    for (device, topic) in expected {
        let there: Vec<_> = all.iter().filter(|(_, value)| value["device"] == device).collect();
        assert!(there.iter().all(|(found, _)| found == topic), "{device}: not only in {topic}");
        assert_eq!(sequences(&all, device), (0..4 * BATCH).collect::<Vec<_>>(), "{device}: each once");
    }
    lab.scratch.remove().unwrap();
}

/// Half of the readings of a device whose level changed its unit under the same id, and whose flow did not.
async fn change_of_a_unit(lab: &Deployment) {
    let mut sender = Sender::connect(lab.mqtt, "changing", "tank").await;
    sender.describe(&[channel(LEVEL, "level", "m"), channel(FLOW, "flow", "l/s")]).await;
    sender.sample(0, &[LEVEL, FLOW, LEVEL, FLOW]).await;
    sender.describe(&[channel(LEVEL, "level", "cm"), channel(FLOW, "flow", "l/s")]).await;
    sender.sample(4, &[LEVEL, FLOW, LEVEL, FLOW]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incompatible_channel_is_dead_lettered_and_the_others_flow() {
    let lab = gateway("").await;
    change_of_a_unit(&lab).await;
    let stored = readings(&lab, |topic| topic == "readings").await;
    assert_eq!(sequences(&stored, "tank"), [0, 1, 2, 3, 5, 7], "the flow goes on");
    let dead = readings(&lab, |topic| topic == "weir.deadletter").await;
    assert!(!dead.is_empty() && dead.iter().all(|(_, letter)| letter["reason"] == "unit-changed"), "{dead:?}");
    lab.scratch.remove().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redriven_dead_letter_is_stored_once() {
    let mut lab = gateway("\n[schemas]\ncompatibility = \"strict\"\n").await;
    change_of_a_unit(&lab).await;
    // What was wrong is put right: the change was meant.
    let settings = lab.scratch.join("gateway.toml");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, text.replace("\"strict\"", "\"none\"")).unwrap();
    let all = json!({"all": true});
    for again in [false, true, false] {
        lab.kill(Target::Gateway, Aim::Blind, 0).await.unwrap();
        lab.wait_for_gateway().await.unwrap();
        lab.log.post("/deadletters/redrive", &all).await.unwrap();
        if again {
            lab.log.post("/deadletters/redrive", &all).await.unwrap();
        }
    }
    let stored = readings(&lab, |topic| topic == "readings").await;
    let counts = sequences(&stored, "tank").into_iter().fold(BTreeMap::new(), |mut counts, sequence| {
        *counts.entry(sequence).or_insert(0) += 1;
        counts
    });
    assert_eq!(counts, (0..8).map(|sequence| (sequence, 1)).collect(), "each once");
    let healing = stored.iter().filter(|(_, value)| value["heals"] == true);
    let healing: Vec<_> = healing.map(|(_, value)| value["sequence"].as_u64().unwrap()).collect();
    assert_eq!(healing, [4, 6], "what was a dead letter is marked");
    lab.scratch.remove().unwrap();
}

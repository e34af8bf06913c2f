//! Topics that the settings route to, as producers and consumers see them.

use serde_json::{Value, json};

use crate::script::{Answered, Client, connect, subscribe};
use crate::whole::publish_v4;
use crate::world::{Gateway, batch, description};
use weir_gateway::mqtt::packet::Version::V5;

const ROUTE: (&str, &str) = ("TOPICS__ROUTE", "[{ topic = \"pumps\", device = \"pump-*\", unit = \"Cel\" }]");
const DEFINE: (&str, &str) = ("TOPICS__DEFINE", "[{ topic = \"pumps\", partitions = 2, retention_age = \"30d\" }]");
const JSON: (&str, &str) = ("TOPICS__DEFINE", "[{ topic = \"pumps\", format = \"json\", compact = true }]");

async fn store(gateway: &Gateway, device: &str, sequences: std::ops::Range<u64>) {
    let messages = vec![("describe", description(device)), ("batch", batch(device, sequences))];
    publish_v4(gateway, "edge-1", messages).await;
}

/// Keys and sequences of all records of a topic.
async fn content(gateway: &Gateway, topic: &str) -> Vec<(String, u64)> {
    let about = gateway.json(&format!("/topics/{topic}")).await;
    let mut all = Vec::new();
    for partition in 0..about["partitions"].as_array().unwrap().len() {
        let page = gateway.json(&format!("/topics/{topic}/partitions/{partition}/records?limit=1000")).await;
        let record = |record: &Value| {
            let sequence = record["value"]["sequence"].as_u64().unwrap();
            (record["key"].as_str().unwrap().to_owned(), sequence)
        };
        all.extend(page["records"].as_array().unwrap().iter().map(record));
    }
    all.sort_unstable();
    all
}

fn all(key: &str, sequences: std::ops::Range<u64>) -> Vec<(String, u64)> {
    sequences.map(|sequence| (key.to_owned(), sequence)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_leads_readings_to_a_topic_of_their_own_for_as_long_as_it_is_set() {
    let gateway = Gateway::start_with(tempfile::tempdir().unwrap(), &[ROUTE, DEFINE]).await;
    let mut viewer = Client::dial_tcp(gateway.at.mqtt, V5).await;
    viewer.send(&connect(V5, "viewer", 0, None)).await;
    assert_eq!(viewer.answer().await, Answered::Connected(0));
    viewer.send(&subscribe(V5, &["weir/1/default/live/pump-1/#"])).await;
    assert_eq!(viewer.answer().await, Answered::Subscribed(vec![1]));

    store(&gateway, "pump-1", 0..3).await;
    store(&gateway, "fan-1", 0..2).await;
    assert_eq!(content(&gateway, "pumps").await, all("pump-1", 0..3));
    assert_eq!(content(&gateway, "readings").await, all("fan-1", 0..2));
    let Answered::Published { payload, .. } = viewer.answer().await else { panic!("a live reading") };
    let live: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!((&live["topic"], &live["value"]["sequence"]), (&json!("pumps"), &json!(0)), "where to read on");

    let about = gateway.json("/topics/pumps").await;
    assert_eq!(about["routes"], json!(["device = pump-*, unit = Cel"]));
    assert_eq!((&about["schema_id"], &about["retention_ms"]), (&json!(100), &json!(30 * 86_400_000u64)));
    let schema = gateway.json("/schemas/ids/100").await["schema"].as_str().unwrap().to_owned();
    assert!(schema.contains("Reading_pumps"), "{schema}");

    // The settings forget the topic: it stays, and what it holds is stored.
    let gateway = Gateway::start_on(gateway.stop().await).await;
    store(&gateway, "pump-1", 0..5).await;
    assert_eq!(content(&gateway, "pumps").await, all("pump-1", 0..3));
    let readings = [all("fan-1", 0..2), all("pump-1", 3..5)].concat();
    assert_eq!(content(&gateway, "readings").await, readings);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_json_topic_of_states_is_served_and_has_no_subject() {
    let gateway = Gateway::start_with(tempfile::tempdir().unwrap(), &[ROUTE, JSON]).await;
    store(&gateway, "pump-1", 0..3).await;
    assert_eq!(content(&gateway, "pumps").await, all("pump-1/temperature", 0..3));
    let about = gateway.json("/topics/pumps").await;
    assert_eq!(
        (&about["format"], &about["compact"], &about["schema_id"]),
        (&json!("json"), &json!(true), &Value::Null)
    );
    let subjects = gateway.json("/subjects").await;
    assert!(!subjects.as_array().unwrap().contains(&json!("pumps-value")));
    gateway.stop().await;
}

//! Values decoded by the registry clients that belong to the clients, without any setting.

use std::collections::BTreeSet;

use serde_json::Value as Json;
use weir_tests::sender::RESTART;

use crate::client::Client;
use crate::order::Order;
use crate::stage::{READINGS, Stage};

/// Fields that are unions may name the branch: `{"float": 1.5}`.
fn unwrapped(value: &Json) -> &Json {
    value.as_object().and_then(|branch| branch.values().next()).unwrap_or(value)
}

async fn decodes_what_was_sent(client: Client) {
    let stage = Stage::full().await;
    let registry = Some(format!("http://{}", stage.deployment.http));
    let order = Order { registry, ..Order::records(READINGS) };
    let Some(running) = client.start(stage.kafka, &order) else { return };
    let mut identities = BTreeSet::new();
    for record in running.finish().await {
        let value: Json = serde_json::from_str(&record.value).unwrap();
        let sequence = value["sequence"].as_u64().unwrap();
        assert_eq!(value["tenant"], "default", "{value}");
        assert_eq!(value["device"], record.key, "{value}");
        assert_eq!(value["restart"], RESTART.0.to_string(), "{value}");
        assert_eq!(value["channel"], "level", "{value}");
        assert_eq!(value["unit"], "m", "{value}");
        assert_eq!(value["clock"], "synchronised", "{value}");
        assert_eq!(value["time"], stage.time(sequence).0, "{value}");
        assert_eq!(unwrapped(&value["value"]).as_f64(), Some(sequence as f64), "{value}");
        assert!(identities.insert((record.key, sequence)), "twice: {value}");
    }
    assert_eq!(identities.len() as u64, READINGS);
}

#[tokio::test(flavor = "multi_thread")]
async fn confluent_kafka_decodes_what_was_sent() {
    decodes_what_was_sent(Client::Confluent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kafkajs_decodes_what_was_sent() {
    decodes_what_was_sent(Client::Kafkajs).await;
}

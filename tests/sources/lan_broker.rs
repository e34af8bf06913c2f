//! `[[mqtt]]` and mosquitto as the broker of a plant, with mosquitto_pub as its devices.

use serde_json::json;
use tokio::process::Command;
use weir_lab::deployment::{Aim, Target};
use weir_tests::{PATIENCE, skip};

use crate::peer::Broker;
use crate::stage::Stage;

/// Three kinds of devices: one that publishes numbers, one JSON, one names of states.
fn source(broker: &Broker, version: &str) -> String {
    format!(
        r#"
[[mqtt]]
name = "hall"
address = "{}"
mqtt = "{version}"

[[mqtt.topic]]
filter = "hall/+/temperature"
payload = "number"
device = "{{2}}"
channel = "temperature"

[[mqtt.topic]]
filter = "zigbee/+"
payload = "json"
device = "{{2}}"
fields = ["temperature", "battery", "contact"]

[[mqtt.topic]]
filter = "hall/+/state"
payload = "text"
device = "{{2}}"
channel = "state"

[[mqtt.unit]]
channel = "temperature"
unit = "Cel"

[[mqtt.unit]]
channel = "battery"
unit = "%"
"#,
        broker.address
    )
}

/// Publishes at QoS 1 and waits for the broker's answer; false, said loudly, if mosquitto_pub is not installed.
async fn publish(broker: &Broker, topic: &str, payload: &str, more: &[&str]) -> bool {
    let (host, port) = (broker.address.ip().to_string(), broker.address.port().to_string());
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", &host, "-p", &port, "-q", "1", "-t", topic, "-m", payload]).args(more).kill_on_drop(true);
    match tokio::time::timeout(PATIENCE, command.output()).await.expect("mosquitto_pub ends") {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            skip("mosquitto_pub is not installed; type: apt-get install mosquitto-clients");
            return false;
        }
        Err(error) => panic!("{error}"),
    }
    true
}

async fn what_devices_publish_is_in_the_log(version: &str) {
    let Some(broker) = Broker::mosquitto().await else { return };
    // Retained long ago: no reading of now.
    if !publish(&broker, "hall/oven-1/temperature", "1000", &["-r"]).await {
        return;
    }
    let stage = Stage::start(&source(&broker, version)).await;
    stage.until_health("mqtt.hall", |health| health["state"] == "running").await;
    publish(&broker, "hall/oven-1/temperature", "212.5", &[]).await;
    publish(&broker, "hall/oven-1/state", "heating", &[]).await;
    publish(&broker, "hall/oven-1/temperature", "warm", &[]).await;
    let json = r#"{"temperature": 19.25, "battery": 87, "contact": true, "linkquality": 120}"#;
    publish(&broker, "zigbee/door-1", json, &[]).await;
    stage.expect("oven-1", &[("temperature", "Cel", json!(212.5)), ("state", "1", json!("heating"))]).await;
    let door = [("temperature", "Cel", json!(19.25)), ("battery", "%", json!(87)), ("contact", "1", json!(true))];
    stage.expect("door-1", &door).await;
    let oven = stage.readings("oven-1").await;
    assert_eq!(oven.len(), 2, "neither what was retained nor what is no number: {oven:?}");
    stage.end().await;
    broker.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_devices_publish_is_in_the_log_over_3_1_1() {
    what_devices_publish_is_in_the_log("3.1.1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_devices_publish_is_in_the_log_over_5() {
    what_devices_publish_is_in_the_log("5").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_while_the_agent_was_down_is_not_missed() {
    let Some(broker) = Broker::mosquitto().await else { return };
    let mut stage = Stage::start(&source(&broker, "5")).await;
    stage.until_health("mqtt.hall", |health| health["state"] == "running").await;
    if !publish(&broker, "hall/oven-1/temperature", "1", &[]).await {
        return;
    }
    stage.expect("oven-1", &[("temperature", "Cel", json!(1))]).await;
    stage.deployment.agent.end().await.unwrap();
    publish(&broker, "hall/oven-1/temperature", "2", &[]).await;
    publish(&broker, "hall/oven-1/temperature", "3", &[]).await;
    stage.deployment.agent.start().unwrap();
    stage.expect("oven-1", &[("temperature", "Cel", json!(2)), ("temperature", "Cel", json!(3))]).await;
    stage.deployment.kill(Target::Agent, Aim::Blind, 0).await.unwrap();
    publish(&broker, "hall/oven-1/temperature", "4", &[]).await;
    stage.expect("oven-1", &[("temperature", "Cel", json!(4))]).await;
    stage.end().await;
    broker.end().await;
}

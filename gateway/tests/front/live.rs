//! Live subscriptions as clients see them, over real sockets.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;
use weir_gateway::mqtt::packet::Version::{self, V4, V5};

use crate::script::{Answered, Client, connect, packet, puback, subscribe, subscribe_at, unsubscribe};
use crate::whole::publish_v4;
use crate::world::{Gateway, batch, description};

const PATIENCE: Duration = Duration::from_secs(60);
const BOTH: [Version; 2] = [V4, V5];
const ALL: &str = "weir/1/default/live/#";

async fn store(gateway: &Gateway, device: &str, sequences: std::ops::Range<u64>) {
    let messages = vec![("describe", description(device)), ("batch", batch(device, sequences))];
    publish_v4(gateway, "edge-1", messages).await;
}

async fn viewer(gateway: &Gateway, version: Version, name: &str) -> Client<TcpStream> {
    let mut client = Client::dial_tcp(gateway.at.mqtt, version).await;
    client.send(&connect(version, name, 0, None)).await;
    assert_eq!(client.answer().await, Answered::Connected(0));
    client
}

/// The sequence of the next live reading, and its packet id.
async fn heard(client: &mut Client<TcpStream>) -> (u64, u16) {
    match client.answer().await {
        Answered::Published { payload, pkid, .. } => {
            let record: Value = serde_json::from_slice(&payload).unwrap();
            (record["value"]["sequence"].as_u64().unwrap(), pkid)
        }
        other => panic!("got {other:?}, expected a live reading"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_hears_what_is_committed_as_http_serves_it() {
    let gateway = Gateway::start().await;
    for version in BOTH {
        let name = format!("{version:?}");
        let mut client = viewer(&gateway, version, &name).await;
        client.send(&subscribe(version, &[&format!("weir/1/default/live/{name}/+")])).await;
        assert_eq!(client.answer().await, Answered::Subscribed(vec![1]));
        store(&gateway, &name, 0..3).await;
        let stored = gateway.records("readings").await;
        for sequence in 0..3 {
            let Answered::Published { topic, payload, pkid } = client.answer().await else { panic!() };
            assert_eq!(topic, format!("weir/1/default/live/{name}/temperature"));
            assert_eq!(u64::from(pkid), sequence + 1);
            let live: Value = serde_json::from_slice(&payload).unwrap();
            assert_eq!(live["value"]["sequence"], sequence);
            assert!(stored.contains(&live), "{live} is not what HTTP serves");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_at_qos_1_gets_no_more_than_it_takes_unacknowledged() {
    let gateway = Gateway::start().await;
    let mut client = Client::dial_tcp(gateway.at.mqtt, V5).await;
    // Receive Maximum 2.
    client.send(&packet(0x10, b"\x00\x04MQTT\x05\x02\x00\x00\x03\x21\x00\x02\x00\x04view")).await;
    assert_eq!(client.answer().await, Answered::Connected(0));
    client.send(&subscribe(V5, &[ALL])).await;
    assert_eq!(client.answer().await, Answered::Subscribed(vec![1]));
    store(&gateway, "pump-1", 0..10).await;
    let (first, second) = (heard(&mut client).await, heard(&mut client).await);
    assert_eq!((first.0, second.0), (0, 1));
    client.expect_quiet().await;
    // An acknowledgement for nothing is none.
    client.send(&puback(7777)).await;
    client.expect_quiet().await;
    let mut unacknowledged = vec![first.1, second.1];
    for sequence in 2..10 {
        client.send(&puback(unacknowledged.remove(0))).await;
        let (got, pkid) = heard(&mut client).await;
        assert_eq!(got, sequence);
        assert!(!unacknowledged.contains(&pkid));
        unacknowledged.push(pkid);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_ends_and_another_tenant_is_out_of_reach() {
    let gateway = Gateway::start().await;
    for (version, [outside, shared, invalid, many]) in [(V4, [0x80; 4]), (V5, [0x87, 0x9e, 0x8f, 0x97])] {
        let device = format!("device-{version:?}");
        let mut client = viewer(&gateway, version, &format!("view-{version:?}")).await;
        let filters = ["weir/1/other/live/#", "$share/g/weir/1/default/live/#", "a/#/b", ALL];
        client.send(&subscribe_at(version, 0, &filters)).await;
        let codes = vec![outside, shared, invalid, 0];
        assert_eq!(client.answer().await, Answered::Subscribed(codes));
        store(&gateway, &device, 0..1).await;
        assert_eq!(heard(&mut client).await, (0, 0));
        client.send(&unsubscribe(version, &[ALL])).await;
        assert_eq!(client.answer().await, Answered::Unsubscribed);
        store(&gateway, &device, 1..2).await;
        client.expect_quiet().await;
        let many_filters: Vec<_> = (0..257).map(|n| format!("weir/1/default/live/{n}/#")).collect();
        client.send(&subscribe_at(version, 0, &many_filters.iter().map(String::as_str).collect::<Vec<_>>())).await;
        let mut codes = vec![0; 256];
        codes.push(many);
        assert_eq!(client.answer().await, Answered::Subscribed(codes));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_has_as_many_subscriptions_as_the_settings_say() {
    let settings = [("MQTT__SUBSCRIPTIONS", "2"), ("MQTT__TOPIC_LEVELS", "6")];
    let gateway = Gateway::start_with(tempfile::tempdir().unwrap(), &settings).await;
    for (version, [many, deep]) in [(V4, [0x80; 2]), (V5, [0x97, 0x8f])] {
        let mut client = viewer(&gateway, version, &format!("view-{version:?}")).await;
        client.send(&subscribe_at(version, 0, &["a/#", "1/2/3/4/5/6/7", "b/#", "c/#"])).await;
        assert_eq!(client.answer().await, Answered::Subscribed(vec![0, deep, 0, many]));
        // One that it has is no other one, and one that goes makes room.
        client.send(&subscribe_at(version, 1, &["b/#"])).await;
        assert_eq!(client.answer().await, Answered::Subscribed(vec![1]));
        client.send(&unsubscribe(version, &["a/#"])).await;
        assert_eq!(client.answer().await, Answered::Unsubscribed);
        client.send(&subscribe_at(version, 0, &["c/#"])).await;
        assert_eq!(client.answer().await, Answered::Subscribed(vec![0]));
    }
    let (_, metrics) = gateway.get("/metrics").await;
    let counted = r#"weir_gateway_mqtt_refusals_total{reason="too-many-subscriptions"} 2"#;
    assert!(metrics.contains(counted), "{metrics}");
}

/// The client that people have at hand.
#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_sub_shows_live_readings() {
    let version = Command::new("mosquitto_sub").arg("--help").stdout(Stdio::null()).status().await;
    if version.is_err() {
        let why = "mosquitto_sub is missing; type: apt-get install mosquitto-clients";
        assert!(std::env::var_os("TESTS_REQUIRE_ALL").is_none_or(|all| all != "1"), "SKIPPED: {why}");
        eprintln!("SKIPPED: {why}");
        return;
    }
    let gateway = Gateway::start().await;
    for protocol in ["mqttv311", "mqttv5"] {
        let port = gateway.at.mqtt.port().to_string();
        let arguments = ["-h", "127.0.0.1", "-p", &port, "-V", protocol, "-i", protocol, "-q", "1", "-v", "-t", ALL];
        let child = Command::new("mosquitto_sub")
            .args(arguments)
            .args(["-C", "2"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        subscribers(&gateway, 1).await;
        store(&gateway, protocol, 0..2).await;
        let output = timeout(PATIENCE, child.wait_with_output()).await.expect("two messages").unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        let topic = format!("weir/1/default/live/{protocol}/temperature ");
        let sequence = |line: &str| {
            let record: Value = serde_json::from_str(line.strip_prefix(&topic).expect("topic and payload")).unwrap();
            record["value"]["sequence"].as_u64().unwrap()
        };
        assert_eq!(output.lines().map(sequence).collect::<Vec<_>>(), [0, 1], "{output}");
        subscribers(&gateway, 0).await;
    }
}

/// Waits until the gateway has so many subscriptions.
async fn subscribers(gateway: &Gateway, count: u64) {
    let wanted = format!("\nweir_gateway_mqtt_subscriptions {count}\n");
    let reached = async { while !gateway.get("/metrics").await.1.contains(&wanted) {} };
    timeout(PATIENCE, reached).await.expect("subscribers come and go");
}

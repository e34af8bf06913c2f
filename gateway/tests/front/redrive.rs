//! Redriving dead letters, as operators do it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use weir_protocol::batch::describe::{self, Description};
use weir_protocol::batch::{EnvelopeBuilder, RunBuilder};
use weir_protocol::items::{self, Items};
use weir_protocol::{
    Channel, ChannelId, Clock, DeviceId, Reading, Restart, SchemaHash, Sequence, Timestamp, Value as Sample, ValueKind,
};

use crate::whole::publish_v4;
use crate::world::{Gateway, ask, batch, description, post};

/// Another description of pump-1 than the one in [`description`]: its temperature is in Kelvin; and its schema.
fn second_description() -> (SchemaHash, Vec<u8>) {
    let (device, kind) = (DeviceId::new("pump-1").unwrap(), ValueKind::Float);
    let mut channels = Vec::new();
    items::push(&mut channels, &Channel { id: ChannelId(0), name: "temperature", unit: "K", kind, resolution: 0.5 });
    let channels = Items::new(&channels);
    let schema = SchemaHash::of(channels);
    (schema, describe::encode(&Description { device, schema, channels }))
}

/// Three readings in Kelvin.
fn kelvin(schema: SchemaHash, first: u64) -> Vec<u8> {
    let mut run = RunBuilder::new(DeviceId::new("pump-1").unwrap(), Restart(7), schema, Sequence(first));
    for _ in 0..3 {
        let (time, clock, value) = (Timestamp(0), Clock::Uptime, Sample::Float(280.0));
        run.push(&Reading { channel: ChannelId(0), time, clock, value });
    }
    let mut envelope = EnvelopeBuilder::new();
    envelope.push(&run.section());
    envelope.finish(true)
}

/// Runs the command beside the gateway: exit code, standard output, standard error.
pub(crate) async fn weir(settings: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-gateway"));
    command.args(arguments).arg("--config").arg(settings).env_remove("WEIR_LOG");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

pub(crate) fn settings(gateway: &Gateway) -> PathBuf {
    let path = gateway.data.path().join("gateway.toml");
    std::fs::write(&path, format!("data = {:?}\n", gateway.data.path())).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_raised_limit_cures_is_stored_once_and_the_rest_says_why_not() {
    let few = [("LIMITS__SCHEMAS_PER_DEVICE", "1")];
    let gateway = Gateway::start_with(tempfile::tempdir().unwrap(), &few).await;
    let mut unreadable = batch("pump-1", 0..3);
    *unreadable.last_mut().unwrap() ^= 1;
    let messages =
        vec![("describe", description("pump-1")), ("describe", second_description().1), ("batch", unreadable)];
    publish_v4(&gateway, "edge-1", messages).await;
    let path = settings(&gateway);
    let (code, listed, _) = weir(&path, &["deadletter", "list"]).await;
    assert_eq!((code, listed.lines().count()), (Some(0), 2), "{listed}");

    // Nothing is meant by leaving out what is meant, and a dry run changes nothing.
    let (code, _, message) = weir(&path, &["deadletter", "redrive"]).await;
    assert_eq!(code, Some(2), "{message}");
    assert!(message.contains("--all"), "{message}");
    let (code, dry, _) = weir(&path, &["deadletter", "redrive", "--all", "--dry-run"]).await;
    assert_eq!((code, dry.matches("would be tried").count()), (Some(0), 2), "{dry}");

    let (code, tried, _) = weir(&path, &["deadletter", "redrive", "--all"]).await;
    assert_eq!(code, Some(0));
    assert!(tried.contains("still refused: too-many-schemas"), "{tried}");
    assert!(tried.contains("still refused: unreadable-body; stored 0, left 3"), "{tried}");
    assert!(tried.ends_with("2 tried, 0 readings stored, 2 still refused\n"), "{tried}");

    let gateway = Gateway::start_on(gateway.stop().await).await;
    let only = ["deadletter", "redrive", "--reason", "too-many-schemas", "--output", "json"];
    let (code, tried, _) = weir(&path, &only).await;
    let lines: Vec<Value> = tried.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((code, lines.len()), (Some(0), 2), "{tried}");
    assert_eq!((&lines[0]["result"], &lines[0]["stored"]), (&json!("stored"), &json!(1)));
    let place = lines[0]["place"].as_str().unwrap();
    assert_eq!(gateway.records("weir.describe").await.len(), 2);

    let (_, shown, _) = weir(&path, &["deadletter", "show", place]).await;
    assert!(shown.lines().next().unwrap().ends_with("too-many-schemas  (stored since)"), "{shown}");
    let (code, tried, message) = weir(&path, &["deadletter", "redrive", place, "0:99"]).await;
    assert_eq!(code, Some(1), "{message}");
    assert!(tried.contains(&format!("{place}  already stored")) && tried.contains("0:99  no dead letter"), "{tried}");
    let _data = gateway.stop().await;
    let (code, _, message) = weir(&path, &["deadletter", "redrive", "--all"]).await;
    assert_eq!(code, Some(69), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_page_cannot_redrive_and_mistakes_are_pointed_at() {
    let gateway = Gateway::start().await;
    let at = gateway.at.http;
    let request = |headers: &str| {
        format!(
            "POST /deadletters/redrive HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n{headers}Content-Length: 12\r\n\r\n{{\"all\":true}}"
        )
    };
    let json = "Content-Type: application/json\r\n";
    assert_eq!(ask(at, &request(json)).await.0, 200);
    assert_eq!(ask(at, &request("Content-Type: text/plain\r\n")).await.0, 403);
    assert_eq!(ask(at, &request(&format!("{json}Origin: http://example.org\r\n"))).await.0, 403);
    for (body, expected) in [
        (json!({}), "name dead letters"),
        (json!({"places": ["first"]}), "expected partition:offset"),
        (json!({"all": true, "places": ["0:1"]}), "exclude each other"),
        (json!({"al": true}), "unknown field"),
        (json!({"device": "no device"}), "device"),
    ] {
        let (status, answer) = post(at, "/deadletters/redrive", &body).await;
        assert_eq!(status, 400, "{answer}");
        assert!(answer.contains(expected), "{answer}");
    }
    gateway.stop().await;
}

/// A gateway that takes every change, as a process of its own; returns once it serves.
fn spawn(data: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-gateway"));
    command.arg("run").env("WEIR_GATEWAY_SCHEMAS__COMPATIBILITY", "none").env("WEIR_LOG", "info");
    command.envs(crate::world::settings(data)).stderr(Stdio::piped()).stdout(Stdio::null());
    let mut gateway = command.spawn().unwrap();
    let mut log = BufReader::new(gateway.stderr.take().unwrap()).lines();
    let ready = log.find(|line| line.as_ref().unwrap().contains("ready"));
    assert!(ready.is_some(), "it ended");
    // What it says later must not block it.
    std::thread::spawn(move || log.for_each(drop));
    gateway
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_that_is_killed_is_done_again_and_each_reading_is_there_once() {
    let gateway = Gateway::start().await;
    let (schema, second) = second_description();
    publish_v4(&gateway, "edge-1", vec![("describe", description("pump-1")), ("describe", second)]).await;
    for tenth in 0..30 {
        // The client takes ten messages before it is polled.
        let batches = (tenth * 10..tenth * 10 + 10).map(|batch| ("batch", kelvin(schema, batch * 3))).collect();
        publish_v4(&gateway, "edge-1", batches).await;
    }
    assert!(gateway.records("readings").await.is_empty(), "another unit under the same id");
    let path = settings(&gateway);
    let data = gateway.stop().await;

    for lines in [1, 90, 200] {
        let mut gateway = spawn(data.path());
        let mut redrive = Command::new(env!("CARGO_BIN_EXE_weir-gateway"));
        redrive.args(["deadletter", "redrive", "--all", "--config"]).arg(&path);
        let mut redrive = redrive.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let told = BufReader::new(redrive.stdout.take().unwrap()).lines().take(lines).count();
        // SIGKILL, in the middle of it.
        gateway.kill().unwrap();
        gateway.wait().unwrap();
        redrive.wait().unwrap();
        assert_eq!(told, lines);
    }
    let mut gateway = spawn(data.path());
    let (code, tried, message) = weir(&path, &["deadletter", "redrive", "--all"]).await;
    assert_eq!(code, Some(0), "{message}");
    assert!(tried.ends_with("0 still refused\n"), "{tried}");
    gateway.kill().unwrap();
    gateway.wait().unwrap();

    let gateway = Gateway::start_on(data).await;
    let readings = gateway.records("readings").await;
    let sequences: BTreeSet<u64> =
        readings.iter().map(|record| record["value"]["sequence"].as_u64().unwrap()).collect();
    assert_eq!((readings.len(), sequences), (900, (0..900).collect()));
    assert!(readings.iter().all(|record| record["value"]["heals"] == true));
    gateway.stop().await;
}

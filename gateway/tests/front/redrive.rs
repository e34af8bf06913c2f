//! Redriving dead letters, as operators do it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use weir_protocol::batch::describe::{self, Description};
use weir_protocol::items::{self, Items};
use weir_protocol::{Channel, ChannelId, DeviceId, SchemaHash, ValueKind};

use crate::whole::publish_v4;
use crate::world::{Gateway, ask, batch, description, post};

/// Another schema of the device than the one in [`description`].
fn second_description(device: &str) -> Vec<u8> {
    let mut channels = Vec::new();
    for (id, name) in [(0, "temperature"), (1, "door")] {
        let kind = ValueKind::Float;
        items::push(&mut channels, &Channel { id: ChannelId(id), name, unit: "Cel", kind, resolution: 0.5 });
    }
    let channels = Items::new(&channels);
    describe::encode(&Description {
        device: DeviceId::new(device).unwrap(),
        schema: SchemaHash::of(channels),
        channels,
    })
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
        vec![("describe", description("pump-1")), ("describe", second_description("pump-1")), ("batch", unreadable)];
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

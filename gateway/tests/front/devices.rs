//! The read model, seen over HTTP and by the commands: deleting it loses nothing.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::whole::publish_v4;
use crate::world::{Gateway, batch, description};

/// What the model says about a device, once it has come so far.
async fn device(gateway: &Gateway, name: &str, next: u64) -> Value {
    loop {
        let (status, body) = gateway.get(&format!("/devices/{name}")).await;
        let shown: Value = serde_json::from_str(&body).unwrap();
        let has_come = shown["restarts"][0]["next"] == next && shown["values"][0]["sequence"] == next - 1;
        if status == 200 && has_come {
            return shown;
        }
        tokio::task::yield_now().await;
    }
}

/// A command beside a gateway, or on what it left.
fn weir(data: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-gateway"));
    let output = command.args(arguments).env("WEIR_GATEWAY_DATA", data).output().unwrap();
    let text = if output.status.success() { output.stdout } else { output.stderr };
    (output.status.code(), String::from_utf8(text).unwrap())
}

async fn filled() -> Gateway {
    let gateway = Gateway::start().await;
    let messages = vec![("describe", description("pump-1")), ("batch", batch("pump-1", 0..20))];
    publish_v4(&gateway, "edge-1", messages).await;
    gateway
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_shown_with_its_latest_values_and_what_became_of_its_readings() {
    let gateway = filled().await;
    let shown = device(&gateway, "pump-1", 20).await;
    assert_eq!(shown["values"][0]["value"], 19.0);
    assert_eq!(shown["values"][0]["unit"], "Cel");
    assert_eq!(shown["channels"][0]["name"], "temperature");
    let restart = &shown["restarts"][0];
    assert_eq!((&restart["restart"], &restart["stored"], &restart["lost"]), (&"7".into(), &20.into(), &0.into()));
    assert_eq!(restart["reduced"], 0);
    let listed = gateway.json("/devices").await;
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["device"]), (1, &"pump-1".into()));
    assert_eq!(gateway.json("/devices?after=pump-1").await, Value::Array(Vec::new()));

    let (status, body) = gateway.get("/devices/pump-2").await;
    assert!(status == 404 && body.contains("/devices lists"), "{body}");
    assert_eq!(gateway.get("/devices?limit=0").await.0, 400);
    assert_eq!(gateway.get("/devices/not%20a%20name").await.0, 400);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_deleted_or_damaged_gives_the_same_answers_after_the_next_start() {
    let mut gateway = filled().await;
    let before = device(&gateway, "pump-1", 20).await;
    for harm in ["delete", "damage", "none"] {
        let data = gateway.stop().await;
        let model = data.path().join("model");
        match harm {
            "delete" => std::fs::remove_dir_all(&model).unwrap(),
            "damage" => {
                let paths = std::fs::read_dir(&model).unwrap().map(|entry| entry.unwrap().path());
                let databases = paths.filter(|path| path.to_string_lossy().contains("/sled."));
                let db = databases.last().unwrap().join("db");
                let length = std::fs::metadata(&db).unwrap().len();
                std::fs::write(&db, vec![0xa5; length as usize]).unwrap();
            }
            _ => {}
        }
        gateway = Gateway::start_on(data).await;
        assert_eq!(device(&gateway, "pump-1", 20).await, before, "{harm}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_say_the_same_beside_a_gateway_without_one_and_after_a_rebuild() {
    let gateway = filled().await;
    let shown = device(&gateway, "pump-1", 20).await;
    let ask = |data: &Path| {
        let data = data.to_owned();
        tokio::task::spawn_blocking(move || {
            let show = weir(&data, &["device", "show", "pump-1", "--output", "json"]);
            (show, weir(&data, &["device", "list"]), weir(&data, &["model", "rebuild"]))
        })
    };
    let (show, list, rebuild) = ask(gateway.data.path()).await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&show.1).unwrap(), shown);
    assert!(list.1.starts_with("pump-1 "), "{}", list.1);
    assert!(rebuild.0 == Some(69) && rebuild.1.contains("stop it first"), "{}", rebuild.1);

    let data = gateway.stop().await;
    let (show, _, rebuild) = ask(data.path()).await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&show.1).unwrap(), shown);
    assert!(rebuild.0 == Some(0) && rebuild.1.contains("1 restarts"), "{}", rebuild.1);
    let (show, _, _) = ask(data.path()).await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&show.1).unwrap(), shown, "after the rebuild");
    std::fs::remove_dir_all(data.path().join("model")).unwrap();
    let (show, _, _) = ask(data.path()).await.unwrap();
    assert!(show.0 == Some(69) && show.1.contains("model rebuild"), "{}", show.1);
}

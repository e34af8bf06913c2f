//! `[[modbus]]` and pymodbus's simulator, over TCP and over a serial line: `peers/python/plant.py`.

use serde_json::json;

use crate::peer::Peer;
use crate::stage::Stage;

/// What the units of the plant hold, as the sheet of such a device says it. `absent` is a register that is not there.
fn map(address: &str) -> String {
    format!(
        r#"
[[modbus]]
device = "press-3"
address = "{address}"
unit = 1
interval = "100ms"
register = [
  {{ name = "oil.temperature", address = 0, type = "i16", scale = 0.1, unit = "Cel" }},
  {{ name = "outside.temperature", address = 1, type = "i16", unit = "Cel" }},
  {{ name = "pressure.abcd", address = 10, type = "f32", byte_order = "abcd", unit = "bar" }},
  {{ name = "pressure.cdab", address = 12, type = "f32", byte_order = "cdab", unit = "bar" }},
  {{ name = "pressure.badc", address = 14, type = "f32", byte_order = "badc", unit = "bar" }},
  {{ name = "pressure.dcba", address = 16, type = "f32", byte_order = "dcba", unit = "bar" }},
  {{ name = "strokes", address = 20, type = "u32" }},
  {{ name = "balance", address = 22, type = "i32", unit = "kg" }},
  {{ name = "energy", address = 30, type = "f64", unit = "kW.h" }},
  {{ name = "label", address = 40, type = "string", length = 4 }},
  {{ name = "absent", address = 200, type = "u16" }},
  {{ name = "level", kind = "input", address = 100, type = "u16", scale = 0.02442002442002442, unit = "%" }},
  {{ name = "pump", kind = "coil", address = 0 }},
  {{ name = "valve", kind = "coil", address = 1 }},
  {{ name = "door", kind = "discrete", address = 11 }},
]

[[modbus]]
device = "pump-2"
address = "{address}"
unit = 2
interval = "100ms"
register = [{{ name = "speed", address = 0, type = "u16", unit = "/min" }}]
"#
    )
}

/// Both units are in the log, and what is not there is named and takes nothing with it.
async fn expect_the_plant(stage: &Stage) {
    let press = [
        ("oil.temperature", "Cel", json!(21.5)),
        ("outside.temperature", "Cel", json!(-50)),
        ("pressure.abcd", "bar", json!(1.5)),
        ("pressure.cdab", "bar", json!(1.5)),
        ("pressure.badc", "bar", json!(1.5)),
        ("pressure.dcba", "bar", json!(1.5)),
        ("strokes", "1", json!(100_000)),
        ("balance", "kg", json!(-2)),
        ("energy", "kW.h", json!(123_456.789)),
        ("label", "1", json!("press-9")),
        ("level", "%", json!(100)),
        ("pump", "1", json!(true)),
        ("valve", "1", json!(false)),
        ("door", "1", json!(true)),
    ];
    stage.expect("press-3", &press).await;
    stage.expect("pump-2", &[("speed", "/min", json!(730))]).await;
    assert!(stage.readings("press-3").await.iter().all(|reading| reading.channel != "absent"));
    let names_it = |health: &serde_json::Value| {
        health["state"] == "running" && health["last_error"].as_str().is_some_and(|error| error.contains("absent"))
    };
    stage.until_health("modbus.press-3", names_it).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plant_over_tcp_is_in_the_log_with_its_units() {
    let Some(plant) = Peer::python("plant.py", &["tcp", "0"]).await else { return };
    let stage = Stage::start(&map(&format!("tcp://127.0.0.1:{}", plant.ready))).await;
    expect_the_plant(&stage).await;
    stage.end().await;
    plant.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_units_on_one_serial_line_are_in_the_log_with_their_units() {
    let directory = tempfile::tempdir().unwrap();
    let line = directory.path().join("ttyUSB0");
    let Some(plant) = Peer::python("plant.py", &["rtu", line.to_str().unwrap()]).await else { return };
    let stage = Stage::start(&map(&format!("rtu://{}?baud=19200&parity=none", plant.ready))).await;
    expect_the_plant(&stage).await;
    stage.end().await;
    plant.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plant_that_is_switched_off_is_named_and_comes_back() {
    let Some(plant) = Peer::python("plant.py", &["tcp", "0"]).await else { return };
    let port = plant.ready.clone();
    // This machine goes on while the plant is away.
    let mut stage = Stage::prepare(|plan| {
        plan.sources = map(&format!("tcp://127.0.0.1:{port}"));
        plan.system = true;
    })
    .await;
    stage.launch().await;
    stage.expect("pump-2", &[("speed", "/min", json!(730))]).await;

    plant.kill().await;
    stage.until_health("modbus.pump-2", |health| health["state"] == "waiting").await;
    let (before, machine) =
        (stage.readings("pump-2").await.len(), stage.readings(crate::stage::THIS_MACHINE).await.len());
    stage.until("this machine goes on", crate::stage::THIS_MACHINE, |readings| readings.len() > machine).await;

    let plant = Peer::python("plant.py", &["tcp", &port]).await.unwrap();
    stage.until("the plant is read again", "pump-2", |readings| readings.len() > before).await;
    stage.end().await;
    plant.end().await;
}

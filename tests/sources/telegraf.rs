//! `[line_protocol]` and Telegraf: both of its outputs for InfluxDB, as people have them in their files.

use std::fs;

use serde_json::json;
use weir_lab::ports::Reserved;
use weir_lab::process::Program;
use weir_tests::binaries;

use crate::peer::installed;
use crate::stage::Stage;

/// Read by Telegraf's input `file` again and again.
const LINES: &str = "boiler,host=edge-7,line=4 temperature=71.25,mode=\"auto\",starts=42i,valve=true\n\
                     boiler,host=edge-8 temperature=-3.5\n";

/// What the settings say of units.
fn port(address: std::net::SocketAddr) -> String {
    format!(
        "[line_protocol]\nlisten = \"{address}\"\n[[line_protocol.unit]]\nchannel = \"boiler.temperature*\"\nunit = \"Cel\"\n"
    )
}

async fn telegraf_feeds(output: &str) {
    let Some(telegraf) = installed("telegraf", "telegraf") else { return };
    let reserved = Reserved::new(0).unwrap();
    let stage = Stage::start(&port(reserved.address)).await;
    let file = |name: &str, text: &str| {
        let path = stage.deployment.scratch.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let lines = file("lines", LINES);
    let output = output.replace("ADDRESS", &reserved.address.to_string());
    let settings = format!(
        "[agent]\ninterval = \"200ms\"\nflush_interval = \"200ms\"\nomit_hostname = true\n\
         [[inputs.file]]\nfiles = [{lines:?}]\ndata_format = \"influx\"\n{output}"
    );
    let settings = file("telegraf.conf", &settings);
    let program = Program {
        name: "telegraf".to_owned(),
        guard: binaries().lab.clone(),
        path: telegraf,
        arguments: vec!["--config".into(), settings.into()],
        environment: Vec::new(),
        log: stage.deployment.scratch.join("telegraf.log"),
    };
    let mut telegraf = program.start().unwrap();
    let boiler = [
        ("boiler.temperature.line-4", "Cel", json!(71.25)),
        ("boiler.mode.line-4", "1", json!("auto")),
        ("boiler.starts.line-4", "1", json!(42)),
        ("boiler.valve.line-4", "1", json!(true)),
    ];
    stage.expect("edge-7", &boiler).await;
    stage.expect("edge-8", &[("boiler.temperature", "Cel", json!(-3.5))]).await;
    telegraf.kill().await.unwrap();
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_telegraf_sends_to_influxdb_1_is_in_the_log() {
    telegraf_feeds("[[outputs.influxdb]]\nurls = [\"http://ADDRESS\"]\ndatabase = \"plant\"\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_telegraf_sends_to_influxdb_2_is_in_the_log() {
    telegraf_feeds(
        "[[outputs.influxdb_v2]]\nurls = [\"http://ADDRESS\"]\norganization = \"plant\"\nbucket = \"plant\"\ntoken = \"any\"\n",
    )
    .await;
}

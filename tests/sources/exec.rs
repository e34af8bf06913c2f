//! `[[exec]]`: programs of the owner, in the language that they have.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::json;
use weir_lab::deployment::Scratch;

use crate::stage::{Stage, THIS_MACHINE};

/// A shell script.
fn script(scratch: &Scratch, name: &str, text: &str) -> PathBuf {
    let path = scratch.join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn what_programs_print_is_in_the_log_with_its_units() {
    let scratch = Scratch::new().unwrap();
    let once = script(&scratch, "once", "echo 'ups.charge 98.5 %'\necho 'ups.load 0.25'\n");
    let stream = script(
        &scratch,
        "stream",
        r#"while true; do echo '{"name": "flow", "value": 12.5, "unit": "m3/h"}'; sleep 0.1; done"#,
    );
    let sources = format!(
        "[[exec]]\ndevice = \"ups-1\"\ncommand = [{once:?}]\ninterval = \"200ms\"\n\n\
         [[exec]]\ndevice = \"meter-1\"\ncommand = [{stream:?}]\nstream = true\n"
    );
    let stage = Stage::start(&sources).await;
    stage.expect("ups-1", &[("ups.charge", "%", json!(98.5)), ("ups.load", "1", json!(0.25))]).await;
    stage.expect("meter-1", &[("flow", "m3/h", json!(12.5))]).await;
    stage.end().await;
    scratch.remove().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_fails_is_named_and_takes_nothing_with_it() {
    let scratch = Scratch::new().unwrap();
    let broken = script(&scratch, "broken", "echo 'no paper' >&2\nexit 3\n");
    // It prints as fast as it can, lines that mean nothing, and never ends.
    let flood = script(&scratch, "flood", "exec yes 'this is no reading at all'\n");
    let good = script(&scratch, "good", "echo 'level 2 m'\n");
    let mut stage = Stage::prepare(|plan| {
        plan.system = true;
        plan.sources = [
            ("printer-1", &broken, "interval = \"200ms\""),
            ("flood-1", &flood, "stream = true"),
            ("tank-1", &good, "interval = \"200ms\""),
        ]
        .map(|(device, command, how)| format!("[[exec]]\ndevice = \"{device}\"\ncommand = [{command:?}]\n{how}\n"))
        .join("\n");
    })
    .await;
    stage.launch().await;
    stage.expect("tank-1", &[("level", "m", json!(2))]).await;
    stage.until_health("exec.printer-1", |health| health["last_error"].as_str().is_some_and(|e| e.contains('3'))).await;
    let (tank, machine) = (stage.readings("tank-1").await.len(), stage.readings(THIS_MACHINE).await.len());
    stage.until("the good program goes on", "tank-1", |readings| readings.len() > tank).await;
    stage.until("this machine goes on", THIS_MACHINE, |readings| readings.len() > machine).await;
    assert!(stage.readings("flood-1").await.is_empty());
    stage.end().await;
    scratch.remove().unwrap();
}

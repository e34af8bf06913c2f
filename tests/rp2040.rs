//! The unmodified rp2040 image in an emulator of its chip, against the real agent and gateway. The device is a
//! model: the binary is real, the silicon is not.
//!
//! Runs with `WEIR_EMULATOR=1`, as `tests/run emulator` does: it needs Node and the firmware target.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value as Json;
use weir_lab::deployment::{Deployment, Emulator, Plan};
use weir_lab::emulator::{self, Kind};
use weir_tests::{PATIENCE, binaries, expect_to_hold, plan, skip};

/// How long a cable is unplugged.
const UNPLUGGED: Duration = Duration::from_secs(10);

/// A deployment of one emulated board; `None` if the machine is not asked to run one.
async fn board(unique: bool) -> Option<Deployment> {
    if std::env::var_os("WEIR_EMULATOR").is_none() {
        skip("the emulator; type: tests/run emulator");
        return None;
    }
    static EMULATOR: OnceLock<Emulator> = OnceLock::new();
    let prepare = || emulator::prepare(Kind::Rp2040js, binaries()).expect("image and emulator");
    let mut emulator = EMULATOR.get_or_init(prepare).clone();
    emulator.unique = unique;
    let plan = plan(|plan: &mut Plan| {
        plan.boards = 0;
        plan.emulator = Some(emulator);
    });
    let deployment = Deployment::start(plan, binaries()).await.expect("the deployment starts");
    deployment.boards[0].ready().await;
    Some(deployment)
}

async fn readings(deployment: &Deployment, at_least: u64) {
    let what = format!("{at_least} readings in the log");
    deployment.wait_for(&what, PATIENCE, |census| census.readings() >= at_least).await.unwrap();
}

/// Every record of the topic `readings`.
async fn records(deployment: &Deployment) -> Vec<Json> {
    let mut records = Vec::new();
    for (topic, partition) in deployment.log.partitions().await.unwrap() {
        if topic == "readings" {
            let page = deployment.log.page(&topic, partition, 0).await.unwrap();
            records.extend(page.records.into_iter().map(|record| record["value"].clone()));
        }
    }
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn the_value_that_the_sensor_is_set_to_is_in_the_log_with_all_that_belongs_to_it() {
    let Some(mut deployment) = board(false).await else { return };
    // 20,000 ticks are -45 + 175 * 20000 / 65535 degrees, in single precision.
    deployment.boards[0].tell(r#"{"temperature_ticks":20000,"humidity_ticks":30000}"#).await.unwrap();
    let expected = f64::from(-45.0_f32 + 175.0 * 20_000.0 / 65_535.0);
    let mut found = None;
    for _ in 0..600 {
        let all = records(&deployment).await;
        let is_it =
            |r: &Json| r["channel"] == "temperature" && r["value"].as_f64().map(|v| v as f32) == Some(expected as f32);
        found = all.into_iter().find(is_it);
        if found.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let reading = found.expect("exactly the value that was set");
    assert_eq!(reading["unit"], "Cel");
    assert_eq!(reading["device"], Kind::Rp2040js.device());
    assert!(reading["restart"].as_str().is_some_and(|restart| restart.parse::<u64>().is_ok()), "{reading}");
    assert!(reading["sequence"].as_u64().is_some() && reading["time"].as_i64().is_some(), "{reading}");
    expect_to_hold(deployment).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cable_unplugged_for_ten_seconds_leaves_no_gap_and_no_repeat() {
    let Some(deployment) = board(true).await else { return };
    readings(&deployment, 6).await;
    deployment.boards[0].cable.unplug().unwrap();
    tokio::time::sleep(UNPLUGGED).await;
    deployment.boards[0].cable.replug().unwrap();
    readings(&deployment, 6 + 2 * UNPLUGGED.as_secs()).await;
    expect_to_hold(deployment).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_in_the_ring_when_the_power_was_cut_arrives_once() {
    let Some(mut deployment) = board(true).await else { return };
    readings(&deployment, 6).await;
    // While the cable is out the ring fills; then the power goes.
    deployment.boards[0].cable.unplug().unwrap();
    tokio::time::sleep(UNPLUGGED / 2).await;
    deployment.boards[0].member.take().expect("it runs").kill().await.unwrap();
    deployment.boards[0].cable.replug().unwrap();
    deployment.boards[0].start().unwrap();
    deployment.boards[0].ready().await;
    readings(&deployment, 6 + UNPLUGGED.as_secs()).await;
    let what = "both restarts in the log";
    deployment.wait_for(what, PATIENCE, |census| census.restarts.len() == 2).await.unwrap();
    expect_to_hold(deployment).await;
}

//! The unmodified lm3s6965 image in QEMU, against the real agent and gateway. The device is a model: the binary is
//! real, the silicon is not.
//!
//! Runs with `WEIR_EMULATOR=1`, as `tests/run emulator` does: it needs QEMU and the firmware target.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value as Json;
use weir_lab::census::{Census, Stored};
use weir_lab::deployment::{Deployment, Emulator, Plan};
use weir_lab::emulator::{self, Kind};
use weir_tests::{PATIENCE, binaries, expect_to_hold, plan, skip};

/// Long enough for several samples; a sensor that is not there is asked once a second.
const A_WHILE: Duration = Duration::from_secs(4);

/// A deployment of one emulated board; `None` if the machine is not asked to run one.
async fn board(change: impl FnOnce(&mut Emulator)) -> Option<Deployment> {
    if std::env::var_os("WEIR_EMULATOR").is_none() {
        skip("the emulator; type: tests/run emulator");
        return None;
    }
    static EMULATOR: OnceLock<Emulator> = OnceLock::new();
    let prepare = || emulator::prepare(Kind::Lm3s6965, binaries()).expect("image and emulator");
    let mut emulator = EMULATOR.get_or_init(prepare).clone();
    emulator.unique = false;
    change(&mut emulator);
    let plan = plan(|plan: &mut Plan| {
        plan.boards = 0;
        plan.emulator = Some(emulator);
    });
    let deployment = Deployment::start(plan, binaries()).await.expect("the deployment starts");
    deployment.boards[0].ready().await;
    Some(deployment)
}

/// The restarts in the log, in the order of their numbers: those of the board, and first those of the agent.
fn restarts(census: &Census) -> Vec<(u64, &Stored)> {
    let number = |restart: weir_protocol::Restart| restart.boot().map_or(0, u64::from);
    let mut restarts: Vec<_> = census.restarts.iter().map(|(key, stored)| (number(key.1), stored)).collect();
    restarts.sort_by_key(|(number, _)| *number);
    restarts
}

async fn wait_for(deployment: &Deployment, what: &str, holds: impl Fn(&[(u64, &Stored)]) -> bool) {
    deployment.wait_for(what, PATIENCE, |census| holds(&restarts(census))).await.unwrap();
}

/// The first record of the topic `readings` that holds this temperature.
async fn reading_of(deployment: &Deployment, celsius: f64) -> Json {
    let begun = std::time::Instant::now();
    while begun.elapsed() < PATIENCE {
        for (topic, partition) in deployment.log.partitions().await.unwrap() {
            if topic == "readings" {
                let page = deployment.log.page(&topic, partition, 0).await.unwrap();
                let mut values = page.records.into_iter().map(|record| record["value"].clone());
                if let Some(value) = values.find(|value| value["value"] == celsius) {
                    return value;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no reading of {celsius} degrees after {PATIENCE:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_temperature_that_the_sensor_is_set_to_is_in_the_log_with_all_that_belongs_to_it() {
    let Some(mut deployment) = board(|_| {}).await else { return };
    let first = reading_of(&deployment, 20.0).await;
    // While it runs.
    for (millidegrees, celsius) in [(23_500, 23.5), (-10_500, -10.5)] {
        let line = format!(r#"{{"temperature_millidegrees":{millidegrees}}}"#);
        deployment.boards[0].tell(&line).await.unwrap();
        let reading = reading_of(&deployment, celsius).await;
        assert_eq!(reading["channel"], "temperature");
        assert_eq!(reading["unit"], "Cel");
        assert_eq!(reading["device"], Kind::Lm3s6965.device());
        assert_eq!(reading["restart"], first["restart"]);
        assert!(reading["sequence"].as_u64() > first["sequence"].as_u64(), "{reading}");
        assert!(reading["time"].as_i64().is_some(), "{reading}");
    }
    expect_to_hold(deployment).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_that_loses_power_counts_up_and_loses_nothing_but_its_unknown_tail() {
    let Some(mut deployment) = board(|emulator| emulator.unique = true).await else { return };
    // A blank EEPROM has no number: the agent gives the first one.
    for life in 0..3 {
        let what = format!("life {life} has readings in the log, and every life before it has its end");
        wait_for(&deployment, &what, |restarts| {
            let numbers = restarts.iter().map(|(number, _)| *number);
            let (last, ended) = restarts.split_last().map_or((None, restarts), |(last, ended)| (Some(last), ended));
            numbers.eq(0..=life)
                && last.is_some_and(|(_, stored)| stored.readings.len() >= 3)
                && ended.iter().all(|(_, stored)| stored.tail_unknown_from.is_some())
        })
        .await;
        if life < 2 {
            deployment.boards[0].member.take().expect("it runs").kill().await.unwrap();
            deployment.boards[0].start().unwrap();
            deployment.boards[0].ready().await;
        }
    }
    expect_to_hold(deployment).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_processor_that_hangs_is_reset_by_the_watchdog_and_goes_on_as_the_next_restart() {
    let Some(mut deployment) = board(|emulator| emulator.unique = true).await else { return };
    wait_for(&deployment, "readings", |restarts| restarts.iter().any(|(_, stored)| stored.readings.len() >= 2)).await;
    deployment.boards[0].tell(r#"{"hang":true}"#).await.unwrap();
    wait_for(&deployment, "the next restart has readings and the one before it has its end", |restarts| {
        matches!(restarts, [(0, before), (1, after)]
            if before.tail_unknown_from.is_some() && after.readings.len() >= 2)
    })
    .await;
    expect_to_hold(deployment).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sensor_that_comes_late_and_goes_for_a_while_costs_samples_and_no_sequences() {
    let Some(mut deployment) = board(|emulator| {
        emulator.unique = true;
        emulator.command.push("--absent".into());
    })
    .await
    else {
        return;
    };
    tokio::time::sleep(A_WHILE).await;
    let census = deployment.wait_for("the log can be read", PATIENCE, |_| true).await.unwrap();
    assert_eq!(census.readings(), 0, "nothing is measured without a sensor");
    deployment.boards[0].tell(r#"{"sensor":"present"}"#).await.unwrap();
    let contiguous = |at_least: u64| {
        move |restarts: &[(u64, &Stored)]| {
            matches!(restarts, [(0, stored)] if stored.readings.len() >= at_least
                && stored.readings.iter().eq(std::iter::once(0..stored.readings.len())))
        }
    };
    wait_for(&deployment, "sequences from 0 on, without a gap", contiguous(3)).await;

    deployment.boards[0].tell(r#"{"sensor":"absent"}"#).await.unwrap();
    deployment.wait_for_ring(Kind::Lm3s6965.device()).await.unwrap();
    tokio::time::sleep(A_WHILE).await;
    deployment.boards[0].tell(r#"{"sensor":"present"}"#).await.unwrap();
    let before = deployment.wait_for("the log can be read", PATIENCE, |_| true).await.unwrap().readings();
    wait_for(&deployment, "sequences go on where they were, without a gap", contiguous(before + 3)).await;
    expect_to_hold(deployment).await;
}

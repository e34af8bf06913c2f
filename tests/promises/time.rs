//! Time.

use weir_lab::deployment::Deployment;
use weir_protocol::time::{SystemClock, WallClock};
use weir_protocol::{Clock, Timestamp};
use weir_tests::rough::{Rough, records};
use weir_tests::sender::Sender;
use weir_tests::{binaries, plan};

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 24 * 60 * MINUTE;

#[test]
fn a_reading_says_when_it_was_sampled_and_by_which_clock() {
    let run = Rough::run();
    let (began, ended) = run.period;
    let (mut synchronised, mut uptime) = (0, 0);
    for reading in run.readings() {
        let time = reading["time"].as_i64().unwrap();
        match reading["clock"].as_str().unwrap() {
            "synchronised" => {
                synchronised += 1;
                assert!((began.0..=ended.0).contains(&time), "{reading} was sampled in this run");
            }
            "uptime" => {
                uptime += 1;
                // This machine has been on for longer than the run.
                let on = if reading["device"] == "this-machine" { machine_uptime() } else { ended.since(began) };
                assert!((0..=on).contains(&time), "{reading} counts from power-on");
            }
            other => panic!("clock {other}"),
        }
    }
    assert!(synchronised > 100 && uptime > 0, "{synchronised} synchronised, {uptime} before the first round trip");
}

/// Microseconds since this machine was turned on (proc(5)).
fn machine_uptime() -> i64 {
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    (uptime.split(' ').next().unwrap().parse::<f64>().unwrap() * 1e6) as i64
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_filed_under_its_sample_time_unless_that_cannot_be_true() {
    let mut lab = Deployment::prepare(plan(|plan| plan.boards = 0), binaries()).await.unwrap();
    lab.gateway.start().unwrap();
    lab.wait_for_gateway().await.unwrap();
    let mut sender = Sender::connect(lab.mqtt, "clock", "pump").await;
    let now = SystemClock.now();
    let believed = [now.plus_micros(-6 * DAY), now.plus_micros(-MINUTE), now.plus_micros(4 * MINUTE)];
    let doubted = [now.plus_micros(-8 * DAY), now.plus_micros(20 * MINUTE), Timestamp(5)];
    let all: Vec<_> = believed.iter().chain(&doubted).map(|time| (*time, Clock::Synchronised)).collect();
    sender.readings(0, &all).await;
    sender.readings(6, &[(now, Clock::Uptime)]).await;

    let mut found = Vec::new();
    for (topic, partition) in lab.log.partitions().await.unwrap() {
        if topic == "readings" {
            found.extend(records(&lab.log, &topic, partition).await);
        }
    }
    let arrived = (now.as_millis()..=SystemClock.now().as_millis()).to_owned();
    for (index, record) in found.iter().enumerate() {
        let filed = record["timestamp_ms"].as_i64().unwrap();
        match believed.get(index) {
            Some(sampled) => assert_eq!(filed, sampled.as_millis(), "{record}"),
            None => assert!(arrived.contains(&filed), "filed under its arrival {arrived:?}: {record}"),
        }
    }
    let times: Vec<_> = found.iter().map(|record| record["value"]["time"].as_i64().unwrap()).collect();
    let sent: Vec<_> = all.iter().map(|(time, _)| time.0).chain([now.0]).collect();
    assert_eq!(times, sent, "the sample time itself is always in the value");
    lab.scratch.remove().unwrap();
}

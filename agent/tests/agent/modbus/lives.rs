//! Devices as sources: how they are, over their lives.

use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::task::JoinSet;
use weir_agent::config::Config;
use weir_agent::counters::Event;
use weir_agent::health::SourceState;
use weir_agent::source::modbus::{self, Line, ModbusConfig};
use weir_agent::source::supervise;
use weir_protocol::Value;

use super::config;
use crate::support::plc::{HOLDING, Manner, Plc};
use crate::support::sources::Bench;

fn one(config: Config) -> (ModbusConfig, Arc<Line>) {
    let line = modbus::lines(&config.modbus).remove(0);
    (config.modbus.into_iter().next().expect("the section"), line)
}

fn lives(bench: &Bench, text: &str) -> tokio::task::JoinHandle<()> {
    let (config, line) = one(config(text).unwrap_or_else(|error| panic!("{error}")));
    let name = config.device.get_ref().to_string();
    let live = move |context| modbus::run(config.clone(), Arc::clone(&line), context);
    tokio::spawn(supervise(bench.context("modbus", &name), StdRng::seed_from_u64(1), live))
}

fn plc(name: &str, address: &str, more: &str) -> String {
    format!(
        "[[modbus]]\ndevice = \"{name}\"\naddress = \"{address}\"\ninterval = \"10ms\"\ntimeout = \"50ms\"\n\
         [[modbus.register]]\nname = \"level\"\naddress = 0\nunit = \"mm\"\n{more}"
    )
}

#[tokio::test]
async fn a_silent_device_waits_alone_and_comes_back() {
    let (silent, honest) = (Plc::default().holds(HOLDING, 0, &[1]), Plc::default().holds(HOLDING, 0, &[2]));
    silent.becomes(Manner::Silent);
    let (bench, mut tasks) = (Bench::unlinked(), JoinSet::new());
    let lives = [
        lives(&bench, &plc("a", &silent.serve(&mut tasks).await, "")),
        lives(&bench, &plc("b", &honest.serve(&mut tasks).await, "")),
    ];
    let failed = bench.looks(|health| health.state == SourceState::Waiting).await;
    assert!(failed.last_error.is_some_and(|error| error.ends_with("unit 1, holding 0 to 0: no answer in 50 ms")));
    assert_eq!((failed.id.as_str(), failed.readings), ("modbus.a", 0));
    let before = bench.health.sources()[1].readings;
    let other = bench.looks_at(1, |health| health.readings >= before + 3).await;
    assert_eq!((other.failures, other.state), (0, SourceState::Running));
    silent.becomes(Manner::Honest);
    bench.looks(|health| health.state == SourceState::Running && health.readings > 0).await;
    bench.stops();
    for life in lives {
        life.await.expect("no panic");
    }
}

#[tokio::test]
async fn a_refused_register_is_named_in_health_while_the_others_are_read() {
    let (device, mut tasks) = (Plc::default().holds(HOLDING, 0, &[7]), JoinSet::new());
    let bench = Bench::unlinked();
    let more = "[[modbus.register]]\nname = \"missing\"\naddress = 1\n";
    let life = lives(&bench, &plc("a", &device.serve(&mut tasks).await, more));
    let health = bench.looks(|health| health.readings >= 2).await;
    assert_eq!((health.state, health.failures), (SourceState::Running, 0));
    assert_eq!(health.last_error.as_deref(), Some("missing: exception 2: illegal data address"));
    assert!(bench.counters.get(Event::RegistersFailed) >= 1);
    let held = bench.feeds.held();
    assert_eq!((held[0].channel.as_str(), held[0].unit.as_str(), held[0].value), ("level", "mm", Value::Integer(7)));
    bench.stops();
    life.await.expect("no panic");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_silent_device() {
    let (device, mut tasks) = (Plc::default(), JoinSet::new());
    device.becomes(Manner::Silent);
    let bench = Bench::unlinked();
    let text = plc("a", &device.serve(&mut tasks).await, "").replace("50ms", "60s");
    let life = lives(&bench, &text);
    device.is_asked().await;
    bench.stops();
    tokio::time::timeout(Duration::from_secs(20), life).await.expect("it stops").expect("no panic");
}

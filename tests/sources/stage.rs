//! An agent with the sources of a story, a gateway, and what is in its log.
//!
//! Between the two is the lab's relay with its ledger: [`Stage::end`] stops the agent in the order of the data and
//! expects that every reading that it acknowledged is in the log once.

use std::fmt;
use std::path::Path;

use serde_json::Value as Json;
use weir_lab::census::LogReader;
use weir_lab::deployment::{Deployment, Plan};
use weir_tests::{PATIENCE, binaries, expect_to_hold, plan};

/// How often the log is read again.
const LOOK: std::time::Duration = std::time::Duration::from_millis(50);
/// Values are the same if they differ by less than this part: a float has 24 bits.
const NEAR: f64 = 1e-6;

/// The name of the source `system` as a device.
pub(crate) const THIS_MACHINE: &str = "this-machine";

/// A running deployment without boards.
pub(crate) struct Stage {
    pub(crate) deployment: Deployment,
}

/// A reading as it stands in the log.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) device: String,
    pub(crate) channel: String,
    pub(crate) unit: String,
    pub(crate) clock: String,
    /// Microseconds since 1970, if the clock was synchronised.
    pub(crate) time: i64,
    pub(crate) value: Json,
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, channel, unit, clock, time, value } = self;
        write!(f, "{device} {channel} = {value} {unit} ({clock} {time})")
    }
}

impl Reading {
    fn of(record: &Json) -> Self {
        let value = &record["value"];
        let text = |key: &str| value[key].as_str().unwrap_or_else(|| panic!("no `{key}` in {record}")).to_owned();
        let (device, channel, unit, clock) = (text("device"), text("channel"), text("unit"), text("clock"));
        let time = value["time"].as_i64().unwrap_or_else(|| panic!("no `time` in {record}"));
        Self { device, channel, unit, clock, time, value: value["value"].clone() }
    }

    /// Whether it is this value; numbers as far as a float can tell them apart.
    fn is(&self, value: &Json) -> bool {
        match (self.value.as_f64(), value.as_f64()) {
            (Some(got), Some(expected)) => (got - expected).abs() <= NEAR * expected.abs().max(1.0),
            _ => self.value == *value,
        }
    }
}

impl Stage {
    /// Starts both; `sources` are tables of the agent's settings.
    pub(crate) async fn start(sources: &str) -> Self {
        let mut stage = Self::prepare(|plan| plan.sources = sources.to_owned()).await;
        stage.launch().await;
        stage
    }

    /// Nothing runs yet: the story has something to lay out.
    pub(crate) async fn prepare(change: impl FnOnce(&mut Plan)) -> Self {
        let plan = plan(|plan| {
            plan.boards = 0;
            change(plan);
        });
        Self { deployment: Deployment::prepare(plan, binaries()).await.unwrap() }
    }

    /// Starts what was prepared.
    pub(crate) async fn launch(&mut self) {
        self.deployment.launch().await.unwrap();
    }

    /// A variable of the agent's environment.
    pub(crate) fn set(&mut self, name: &str, value: &Path) {
        self.deployment.agent.program.environment.push((name.to_owned(), value.to_owned()));
    }

    /// All readings of a device, partition by partition, in order.
    pub(crate) async fn readings(&self, device: &str) -> Vec<Reading> {
        let mut all = Vec::new();
        for (topic, partition) in self.deployment.log.partitions().await.unwrap() {
            if topic != "readings" {
                continue;
            }
            let mut from = 0;
            loop {
                let page = self.deployment.log.page(&topic, partition, from).await.unwrap();
                all.extend(page.records.iter().map(Reading::of).filter(|reading| reading.device == device));
                if page.next <= from {
                    break;
                }
                from = page.next;
            }
        }
        all
    }

    /// How many dead letters there are.
    pub(crate) async fn dead_letters(&self) -> usize {
        let mut count = 0;
        for (topic, partition) in self.deployment.log.partitions().await.unwrap() {
            if topic == "weir.deadletter" {
                count += self.deployment.log.page(&topic, partition, 0).await.unwrap().records.len();
            }
        }
        count
    }

    /// Waits until the log holds a reading of each channel with this unit and this value.
    pub(crate) async fn expect(&self, device: &str, expected: &[(&str, &str, Json)]) {
        let is_there = |readings: &[Reading], (channel, unit, value): &(&str, &str, Json)| {
            readings.iter().any(|reading| reading.channel == *channel && reading.unit == *unit && reading.is(value))
        };
        let what = format!("{device} with {expected:?}");
        self.until(&what, device, |readings| expected.iter().all(|each| is_there(readings, each))).await;
    }

    /// Waits until `holds` of the readings of a device; they.
    pub(crate) async fn until(&self, what: &str, device: &str, holds: impl Fn(&[Reading]) -> bool) -> Vec<Reading> {
        let begun = std::time::Instant::now();
        loop {
            let readings = self.readings(device).await;
            if holds(&readings) {
                return readings;
            }
            if begun.elapsed() > PATIENCE {
                let there: Vec<_> = readings.iter().rev().take(20).map(Reading::to_string).collect();
                panic!("not in the log: {what}\n  there is, newest first: {there:#?}\n{}", self.log_of_agent());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until the agent's log says this.
    pub(crate) async fn until_said(&self, what: &str) {
        let begun = std::time::Instant::now();
        while !self.log_of_agent().contains(what) {
            assert!(begun.elapsed() < PATIENCE, "the agent does not say {what:?}:\n{}", self.log_of_agent());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until the agent's health names this source and `holds` of what it says.
    pub(crate) async fn until_health(&self, source: &str, holds: impl Fn(&Json) -> bool) {
        let socket = self.deployment.scratch.join("agent/agent.sock");
        let begun = std::time::Instant::now();
        let mut last = Json::Null;
        while begun.elapsed() < PATIENCE {
            let port = LogReader::through(&socket, self.deployment.http).unwrap();
            if let Ok(status) = port.json("/status").await {
                let sources = status["sources"].as_array().cloned().unwrap_or_default();
                if sources.iter().find(|each| each["id"] == source).is_some_and(&holds) {
                    return;
                }
                last = status["sources"].clone();
            }
            tokio::time::sleep(LOOK).await;
        }
        panic!("health does not say what it should of {source}: {last:#}\n{}", self.log_of_agent());
    }

    /// What the agent has said.
    pub(crate) fn log_of_agent(&self) -> String {
        std::fs::read_to_string(&self.deployment.agent.program.log).unwrap_or_default()
    }

    /// Stops it; what went by another way than the ledger's is not reconciled.
    pub(crate) async fn stop(mut self) {
        self.deployment.agent.stop(PATIENCE).await.unwrap();
        self.deployment.gateway.stop(PATIENCE).await.unwrap();
        self.deployment.scratch.remove().unwrap();
    }

    /// Stops it; every reading must be in the log once.
    pub(crate) async fn end(self) {
        expect_to_hold(self.deployment).await;
    }
}

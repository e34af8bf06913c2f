//! Those who connect to the gateway by themselves: agents with many devices each, and MQTT devices of others.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Prove;
use super::stage::Stage;
use super::timeline::{Consumed, Latency};
use crate::load::{Load, LoadPlan, Pattern, Second, Shape};

/// What the devices of others are called, and their topics begin with.
pub(super) const FOREIGN: &str = "foreign";
/// Messages a second of each device of others.
const FOREIGN_RATE: f64 = 5.0;
/// On a connection that is silent for so long another one is made: a proof is short.
const ACK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long nothing may be acknowledged at the end.
const PATIENCE: Duration = Duration::from_secs(60);
/// From one reconnect storm to the next.
const STORM: Duration = Duration::from_secs(10);

/// The gateway's setting that keeps the messages of the devices of others.
pub(super) const STORE: &str = "[[mqtt.store]]\nfilter = \"foreign/#\"\n";

/// All that are driven, each with its name.
pub(super) struct Fleet {
    pub(super) loads: Vec<Load>,
    names: Vec<&'static str>,
}

/// How long it took, of each by its name.
#[derive(Default)]
pub(super) struct Times {
    /// From due to PUBACK.
    pub(super) latency: BTreeMap<String, Latency>,
    /// The same, second by second.
    pub(super) seconds_of: BTreeMap<String, Vec<Second>>,
    /// Until a consumer had it.
    pub(super) consumed: BTreeMap<String, Consumed>,
}

impl Fleet {
    /// Connects all.
    pub(super) async fn start(options: &Prove, seed: u64, stage: &mut Stage) -> Result<Self> {
        let (mut loads, mut names) = (Vec::new(), Vec::new());
        let [of_agents, of_foreign] = stage.entrances()?;
        let (ledger, truths) = stage.books()?;
        for plan in plans(options, seed) {
            let is_foreign = plan.shape == Shape::Foreign;
            names.push(if is_foreign { "devices of others" } else { "agents" });
            let entrance = if is_foreign { &of_foreign } else { &of_agents };
            let load = Load::start(plan, entrance.clone(), ledger.clone(), truths).await;
            loads.push(load.context("the fleet cannot begin")?);
        }
        Ok(Self { loads, names })
    }

    /// Waits until all that was due is acknowledged; how long that took.
    pub(super) async fn end(mut self) -> Result<Times> {
        for load in &mut self.loads {
            load.settle(PATIENCE)
                .await
                .context("the fleet is not acknowledged, although nothing is broken any more")?;
        }
        let mut times = Times::default();
        for (load, name) in self.loads.into_iter().zip(self.names) {
            let outcome = load.finish().await;
            times.latency.insert(name.to_owned(), Latency::of(&outcome.seen.latency));
            times.seconds_of.insert(name.to_owned(), outcome.seconds);
            if let Some(consumed) = &outcome.consumed {
                times.consumed.insert(name.to_owned(), Consumed::of(consumed));
            }
        }
        Ok(times)
    }

    /// How long the last second took, in words; nothing before there was one.
    pub(super) fn line(&self) -> String {
        let mut line = String::new();
        for (load, name) in self.loads.iter().zip(&self.names) {
            let Some(Second { p99_us, consumed_p99_us, .. }) = load.last_second() else { continue };
            let ms = |us: u64| us as f64 / 1000.0;
            line += &format!("; {name} p99 {:.0} ms, to a consumer {:.0} ms", ms(p99_us), ms(consumed_p99_us));
        }
        line
    }
}

/// What is driven.
pub(super) fn plans(options: &Prove, seed: u64) -> Vec<LoadPlan> {
    // Every third seed brings reconnect storms besides; where little else can be broken, each.
    let has_storms = seed.is_multiple_of(3) || options.reach.gateway.is_some();
    let pattern = if has_storms && !options.calm { Pattern::Storm { every: STORM } } else { Pattern::Steady };
    let common = LoadPlan { pattern, ack_timeout: ACK_TIMEOUT, ..LoadPlan::new(seed) };
    let agents = LoadPlan {
        shape: Shape::Agents,
        devices: options.devices,
        connections: options.connections.min(options.devices),
        rate: options.rate,
        name: options.name.clone(),
        ..common.clone()
    };
    let foreign = LoadPlan {
        shape: Shape::Foreign,
        devices: options.foreign,
        connections: options.foreign,
        rate: f64::from(options.foreign) * FOREIGN_RATE,
        name: FOREIGN.to_owned(),
        ..common
    };
    [agents, foreign].into_iter().filter(|plan| plan.devices > 0).collect()
}

/// What is driven, for the report.
pub(super) fn described(options: &Prove) -> Vec<(String, String)> {
    let Prove { boards, board_rate, devices, connections, rate, foreign, .. } = options;
    [
        ("boards", format!("{boards} on serial lines of an agent, {board_rate} readings a second each")),
        ("agents", format!("{devices} devices over {connections} connections, {rate} readings a second in all")),
        ("devices of others", format!("{foreign} over MQTT, {FOREIGN_RATE} messages a second each")),
    ]
    .map(|(name, what)| (name.to_owned(), what))
    .into()
}

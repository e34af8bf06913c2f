//! Those who connect to the gateway by themselves: agents with many devices each, and MQTT devices of others.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Prove;
use super::timeline::Latency;
use crate::ledger::Ledger;
use crate::load::{Load, LoadPlan, Pattern, Second, Shape};
use crate::truth::Truths;

/// What the devices of others are called, and their topics begin with.
const FOREIGN: &str = "foreign";
const AGENTS: &str = "fleet";
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

/// How long acknowledgements took, of each by its name: of all, and second by second.
pub(super) type Times = (BTreeMap<String, Latency>, BTreeMap<String, Vec<Second>>);

impl Fleet {
    /// Connects all through `mqtt`.
    pub(super) async fn start(
        options: &Prove,
        seed: u64,
        mqtt: SocketAddr,
        (ledger, truths): (&Ledger, &mut Truths),
    ) -> Result<Self> {
        let (mut loads, mut names) = (Vec::new(), Vec::new());
        for plan in plans(options, seed) {
            names.push(if plan.shape == Shape::Foreign { "devices of others" } else { "agents" });
            let load = Load::start(plan, mqtt, ledger.clone(), truths).await;
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
            times.0.insert(name.to_owned(), Latency::of(&outcome.seen.latency));
            times.1.insert(name.to_owned(), outcome.seconds);
        }
        Ok(times)
    }
}

fn plans(options: &Prove, seed: u64) -> Vec<LoadPlan> {
    // Every third seed brings reconnect storms besides.
    let pattern = if seed.is_multiple_of(3) { Pattern::Storm { every: STORM } } else { Pattern::Steady };
    let common = LoadPlan { pattern, ack_timeout: ACK_TIMEOUT, ..LoadPlan::new(seed) };
    let agents = LoadPlan {
        shape: Shape::Agents,
        devices: options.devices,
        connections: options.connections.min(options.devices),
        rate: options.rate,
        name: AGENTS.to_owned(),
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

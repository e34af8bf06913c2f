//! Everything about a running agent in one document: what `top` shows and `bundle` keeps.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::View;
use super::rates::{Rates, Totals};
use crate::counters::Event;
use crate::queue::Facts;

/// How the agent is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Its name.
    pub agent: String,
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Why it is not healthy, if it is not.
    pub reasons: Vec<String>,
    /// The queue.
    pub queue: Facts,
    /// Rates over the last ten seconds, a second.
    pub rates: BTreeMap<String, f64>,
    /// What happened since the start, by kind.
    pub events: BTreeMap<String, u64>,
}

/// Events whose rate is told.
const TOLD: [Event; 3] = [Event::ReadingsAccepted, Event::UnitsShipped, Event::BatchesShipped];

/// How the agent is now.
pub(super) fn of(view: &View, rates: &Rates) -> Status {
    let now = view.clock.now();
    Status {
        agent: view.agent.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime_s: view.started.elapsed().as_secs(),
        reasons: super::health::stuck(view),
        queue: view.queue.facts(now.as_millis()),
        rates: rates.of(Instant::now(), &totals(view)),
        events: view.counters.iter().map(|(event, count)| (event.name().to_owned(), count)).collect(),
    }
}

/// What rates are made of.
pub(super) fn totals(view: &View) -> Totals {
    TOLD.iter().map(|event| (event.name().to_owned(), view.counters.get(*event))).collect()
}

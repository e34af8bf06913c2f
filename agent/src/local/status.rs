//! Everything about a running agent in one document: what `top` shows and `bundle` keeps.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use weir_protocol::Timestamp;

use super::View;
use super::rates::{Rates, Totals};
use super::settings::RemoteSettings;
use crate::counters::Event;
use crate::health::SourceHealth;
use crate::queue::Facts;
use crate::uplink::health::{GatewayView, LastAcknowledged, UplinkView};

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
    /// The time of all this, in milliseconds since 1970.
    pub now_ms: i64,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// The settings of an operator that it runs with.
    pub remote: Option<RemoteSettings>,
    /// Why it is not healthy, if it is not.
    pub reasons: Vec<String>,
    /// The sources, in the order in which they began.
    pub sources: Vec<SourceStatus>,
    /// The queue.
    pub queue: Facts,
    /// The way to the gateway.
    pub uplink: UplinkStatus,
    /// Rates over the last ten seconds, a second.
    pub rates: BTreeMap<String, f64>,
    /// What happened since the start, by kind.
    pub events: BTreeMap<String, u64>,
}

/// One source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceStatus {
    /// `kind.name`, such as `modbus.plc-1`.
    pub id: String,
    /// The section of the settings that it comes from.
    pub kind: String,
    /// `starting`, `running` or `waiting`.
    pub state: String,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// How often it failed and was started again.
    pub failures: u64,
    /// Readings that it gave.
    pub readings: u64,
    /// How many of them a second, over the last ten seconds.
    pub readings_per_second: f64,
    /// When it gave the last, in milliseconds since 1970.
    pub last_reading_ms: Option<i64>,
}

/// The way to the gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UplinkStatus {
    /// `waiting`, `connecting` or `connected`.
    pub state: String,
    /// The address of the gateway that is used or tried.
    pub gateway: Option<String>,
    /// Who took the connection, as far as it said.
    pub broker: Option<String>,
    /// Since when the connection stands, in milliseconds since 1970.
    pub connected_since_ms: Option<i64>,
    /// The last acknowledged reading.
    pub last_acknowledged: Option<Acknowledged>,
    /// How long nothing was acknowledged although something was to be sent, in milliseconds.
    pub silent_ms: u64,
    /// Why the last connection ended, until something is acknowledged again.
    pub last_error: Option<String>,
    /// The gateways, in order of preference.
    pub gateways: Vec<GatewayStatus>,
    /// What is used of the bytes of the day.
    pub budget: Option<BudgetStatus>,
    /// Whether hours or budget hold something back now.
    pub held_back: bool,
}

/// The bytes of a day.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BudgetStatus {
    /// Sent and received today, estimated.
    pub used: u64,
    /// The most of a day.
    pub limit: u64,
}

/// The identity of an acknowledged reading.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// Whose it is.
    pub device: String,
    /// Of which restart; text, because JSON numbers lose bits.
    pub restart: String,
    /// Its sequence.
    pub sequence: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
}

/// One gateway of the settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GatewayStatus {
    /// Its address.
    pub address: String,
    /// Its circuit breaker: `closed`, `open` or `half-open`.
    pub breaker: String,
    /// Failures in a row.
    pub failures: u32,
}

/// Events whose rate is told.
const TOLD: [Event; 3] = [Event::ReadingsAccepted, Event::UnitsShipped, Event::BatchesShipped];

/// How the agent is now.
pub(super) fn of(view: &View, rates: &Rates) -> Status {
    let now = view.clock.now();
    let rates = rates.of(Instant::now(), &totals(view));
    Status {
        agent: view.agent.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        now_ms: now.as_millis(),
        uptime_s: view.started.elapsed().as_secs(),
        remote: super::settings::remote(view),
        reasons: super::health::stuck(view),
        sources: view.health.sources().into_iter().map(|source| SourceStatus::of(source, &rates)).collect(),
        uplink: UplinkStatus::of(view.health.uplink.view()),
        queue: view.queue.facts(now.as_millis()),
        events: view.counters.iter().map(|(event, count)| (event.name().to_owned(), count)).collect(),
        rates: TOLD
            .iter()
            .filter_map(|event| rates.get_key_value(event.name()))
            .map(|(k, v)| (k.clone(), *v))
            .collect(),
    }
}

impl SourceStatus {
    fn of(source: SourceHealth, rates: &BTreeMap<String, f64>) -> Self {
        Self {
            readings_per_second: rates.get(&total_of(&source.id)).copied().unwrap_or(0.0),
            id: source.id,
            kind: source.kind.to_owned(),
            state: source.state.as_str().to_owned(),
            last_error: source.last_error,
            failures: source.failures,
            readings: source.readings,
            last_reading_ms: source.last_reading_at.map(Timestamp::as_millis),
        }
    }
}

impl UplinkStatus {
    fn of(view: UplinkView) -> Self {
        let gateway = |gateway: GatewayView| GatewayStatus {
            address: gateway.address,
            breaker: gateway.breaker.as_str().to_owned(),
            failures: gateway.failures,
        };
        let acknowledged = |last: LastAcknowledged| Acknowledged {
            device: last.device.to_string(),
            restart: last.restart.to_string(),
            sequence: last.sequence.0,
            at_ms: last.at_ms,
        };
        Self {
            state: view.state.as_str().to_owned(),
            gateway: view.gateway,
            broker: view.broker,
            connected_since_ms: view.connected_since_ms,
            last_acknowledged: view.last_acked.map(acknowledged),
            silent_ms: view.silent_ms,
            last_error: view.last_error,
            gateways: view.gateways.into_iter().map(gateway).collect(),
            budget: view.budget.map(|usage| BudgetStatus { used: usage.used, limit: usage.limit }),
            held_back: view.held_back,
        }
    }
}

/// What rates are made of.
pub(super) fn totals(view: &View) -> Totals {
    let events = TOLD.iter().map(|event| (event.name().to_owned(), view.counters.get(*event)));
    let sources = view.health.sources().into_iter().map(|source| (total_of(&source.id), source.readings));
    events.chain(sources).collect()
}

/// What the readings of a source are called among the totals; no event has a name like that.
fn total_of(source: &str) -> String {
    format!("source {source}")
}

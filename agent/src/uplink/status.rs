//! The status message: how the agent is, for people and dashboards. Health is progress, not a connection.

use serde::Serialize;
use weir_protocol::AgentId;

use crate::counters::Counters;
use crate::queue::{Facts, Queue};

/// What the status topic holds, as JSON.
#[derive(Debug, Serialize)]
pub struct Status {
    state: &'static str,
    agent: String,
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<Facts>,
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    events: serde_json::Map<String, serde_json::Value>,
}

impl Status {
    /// What the will says: the agent went without a word.
    pub fn gone(agent: AgentId) -> String {
        Self::without_queue("gone", agent)
    }

    /// The last words of an agent that stops.
    pub fn stopped(agent: AgentId) -> String {
        Self::without_queue("stopped", agent)
    }

    /// What it leaves behind at a gateway that it does not use any more.
    pub fn moved(agent: AgentId) -> String {
        Self::without_queue("moved", agent)
    }

    /// How it is now. `now_ms` is in milliseconds since 1970.
    pub fn running(agent: AgentId, queue: &Queue, counters: &Counters, now_ms: i64) -> String {
        let events = counters.iter().map(|(event, count)| (event.name().to_owned(), count.into())).collect();
        let status = Self { queue: Some(queue.facts(now_ms)), events, ..Self::new("running", agent) };
        serde_json::to_string(&status).unwrap_or_default()
    }

    fn without_queue(state: &'static str, agent: AgentId) -> String {
        serde_json::to_string(&Self::new(state, agent)).unwrap_or_default()
    }

    fn new(state: &'static str, agent: AgentId) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        Self { state, agent: agent.to_string(), version, queue: None, events: Default::default() }
    }
}

//! The status message: how the agent is, for people and dashboards. Health is progress, not a connection.

use serde::Serialize;
use weir_protocol::AgentId;

use crate::counters::Counters;
use crate::queue::Queue;

/// What the status topic holds, as JSON.
#[derive(Debug, Serialize)]
pub struct Status {
    state: &'static str,
    agent: String,
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<QueueStatus>,
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    events: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Serialize)]
struct QueueStatus {
    incarnation: String,
    /// Records committed and not acknowledged by the gateway.
    unshipped: u64,
    /// The offset that the next record takes.
    next_offset: u64,
    /// Bytes on disk.
    allocated: u64,
    /// The most bytes on disk.
    cap: u64,
    /// What happens when it is full.
    policy: &'static str,
    /// Sequences in claims that wait beside the log.
    claimed: u64,
    /// Age of the oldest record that the gateway does not have, in milliseconds.
    oldest_unshipped_ms: Option<i64>,
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

    /// How it is now. `now_ms` is in milliseconds since 1970.
    pub fn running(agent: AgentId, queue: &Queue, counters: &Counters, now_ms: i64) -> String {
        let reader = queue.reader();
        let (start, end) = (reader.start_offset(), reader.end_offset());
        let state = queue.state();
        let state = state.lock();
        let first = state.first_unshipped(start).min(end);
        let unshipped = state.shipped.gaps(first..end).map(|gap| gap.end - gap.start).sum();
        let incarnation = state.incarnation.to_string();
        let claimed = state.claims.sequences();
        drop(state);
        let oldest = (first < end).then(|| reader.read(first, 1).ok()).flatten();
        let oldest = oldest.as_ref().and_then(|chunk| chunk.records().flatten().next().map(|r| r.timestamp_ms));
        let queue = QueueStatus {
            incarnation,
            unshipped,
            next_offset: end,
            allocated: reader.allocated(),
            cap: queue.options().cap,
            policy: queue.options().policy.as_str(),
            claimed,
            oldest_unshipped_ms: oldest.map(|at| now_ms.saturating_sub(at)),
        };
        let events = counters.iter().map(|(event, count)| (event.name().to_owned(), count.into())).collect();
        let status = Self { queue: Some(queue), events, ..Self::new("running", agent) };
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

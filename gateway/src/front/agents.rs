//! Which agents are connected, and the last status of each.
//!
//! What it guarantees: an agent is connected if its newest connection is; a status is replaced by the next one, and by
//! the agent's will if it vanishes without a goodbye. Memory is bounded by [`MAX_AGENTS`]. Nothing here is
//! durable: after a restart of the gateway an agent is known again when it connects.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::{Value, json};
use weir_protocol::{Tenant, Timestamp};

use crate::access::{ClientId, Identity};
use crate::mqtt::packet::Version;

/// The most agents that are remembered; beyond it, one that is gone is forgotten for each that comes.
pub const MAX_AGENTS: usize = 20_000;

/// The agents.
#[derive(Debug, Default)]
pub struct Agents {
    known: Mutex<BTreeMap<Name, Agent>>,
}

type Name = (Tenant, ClientId);

#[derive(Debug)]
struct Agent {
    /// Counts the sessions, so that an old one cannot end a new one.
    generation: u64,
    is_connected: bool,
    version: Version,
    since: Timestamp,
    status: Option<Bytes>,
}

/// The right of one session to speak for an agent.
#[derive(Debug)]
pub struct Lease {
    agent: Name,
    generation: u64,
}

impl Agents {
    /// None known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a connection of a client at `now`, in place of one that it has already.
    pub fn connect(&self, identity: &Identity, version: Version, now: Timestamp) -> Lease {
        let agent = (identity.tenant, identity.client.clone());
        let mut known = self.lock();
        if known.len() >= MAX_AGENTS && !known.contains_key(&agent) {
            let gone = known.iter().find(|(_, agent)| !agent.is_connected).map(|(id, _)| id.clone());
            gone.and_then(|id| known.remove(&id));
        }
        let before = known.remove(&agent);
        let generation = before.as_ref().map_or(0, |agent| agent.generation + 1);
        let status = before.and_then(|agent| agent.status);
        known.insert(agent.clone(), Agent { generation, is_connected: true, version, since: now, status });
        Lease { agent, generation }
    }

    /// Keeps what the agent says about itself.
    pub fn set_status(&self, lease: &Lease, status: Bytes) {
        if let Some(agent) = self.lock().get_mut(&lease.agent).filter(|agent| agent.generation == lease.generation) {
            agent.status = Some(status);
        }
    }

    /// Ends a session at `now`; `will` is its status from here on, if it had one.
    pub fn disconnect(&self, lease: &Lease, will: Option<Bytes>, now: Timestamp) {
        if let Some(agent) = self.lock().get_mut(&lease.agent).filter(|agent| agent.generation == lease.generation) {
            agent.is_connected = false;
            agent.since = now;
            agent.status = will.or(agent.status.take());
        }
    }

    /// Every agent for `GET /status`. `status` is JSON if the agent sent JSON, else text.
    pub fn to_json(&self) -> Value {
        let known = self.lock();
        let agents = known.iter().map(|((_, id), agent)| {
            let status = agent.status.as_ref().map(|bytes| {
                serde_json::from_slice(bytes).unwrap_or_else(|_| Value::from(String::from_utf8_lossy(bytes)))
            });
            json!({
                "agent": id.as_str(),
                "connected": agent.is_connected,
                "mqtt": match agent.version { Version::V4 => "3.1.1", Version::V5 => "5" },
                "since_ms": agent.since.as_millis(),
                "status": status,
            })
        });
        Value::Array(agents.collect())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, Agent>> {
        // Every change is one assignment: a panic elsewhere leaves nothing half done.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

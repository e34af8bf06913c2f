//! Agents, for `GET /status`: what each said of itself last, and whether it is connected.

use serde_json::{Value, json};
use weir_protocol::Tenant;
use weir_protocol::mqtt::{Purpose, Topic};

use super::{Key, Sessions};
use crate::http::sessions::version;
use crate::retained::{Message, Retained};

/// The most agents that the answer names.
const MAX_AGENTS: usize = 20_000;

impl Sessions {
    /// Every agent that has said something of itself: its status is a retained message. It is JSON if the agent sent JSON,
    /// else text. `since_ms` says since when it is connected, or away; of an agent whose session ended with its connection,
    /// when its last status came.
    /// Of `tenant` alone, if there is one.
    pub fn agents(&self, retained: &Retained, tenant: Option<Tenant>) -> Value {
        let mut agents = Vec::new();
        let mut statuses = match tenant {
            Some(tenant) => retained.matching(tenant, &format!("weir/1/{tenant}/+/status")),
            None => retained.matching_of_all("weir/1/+/+/status"),
        };
        while let Some(page) = statuses.next_page() {
            agents.extend(page.iter().filter_map(|message| self.agent(retained, message)));
            if agents.len() >= MAX_AGENTS {
                agents.truncate(MAX_AGENTS);
                break;
            }
        }
        Value::Array(agents)
    }

    fn agent(&self, retained: &Retained, message: &Message) -> Option<Value> {
        let topic = std::str::from_utf8(&message.topic).ok().and_then(Topic::parse);
        let Topic { tenant, agent, purpose: Purpose::Status } = topic? else { return None };
        let text = || Value::from(String::from_utf8_lossy(&message.payload));
        let status = serde_json::from_slice(&message.payload).unwrap_or_else(|_| text());
        let view = self.view(&Key { tenant, client: agent.into() });
        let connected = view.as_ref().and_then(|view| view.connected);
        Some(json!({
            "tenant": tenant.as_str(),
            "agent": agent.as_str(),
            "connected": connected.is_some(),
            "mqtt": connected.map(version),
            "since_ms": view.map_or_else(|| retained.came_ms(message), |view| view.since_ms),
            "status": status,
        }))
    }
}

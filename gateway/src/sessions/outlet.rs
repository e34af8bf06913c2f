//! Wills as messages: through ingest like any other, and to what is retained.

use tokio::sync::mpsc;
use weir_protocol::AgentId;
use weir_protocol::mqtt::{Purpose, Topic};

use super::{Key, Published, Publisher};
use crate::ingest::{self, Body, Event, Failure, Ingest, Sender, Verdict};
use crate::mqtt::packet::Will;
use crate::retained::{self, Retained};

/// Publishes wills into the log.
#[derive(Clone)]
pub struct Outlet {
    ingest: Ingest,
    retained: Retained,
}

impl Outlet {
    /// Publishes through `ingest`, and retains in `retained`.
    pub fn new(ingest: Ingest, retained: Retained) -> Self {
        Self { ingest, retained }
    }

    async fn store(&self, client: &Key, will: &Will) -> Published {
        let (events, mut told) = mpsc::unbounded_channel();
        let sender = Sender { tenant: client.tenant, client: client.client.clone() };
        let connection = self.ingest.connect(sender, events);
        let published = ingest::Published {
            topic: will.topic.clone(),
            qos: will.qos,
            retain: will.retain,
            properties: will.properties.clone(),
            identity: None,
        };
        let body = Body::Published(Box::new(published));
        connection.submit(vec![ingest::Message { ticket: 0, body, payload: will.payload.clone() }]).await;
        while let Some(event) = told.recv().await {
            let Event::Outcomes(outcomes) = event else { continue };
            if let Some(outcome) = outcomes.first() {
                return match outcome.verdict {
                    Verdict::Stored | Verdict::DeadLettered(_) => Published::Stored,
                    Verdict::Unreadable(_) | Verdict::Failed(Failure::Quota) => Published::Refused,
                    Verdict::Failed(_) => Published::Later,
                };
            }
        }
        Published::Later
    }

    async fn retain(&self, client: &Key, will: Will) -> Published {
        let message = retained::Message {
            topic: will.topic.clone(),
            payload: will.payload,
            qos: will.qos,
            properties: will.properties,
            publisher: client.client.clone(),
            clock_ms: 0,
        };
        match self.retained.set(client.tenant, &will.topic, Some(message)) {
            Ok(written) => written.await.map_or(Published::Later, |()| Published::Stored),
            Err(retained::Full) => Published::Refused,
        }
    }
}

impl Publisher for Outlet {
    async fn publish(&self, client: Key, will: Will) -> Published {
        if is_status(&client, &will.topic) {
            // The status of an agent is retained, and nothing else.
            return self.retain(&client, will).await;
        }
        match self.store(&client, &will).await {
            Published::Stored if will.retain => self.retain(&client, will).await,
            published => published,
        }
    }
}

/// Whether a topic is the status of the agent that a client is.
fn is_status(client: &Key, topic: &[u8]) -> bool {
    let Ok(agent) = AgentId::new(client.client.as_str()) else { return false };
    Topic { tenant: client.tenant, agent, purpose: Purpose::Status }.to_string().as_bytes() == topic
}

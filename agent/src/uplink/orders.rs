//! What an operator publishes for this agent: the way from a connection to [`crate::remote`].
//!
//! Guarantees: at most [`WAITING`] messages wait, and one too many is dropped and counted, because what matters is
//! retained and comes again with the next connection. A message that is larger than the agent takes, which would end
//! every connection anew, is listened for no more once it did.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use weir_protocol::mqtt::{Purpose, Topic};
use weir_protocol::{AgentId, Tenant};

use crate::counters::{Counters, Event};

/// Messages that wait.
const WAITING: usize = 8;

/// What rumqttc says of a packet that is too large: on 3.1.1, on 5 while it is framed, and on 5 once it was read.
const TOO_LARGE: [&str; 3] = ["payload size limit exceeded", "max payload size of", "cannot receive packet of size"];

/// A message of an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// [`Purpose::Config`] or [`Purpose::Do`].
    pub purpose: Purpose,
    /// A signed document.
    pub payload: Bytes,
}

/// The way in for orders.
#[derive(Clone)]
pub struct Orders {
    /// None: nobody listens.
    inbox: Option<mpsc::Sender<Order>>,
    topics: Vec<(String, Purpose)>,
    counters: Arc<Counters>,
}

impl Orders {
    /// Nothing is listened for.
    pub fn none(counters: Arc<Counters>) -> Self {
        Self { inbox: None, topics: Vec::new(), counters }
    }

    /// Those for `agent`, and where they come out.
    pub fn channel(agent: AgentId, counters: Arc<Counters>) -> (Self, mpsc::Receiver<Order>) {
        let (inbox, orders) = mpsc::channel(WAITING);
        let topic = |purpose| (Topic { tenant: Tenant::DEFAULT, agent, purpose }.to_string(), purpose);
        let topics = [Purpose::Config, Purpose::Do].map(topic).to_vec();
        (Self { inbox: Some(inbox), topics, counters }, orders)
    }

    /// Nothing is listened for.
    pub fn off(&self) -> Self {
        Self::none(Arc::clone(&self.counters))
    }

    /// What to subscribe to.
    pub(super) fn topics(&self) -> impl Iterator<Item = &String> {
        self.topics.iter().map(|(topic, _)| topic)
    }

    /// A message came on `topic`.
    pub(super) fn take(&self, topic: &str, payload: Bytes) {
        let Some(inbox) = &self.inbox else { return };
        let Some((_, purpose)) = self.topics.iter().find(|(own, _)| own == topic) else { return };
        // Taking back a retained message is published as an empty one.
        if payload.is_empty() {
            return;
        }
        if inbox.try_send(Order { purpose: *purpose, payload }).is_err() {
            self.counters.warn(Event::OrdersDropped, || "too many orders wait; they come again if retained".to_owned());
        }
    }

    /// A connection ended.
    pub(super) fn lost(&mut self, reason: &str) {
        let reason = reason.to_lowercase();
        let is_too_large = TOO_LARGE.iter().any(|text| reason.contains(text));
        if is_too_large && !self.topics.is_empty() {
            self.counters.warn(Event::OrdersDropped, || {
                "a message for this agent is larger than it takes, and ended the connection: remote configuration and \
                 commands are off until the settings are read again; publish a smaller one, then reload"
                    .to_owned()
            });
            self.topics.clear();
        }
    }
}

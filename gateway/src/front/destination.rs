//! Where a message goes: Weir's own topics, or what the settings store.
//!
//! What it guarantees: only an agent, which is a client with the name of one, publishes under `weir/1/{tenant}/{agent}/`,
//! and only under its own, but for what an operator tells an agent (`config` and `do`), which whoever may publish it tells
//! agents of the same tenant; a topic that nobody stores is refused, because nothing is acknowledged that is not kept; a topic
//! is no longer and no deeper, and properties are no more, than the settings allow.

use weir_protocol::AgentId;
use weir_protocol::mqtt::Topic;

use super::refusal::Refusal;
use crate::access::{Access, Action, Identity};
use crate::mqtt::packet::Properties;
use crate::mqtt::topic::levels;
use crate::topics::stores::Stores;

/// The longest status, in bytes; it is for people.
pub const MAX_STATUS: usize = 4096;

/// The longest topic that the settings may allow, in bytes.
pub const MAX_TOPIC: usize = 4096;

/// How long topics, and what messages carry, may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicLimits {
    /// Levels of a topic.
    pub levels: usize,
    /// Bytes of a topic.
    pub bytes: usize,
    /// Bytes of what a message carries beside topic and payload.
    pub property_bytes: usize,
}

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    /// A batch of an agent.
    Batch,
    /// The description of a device.
    Describe,
    /// The status of an agent, which is retained and nothing else.
    Status,
    /// What an operator tells an agent, likewise.
    Order,
    /// The agent itself about a command that it decided on: it is kept no longer. Without a payload.
    Decided,
    /// A topic of the log.
    Store,
}

/// What decides where the messages of one client go.
pub(super) struct Destinations {
    identity: Identity,
    /// What begins the topics of an agent; empty for a client that is none.
    prefix: String,
    limits: TopicLimits,
    access: Access,
    stores: Stores,
}

impl Destinations {
    pub(super) fn new(identity: Identity, limits: TopicLimits, access: Access, stores: Stores) -> Self {
        let agent = AgentId::new(identity.client.as_str());
        let prefix = agent.map(|agent| format!("weir/1/{}/{agent}/", identity.tenant)).unwrap_or_default();
        Self { identity, prefix, limits, access, stores }
    }

    /// Whether a topic is short enough to be looked at.
    pub(super) fn check_length(&self, topic: &[u8]) -> Result<(), Refusal> {
        if topic.len() > self.limits.bytes { Err(Refusal::TopicTooLong) } else { Ok(()) }
    }

    /// Where a message on `topic` goes, whose length was checked.
    pub(super) fn find(&self, topic: &[u8], properties: &Properties) -> Result<Destination, Refusal> {
        // The codec lets only UTF-8 through.
        let topic = std::str::from_utf8(topic).map_err(|_| Refusal::Malformed)?;
        if levels(topic) > self.limits.levels {
            return Err(Refusal::TopicTooLong);
        }
        if properties.forwarded.len() > self.limits.property_bytes {
            return Err(Refusal::PropertiesTooLong);
        }
        let destination = self.route(topic)?;
        let may = self.access.may(&self.identity, Action::Publish, topic);
        may.then_some(destination).ok_or(Refusal::NotAuthorized)
    }

    fn route(&self, topic: &str) -> Result<Destination, Refusal> {
        if topic.starts_with(WEIR) {
            let own = if self.prefix.is_empty() { None } else { topic.strip_prefix(&*self.prefix) };
            return match own {
                Some("batch") => Ok(Destination::Batch),
                Some("describe") => Ok(Destination::Describe),
                Some("status") => Ok(Destination::Status),
                Some(order) if order.starts_with("do/") && Topic::parse(topic).is_some() => Ok(Destination::Decided),
                _ => match Topic::parse(topic) {
                    Some(topic) if topic.purpose.is_order() && topic.tenant == self.identity.tenant => {
                        Ok(Destination::Order)
                    }
                    Some(_) => Err(Refusal::NotAuthorized),
                    None => Err(Refusal::TopicName),
                },
            };
        }
        self.stores.find(self.identity.tenant, topic.as_bytes()).map(|_| Destination::Store).ok_or(Refusal::TopicName)
    }
}

/// What begins all topics of Weir's own.
const WEIR: &str = "weir/";

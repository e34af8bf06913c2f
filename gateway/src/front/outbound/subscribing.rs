//! SUBSCRIBE and UNSUBSCRIBE (sections 3.8 to 3.11).
//!
//! What it guarantees: each filter has its own code, and a refused one changes nothing; what the session has to keep is
//! said as [`Change`]s, which are durable before the answer is written if the session outlives its connection.

use weir_protocol::mqtt::{PREFIX, Purpose, Topic};

use super::Outbound;
use super::orders::is_order;
use super::retained::is_wanted;
use super::subscriptions::{Subscriptions, granted};
use crate::access::{Access, Action, Identity};
use crate::delivery::{Positions, Subscription};
use crate::front::refusal::Refusal;
use crate::mqtt::packet::{Filter, Subscribe, Unsubscribe};

/// What a SUBSCRIBE or an UNSUBSCRIBE came to.
#[derive(Debug, Default)]
pub struct Subscribed {
    /// The code of each filter, in their order.
    pub codes: Vec<u8>,
    /// What a session that outlives its connection has to keep before they are sent.
    pub changes: Vec<Change>,
}

/// A change of what a session keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// This subscription is there, in place of one with the same filter.
    Set(Subscription),
    /// The subscription with this filter is not.
    Remove(String),
}

/// UNSUBACK reason: no subscription existed.
const NO_SUBSCRIPTION: u8 = 0x11;

impl Outbound {
    /// SUBSCRIBE. After the answer is written, [`Outbound::flush`].
    pub fn subscribe(&mut self, subscribe: &Subscribe) -> Subscribed {
        let mut subscribed = Subscribed::default();
        for filter in &subscribe.filters {
            let code = match self.add(filter, subscribe.identifier, &mut subscribed.changes) {
                Ok(granted) => granted,
                Err(refusal) => {
                    self.supply.counters.refused(refusal);
                    refusal.code()
                }
            };
            subscribed.codes.push(code);
        }
        self.counted.set(self.subscriptions.len());
        subscribed
    }

    fn add(&mut self, asked: &Filter, identifier: Option<u32>, changes: &mut Vec<Change>) -> Result<u8, Refusal> {
        let filter = granted(asked);
        let (qos, code) = (filter.qos, filter.qos as u8);
        if let Some(commands) = &mut self.commands
            && filter.filter == commands.topic()
        {
            commands.subscribe(qos);
            return Ok(code);
        }
        Subscriptions::check(&filter.filter, &self.supply.limits)?;
        if !may_have(&self.access, &self.identity, &filter.filter) {
            return Err(Refusal::NotAuthorized);
        }
        let name = filter.filter.clone();
        let subscription = Subscription { filter, identifier, since: Positions::default() };
        let topics = self.supply.delivery.topics();
        let is_known = self.subscriptions.add(subscription, &self.supply.limits, topics)?;
        if !is_known {
            let begun = self.source.subscribe(&self.supply, self.identity.tenant, &self.subscriptions, &name);
            let Ok(since) = begun else {
                self.subscriptions.remove(&name);
                self.source.unsubscribe(&self.subscriptions, &name);
                return Err(Refusal::TooManySubscriptions);
            };
            self.subscriptions.begin(&name, since, self.supply.delivery.topics());
            self.orders.subscribe(&self.supply, &self.identity, &name);
            self.moved = true;
        }
        let wants_retained = is_wanted(asked.retain_handling, is_known);
        let supply = &self.supply;
        if let Some(retained) = supply.retained.as_ref().filter(|_| wants_retained)
            && let Some(subscription) = self.subscriptions.get(&name)
        {
            self.retained.ask(subscription.clone(), retained.matching(self.identity.tenant, &name));
        }
        changes.extend(self.subscriptions.get(&name).cloned().map(Change::Set));
        Ok(code)
    }

    /// UNSUBSCRIBE.
    pub fn unsubscribe(&mut self, unsubscribe: &Unsubscribe) -> Subscribed {
        let mut subscribed = Subscribed::default();
        for filter in &unsubscribe.filters {
            subscribed.codes.push(self.remove(filter, &mut subscribed.changes));
        }
        self.counted.set(self.subscriptions.len());
        subscribed
    }

    fn remove(&mut self, filter: &str, changes: &mut Vec<Change>) -> u8 {
        let commands = self.commands.as_mut().filter(|commands| commands.topic() == filter);
        let existed = match commands {
            Some(commands) => commands.unsubscribe(),
            None if self.subscriptions.remove(filter) => {
                self.source.unsubscribe(&self.subscriptions, filter);
                self.retained.forget(filter);
                self.orders.unsubscribe(filter);
                changes.push(Change::Remove(filter.to_owned()));
                self.moved = true;
                true
            }
            None => false,
        };
        if existed { 0 } else { NO_SUBSCRIPTION }
    }
}

/// Whether the rules of now let a client have a filter. Asked at SUBSCRIBE, and again when a session is resumed.
pub(super) fn may_have(access: &Access, identity: &Identity, filter: &str) -> bool {
    access.may(identity, Action::Subscribe, filter) && !is_of_another(filter, identity)
}

/// Whether a filter names what is nobody else's: the topics of another tenant, or what one agent and the gateway tell each
/// other. One that reaches them by wildcards gets nothing of them, but what else it matches.
fn is_of_another(filter: &str, identity: &Identity) -> bool {
    let tenant = identity.tenant.as_str();
    if let Some(topic) = is_order(filter) {
        return !is_told_to(&topic, identity);
    }
    match Topic::parse(filter) {
        Some(topic) if topic.purpose != Purpose::Status => return true,
        _ => {}
    }
    let of = filter.strip_prefix(PREFIX).and_then(|rest| rest.split('/').next());
    of.is_some_and(|of| of != tenant && of != "+" && of != "#")
}

/// Whether an order is for this client.
pub(super) fn is_told_to(topic: &Topic, identity: &Identity) -> bool {
    topic.tenant == identity.tenant && topic.agent.as_str() == identity.client.as_str()
}

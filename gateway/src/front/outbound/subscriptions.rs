//! The subscriptions of one client.
//!
//! What it guarantees: a filter is there once, at most so many filters are ([`SubscriptionLimits`]), and a message that
//! several of them match comes once: at the highest QoS among them, with the identifiers of all of them (section 3.3.4).
//! Above QoS 1 nothing is granted. What a session was allowed once and is not any more brings nothing, as long as this
//! connection lasts; it is not forgotten, because a mistake in the rules must not cost a session its subscriptions.

use crate::access::ClientId;
use crate::delivery::{Message, Place, Position, Positions, Subscription};
use crate::front::refusal::Refusal;
use crate::mqtt::packet::{Filter, QoS};
use crate::mqtt::topic::{is_filter, is_shared, levels, matches};
use crate::topics::Topics;

/// What one client may subscribe to.
#[derive(Clone, Copy, Debug)]
pub struct SubscriptionLimits {
    /// Filters.
    pub most: usize,
    /// Levels of one filter.
    pub levels: usize,
}

impl Default for SubscriptionLimits {
    fn default() -> Self {
        Self { most: 256, levels: 32 }
    }
}

/// The longest filter, in bytes.
pub(super) const MAX_FILTER: usize = 1024;

/// The subscriptions of one client.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    all: Vec<Held>,
}

#[derive(Debug)]
struct Held {
    subscription: Subscription,
    /// Where it began, as far as the session is not there yet.
    since: Vec<Place>,
    /// The client may not have it any more.
    is_withheld: bool,
}

/// How a message goes to the client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Granted {
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) identifiers: Vec<u32>,
}

impl Subscriptions {
    /// Those of a session that goes on; `may` says which of them the client may still have.
    pub(super) fn new(all: Vec<Subscription>, may: impl Fn(&str) -> bool, topics: &Topics) -> Self {
        let held = |subscription: Subscription| {
            let is_withheld = !may(&subscription.filter.filter);
            Held { is_withheld, ..Held::new(subscription, topics) }
        };
        Self { all: all.into_iter().map(held).collect() }
    }

    /// Whether a client may have `filter` as far as its form goes.
    pub(super) fn check(filter: &str, limits: &SubscriptionLimits) -> Result<(), Refusal> {
        if is_shared(filter) {
            return Err(Refusal::SharedSubscription);
        }
        let is_good = is_filter(filter) && filter.len() <= MAX_FILTER && levels(filter) <= limits.levels;
        is_good.then_some(()).ok_or(Refusal::TopicFilter)
    }

    /// Adds a subscription that was checked, in place of one with the same filter; whether there was one.
    pub(super) fn add(
        &mut self,
        mut subscription: Subscription,
        limits: &SubscriptionLimits,
        topics: &Topics,
    ) -> Result<bool, Refusal> {
        let known = self.all.iter().position(|known| known.subscription.filter.filter == subscription.filter.filter);
        match known {
            // It brought nothing so far: it begins now.
            Some(known) if self.all[known].is_withheld => {
                self.all[known] = Held::new(subscription, topics);
                Ok(false)
            }
            Some(known) => {
                let known = &mut self.all[known];
                // It began when it was made first: what it replaces had the rest ([MQTT-3.8.4-3]).
                subscription.since = std::mem::take(&mut known.subscription.since);
                known.subscription = subscription;
                Ok(true)
            }
            None if self.all.len() >= limits.most => Err(Refusal::TooManySubscriptions),
            None => {
                self.all.push(Held::new(subscription, topics));
                Ok(false)
            }
        }
    }

    /// Says where the subscription with this filter began.
    pub(super) fn begin(&mut self, filter: &str, since: Positions, topics: &Topics) {
        if let Some(known) = self.all.iter_mut().find(|known| known.subscription.filter.filter == filter) {
            let subscription = Subscription { since, ..known.subscription.clone() };
            *known = Held::new(subscription, topics);
        }
    }

    /// Ends a subscription; whether there was one.
    pub(super) fn remove(&mut self, filter: &str) -> bool {
        let at = self.all.iter().position(|known| known.subscription.filter.filter == filter);
        at.map(|at| self.all.swap_remove(at)).is_some()
    }

    /// How many of them bring nothing, because the client may not have them any more.
    pub(super) fn withheld(&self) -> usize {
        self.all.iter().filter(|known| known.is_withheld).count()
    }

    /// The subscription with this filter, if it brings anything.
    pub(super) fn effective(&self, filter: &str) -> Option<&Subscription> {
        let known = self.all.iter().find(|known| known.subscription.filter.filter == filter)?;
        (!known.is_withheld).then_some(&known.subscription)
    }

    /// The subscription with this filter.
    pub(super) fn get(&self, filter: &str) -> Option<&Subscription> {
        self.iter().find(|known| known.filter.filter == filter)
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Subscription> {
        self.all.iter().map(|known| &known.subscription)
    }

    /// Their filters; the log is passed over for those that bring nothing too.
    pub(super) fn filters(&self) -> impl Iterator<Item = Box<str>> {
        self.iter().map(|known| known.filter.filter.as_str().into())
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether a message may need a packet id.
    pub(super) fn at_qos_1(&self) -> bool {
        self.iter().any(|known| known.filter.qos > QoS::AtMostOnce)
    }

    /// How `message` goes to `client`; `None` if it does not.
    pub(super) fn grant(&self, message: &Message, client: &ClientId) -> Option<Granted> {
        let topic = std::str::from_utf8(&message.topic).ok()?;
        let is_own = message.publisher.as_ref() == Some(client);
        let mut granted: Option<Granted> = None;
        for Held { subscription: Subscription { filter, identifier, .. }, since, is_withheld } in &self.all {
            if *is_withheld
                || (is_own && filter.no_local)
                || !matches(topic, &filter.filter)
                || is_before(message.place, since)
            {
                continue;
            }
            let granted = granted.get_or_insert_default();
            granted.qos = granted.qos.max(filter.qos.min(message.qos));
            granted.retain |= filter.retain_as_published && message.retain;
            granted.identifiers.extend(*identifier);
        }
        granted
    }

    /// Bytes that they take.
    pub(super) fn held(&self) -> usize {
        let one = |held: &Held| held.subscription.filter.filter.len() + held.since.len() * size_of::<Place>();
        self.all.capacity() * size_of::<Held>() + self.all.iter().map(one).sum::<usize>()
    }
}

impl Held {
    fn new(subscription: Subscription, topics: &Topics) -> Self {
        let place = |position: &Position| {
            let topic = topics.named(&position.topic)?.id();
            Some(Place { topic, partition: position.partition, offset: position.offset })
        };
        let since = subscription.since.iter().filter_map(place).collect();
        Self { subscription, since, is_withheld: false }
    }
}

/// Whether a message lies before the beginning of a subscription.
fn is_before(place: Place, since: &[Place]) -> bool {
    since
        .iter()
        .any(|begin| (begin.topic, begin.partition) == (place.topic, place.partition) && place.offset < begin.offset)
}

/// What a subscription is granted of what was asked for.
pub(super) fn granted(filter: &Filter) -> Filter {
    Filter { qos: filter.qos.min(QoS::AtLeastOnce), ..filter.clone() }
}

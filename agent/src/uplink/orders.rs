//! What an operator publishes for this agent: the way from a connection to [`crate::remote`].
//!
//! Guarantees: at most [`WAITING`] messages wait. One too many is dropped and counted, and asked for again once those that
//! wait were looked at: what matters is retained. What was decided on is taken back from where it is kept, so that it does
//! not come again ([`Decided`]). A message that is larger than the agent takes, which would end
//! every connection anew, is listened for no more once it did.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use weir_protocol::mqtt::{EACH, Purpose, Topic};
use weir_protocol::name::Name;
use weir_protocol::{AgentId, Tenant};

use crate::counters::{Counters, Event};

/// Messages that wait.
const WAITING: usize = 32;
/// Ids of commands that were decided on and are to be taken back. One too many comes again with the next connection.
const MAX_DECIDED: usize = 256;
/// The least time between two requests for everything that is kept for this agent: each brings all of it.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// What rumqttc says of a packet that is too large: on 3.1.1, on 5 while it is framed, and on 5 once it was read.
const TOO_LARGE: [&str; 3] = ["payload size limit exceeded", "max payload size of", "cannot receive packet of size"];

/// A message of an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// [`Purpose::Config`] or [`Purpose::Do`].
    pub purpose: Purpose,
    /// The id in its topic, of a command that has a topic of its own.
    pub id: Option<Name>,
    /// Whether it was there before this agent listened.
    pub retained: bool,
    /// A signed document.
    pub payload: Bytes,
}

/// The way in for orders.
#[derive(Clone)]
pub struct Orders {
    /// None: nobody listens.
    inbox: Option<mpsc::Sender<Order>>,
    topics: Vec<(String, Purpose)>,
    decided: Arc<Decided>,
    counters: Arc<Counters>,
}

/// What the connection is told by whoever decides on orders.
#[derive(Default)]
pub struct Decided {
    ids: Mutex<BTreeSet<Name>>,
    /// An order was dropped for want of room, and when they are to be asked for again.
    missed: Mutex<Option<Instant>>,
    /// When that was done last.
    asked_at: Mutex<Option<Instant>>,
    /// And there is room again.
    again: AtomicBool,
    told: Notify,
}

impl Decided {
    /// The command with this id needs not be kept any longer.
    pub fn add(&self, id: Name) {
        let mut ids = self.ids();
        if ids.len() < MAX_DECIDED {
            ids.insert(id);
            self.told.notify_one();
        }
    }

    /// An order came for which there is no room.
    pub fn miss(&self) {
        let asked_at = *lock(&self.asked_at);
        lock(&self.missed).get_or_insert(asked_at.map_or_else(Instant::now, |at| at + ASK_AGAIN));
    }

    /// When to ask again for what was missed, if there is room then ([`Decided::has_room`]).
    pub fn again_at(&self) -> Option<Instant> {
        *lock(&self.missed)
    }

    /// There is room: what was missed is asked for again.
    pub fn has_room(&self) {
        if lock(&self.missed).take().is_some() {
            *lock(&self.asked_at) = Some(Instant::now());
            self.again.store(true, Ordering::Release);
            self.told.notify_one();
        }
    }

    fn ids(&self) -> MutexGuard<'_, BTreeSet<Name>> {
        lock(&self.ids)
    }
}

/// Every change under it is complete in itself.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Orders {
    /// Nothing is listened for.
    pub fn none(counters: Arc<Counters>) -> Self {
        Self { inbox: None, topics: Vec::new(), decided: Arc::default(), counters }
    }

    /// Those for `agent`, and where they come out.
    pub fn channel(agent: AgentId, decided: Arc<Decided>, counters: Arc<Counters>) -> (Self, mpsc::Receiver<Order>) {
        let (inbox, orders) = mpsc::channel(WAITING);
        let topic = |purpose| (Topic { tenant: Tenant::DEFAULT, agent, purpose }.to_string(), purpose);
        let mut topics = [Purpose::Config, Purpose::Do].map(topic).to_vec();
        let each = format!("{}{EACH}", topics[1].0);
        topics.push((each, Purpose::Do));
        (Self { inbox: Some(inbox), topics, decided, counters }, orders)
    }

    /// Waits until something is to be taken back or asked for again. May be dropped at any time.
    pub(super) async fn told(&self) {
        let is_told = || self.decided.again.load(Ordering::Acquire) || !self.decided.ids().is_empty();
        while !is_told() {
            self.decided.told.notified().await;
        }
    }

    /// Whether everything is to be asked for again.
    pub(super) fn take_again(&self) -> bool {
        self.decided.again.swap(false, Ordering::AcqRel)
    }

    /// The topic of a command that was decided on.
    pub(super) fn take_decided(&self) -> Option<String> {
        let id = self.decided.ids().pop_first()?;
        let (each, _) = self.topics.iter().find(|(topic, _)| topic.ends_with(EACH))?;
        Some(format!("{}/{id}", each.trim_end_matches(EACH)))
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
    pub(super) fn take(&self, topic: &str, payload: Bytes, retained: bool) {
        let Some(inbox) = &self.inbox else { return };
        let id = |filter: &str| topic.strip_prefix(filter.strip_suffix(EACH)?)?.strip_prefix('/');
        let fits = |(filter, _): &&(String, Purpose)| filter == topic || id(filter).is_some();
        let Some((filter, purpose)) = self.topics.iter().find(fits) else { return };
        let id = match id(filter).map(Name::new) {
            None => None,
            Some(Ok(id)) => Some(id),
            // No command has such an id.
            Some(Err(_)) => return self.counters.add(Event::OrdersRefused, 1),
        };
        // Taking back a retained message is published as an empty one.
        if payload.is_empty() {
            return;
        }
        if inbox.try_send(Order { purpose: *purpose, id, retained, payload }).is_err() {
            self.decided.miss();
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

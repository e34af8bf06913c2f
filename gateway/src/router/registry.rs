//! Who subscribed to what.
//!
//! What it guarantees: subscribers, filters, and the memory that filters take are bounded ([`LiveOptions`]); a filter
//! reaches only messages of its own tenant; which subscribers get a message is found without looking at the others.
//!
//! Subscribers of one tenant with exactly the same filters are an [`Audience`]: a message is matched and listed once for
//! all of them, however many there are, and each of them gets it once, however many of the filters match.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;
use tokio::sync::Notify;
use weir_protocol::Tenant;

use super::LiveOptions;
use super::feed::{Offsets, offsets_now};
use super::lanes::LANES;
use super::mailbox::{Mailbox, Mailboxes};
use crate::mqtt::topic;
use crate::mqtt::tree::FilterTree;
use crate::topics::Topics;

/// Bytes that a level of a filter takes in the tree, at the most.
const LEVEL_BYTES: usize = 256;

/// There are as many filters or subscribers as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The subscribers and their filters.
pub(super) struct Registry {
    topics: Topics,
    options: LiveOptions,
    known: Mutex<Known>,
    /// A subscriber came or went.
    pub(super) changed: Notify,
}

#[derive(Default)]
pub(super) struct Known {
    subscribers: HashMap<u64, Entry>,
    /// How many subscribers each lane has.
    in_lane: [usize; LANES],
    tenants: HashMap<Tenant, FilterTree<Wanted>>,
    filters: usize,
    filter_bytes: usize,
    audiences: HashMap<u64, Audience>,
    by_filters: HashMap<(Tenant, Filters), u64>,
    /// Counts subscribers and audiences: a number is never given twice.
    last: u64,
    start: Start,
}

/// The filters of a subscriber, each once and in order.
type Filters = Box<[Arc<str>]>;

/// Where the first subscriber, after there was none, found each partition: what is committed from there on is for it.
#[derive(Clone, Default)]
pub(super) struct Start {
    /// The number of that subscriber.
    pub(super) by: u64,
    pub(super) offsets: Offsets,
}

/// One subscriber.
struct Entry {
    tenant: Tenant,
    lane: usize,
    mailbox: Arc<Mailbox>,
    audience: Option<u64>,
}

/// A filter that somebody has.
struct Wanted {
    text: Arc<str>,
    audiences: Vec<u64>,
}

/// Subscribers with the same filters.
struct Audience {
    filters: Filters,
    lanes: [Members; LANES],
}

/// Those of an audience that are in one lane.
#[derive(Default)]
struct Members {
    all: Vec<(u64, Arc<Mailbox>)>,
    /// Their mailboxes, made when a turn wants them.
    mailboxes: Option<Mailboxes>,
}

impl Members {
    fn mailboxes(&mut self) -> &Mailboxes {
        self.mailboxes.get_or_insert_with(|| self.all.iter().map(|(_, mailbox)| Arc::clone(mailbox)).collect())
    }
}

impl Registry {
    pub(super) fn new(topics: Topics, options: LiveOptions) -> Self {
        Self { topics, options, known: Mutex::default(), changed: Notify::new() }
    }

    /// Takes a subscriber in: its number, and where its messages come.
    pub(super) fn enter(&self, tenant: Tenant) -> Result<(u64, Arc<Mailbox>), Full> {
        let mut known = self.lock();
        if known.subscribers.len() >= self.options.subscribers {
            return Err(Full);
        }
        known.last += 1;
        let number = known.last;
        if known.subscribers.is_empty() {
            known.start = Start { by: number, offsets: offsets_now(&self.topics) };
        }
        let lane = (0..LANES).min_by_key(|lane| known.in_lane[*lane]).unwrap_or_default();
        known.in_lane[lane] += 1;
        let mailbox = Arc::new(Mailbox::new());
        known.subscribers.insert(number, Entry { tenant, lane, mailbox: Arc::clone(&mailbox), audience: None });
        drop(known);
        self.changed.notify_one();
        Ok((number, mailbox))
    }

    /// Lets everybody begin at the end of the log: where that is, while anybody is there.
    pub(super) fn restart(&self) -> Option<Start> {
        let mut known = self.lock();
        known.start.offsets = offsets_now(&self.topics);
        known.start()
    }

    /// A subscriber goes.
    pub(super) fn leave(&self, number: u64) {
        let mut known = self.lock();
        known.join(number, Box::default());
        if let Some(entry) = known.subscribers.remove(&number) {
            known.in_lane[entry.lane] -= 1;
        }
        drop(known);
        self.changed.notify_one();
    }

    /// Gives a subscriber a filter, which is a valid one.
    pub(super) fn subscribe(&self, number: u64, filter: &str) -> Result<(), Full> {
        let mut known = self.lock();
        let mut filters = known.filters_of(number).ok_or(Full)?;
        let Err(at) = filters.binary_search_by(|known| (**known).cmp(filter)) else { return Ok(()) };
        let text = known.want(number, filter, &self.options)?;
        filters.insert(at, text);
        known.join(number, filters.into());
        Ok(())
    }

    /// Takes a filter from a subscriber; whether it had it.
    pub(super) fn unsubscribe(&self, number: u64, filter: &str) -> bool {
        let mut known = self.lock();
        let Some(mut filters) = known.filters_of(number) else { return false };
        let Ok(at) = filters.binary_search_by(|known| (**known).cmp(filter)) else { return false };
        filters.remove(at);
        known.join(number, filters.into());
        true
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Known> {
        // Nothing in here panics half way through a change.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn filters_of(&self, number: u64) -> Option<Vec<Arc<str>>> {
        let audience = self.subscribers.get(&number)?.audience;
        let audience = audience.and_then(|audience| self.audiences.get(&audience));
        Some(audience.map_or_else(Vec::new, |audience| audience.filters.to_vec()))
    }

    /// The text of a filter that somebody has, or will have in a moment.
    fn want(&mut self, number: u64, filter: &str, options: &LiveOptions) -> Result<Arc<str>, Full> {
        let tenant = self.subscribers.get(&number).ok_or(Full)?.tenant;
        let cost = cost(filter);
        let tree = self.tenants.entry(tenant).or_insert_with(|| FilterTree::new(options.filters));
        if let Some(wanted) = tree.get(filter) {
            return Ok(Arc::clone(&wanted.text));
        }
        let has_room = self.filters < options.filters && self.filter_bytes + cost <= options.filter_bytes;
        let made = || Wanted { text: filter.into(), audiences: Vec::new() };
        let wanted = if has_room { tree.get_or_insert_with(filter, made).ok() } else { None };
        match wanted {
            Some(wanted) => {
                self.filters += 1;
                self.filter_bytes += cost;
                Ok(Arc::clone(&wanted.text))
            }
            None => {
                if tree.is_empty() {
                    self.tenants.remove(&tenant);
                }
                Err(Full)
            }
        }
    }

    /// Moves a subscriber to those with these filters, from those it was among.
    fn join(&mut self, number: u64, filters: Filters) {
        let Some(entry) = self.subscribers.get_mut(&number) else { return };
        let (tenant, lane, mailbox, left) =
            (entry.tenant, entry.lane, Arc::clone(&entry.mailbox), entry.audience.take());
        if !filters.is_empty() {
            let audience = self.audience(tenant, filters);
            if let Some(joined) = self.audiences.get_mut(&audience) {
                let members = &mut joined.lanes[lane];
                members.all.push((number, mailbox));
                members.mailboxes = None;
            }
            if let Some(entry) = self.subscribers.get_mut(&number) {
                entry.audience = Some(audience);
            }
        }
        // Behind it, so that a filter that is kept is never without anybody.
        if let Some(audience) = left {
            self.depart(audience, tenant, lane, number);
        }
    }

    /// The audience of these filters, a new one if there is none.
    fn audience(&mut self, tenant: Tenant, filters: Filters) -> u64 {
        if let Some(audience) = self.by_filters.get(&(tenant, filters.clone())) {
            return *audience;
        }
        self.last += 1;
        let audience = self.last;
        if let Some(tree) = self.tenants.get_mut(&tenant) {
            for filter in &filters {
                if let Some(wanted) = tree.get_mut(filter) {
                    wanted.audiences.push(audience);
                }
            }
        }
        self.by_filters.insert((tenant, filters.clone()), audience);
        self.audiences.insert(audience, Audience { filters, lanes: Default::default() });
        audience
    }

    fn depart(&mut self, audience: u64, tenant: Tenant, lane: usize, number: u64) {
        let Some(left) = self.audiences.get_mut(&audience) else { return };
        let members = &mut left.lanes[lane];
        members.all.retain(|(member, _)| *member != number);
        members.mailboxes = None;
        if left.lanes.iter().any(|members| !members.all.is_empty()) {
            return;
        }
        let Some(Audience { filters, .. }) = self.audiences.remove(&audience) else { return };
        let Some(tree) = self.tenants.get_mut(&tenant) else { return };
        for filter in &filters {
            let Some(wanted) = tree.get_mut(filter) else { continue };
            wanted.audiences.retain(|wants| *wants != audience);
            if wanted.audiences.is_empty() {
                tree.remove(filter);
                self.filters -= 1;
                self.filter_bytes -= cost(filter);
            }
        }
        if tree.is_empty() {
            self.tenants.remove(&tenant);
        }
        self.by_filters.remove(&(tenant, filters));
    }

    /// Calls `found` with each audience that wants a message of `tenant` on `topic`; with one of several filters, as
    /// often as they match.
    pub(super) fn interested(&self, tenant: Tenant, topic: &str, mut found: impl FnMut(u64)) {
        if let Some(tree) = self.tenants.get(&tenant) {
            tree.matching(topic, |wanted| wanted.audiences.iter().for_each(|audience| found(*audience)));
        }
    }

    /// Calls `found` with each lane of an audience that has anybody in it.
    pub(super) fn mailboxes(&mut self, audience: u64, mut found: impl FnMut(usize, &Mailboxes)) {
        let Some(audience) = self.audiences.get_mut(&audience) else { return };
        for (lane, members) in audience.lanes.iter_mut().enumerate().filter(|(_, members)| !members.all.is_empty()) {
            found(lane, members.mailboxes());
        }
    }

    /// Everybody in one lane.
    pub(super) fn everybody(&self, lane: usize) -> Mailboxes {
        let in_lane = self.subscribers.values().filter(|entry| entry.lane == lane);
        in_lane.map(|entry| Arc::clone(&entry.mailbox)).collect()
    }

    /// Where feeding starts, while anybody is there.
    pub(super) fn start(&self) -> Option<Start> {
        (!self.subscribers.is_empty()).then(|| self.start.clone())
    }

    /// How many subscribers and filters there are.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.subscribers.len(), self.filters)
    }
}

/// Bytes that a filter takes, at the most.
fn cost(filter: &str) -> usize {
    2 * filter.len() + topic::levels(filter) * LEVEL_BYTES
}

//! Who subscribed to what: the list from which every life of the router is made again.
//!
//! What it guarantees: at most [`MAX_FILTERS`] different filters and [`MAX_SUBSCRIBERS`] subscribers at a time; a
//! filter keeps its slot for as long as somebody has it, and slots and numbers of subscribers are used again. The
//! router, whose own tables only grow, so never sees more names than these.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rumqttc::mqttbytes::matches;
use tokio::sync::{Notify, mpsc};

use super::Message;
use crate::topics::{Topic, Topics};

/// The most different filters of all subscribers together.
pub const MAX_FILTERS: usize = 128;
/// The most subscribers at a time.
pub const MAX_SUBSCRIBERS: usize = 256;
/// Messages that wait between the router and one subscriber's connection.
pub(crate) const QUEUE: usize = 64;
/// The largest message, topic and payload, in bytes; a reading with more text than that is not served live.
pub(crate) const MAX_MESSAGE: usize = 4096;

/// The place of a filter among those in use.
pub type Slot = u8;
/// A set of slots, one bit each.
pub(super) type Slots = u128;

const _: () = assert!(MAX_FILTERS <= Slots::BITS as usize);

/// There are as many filters or subscribers as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The subscribers and their filters.
pub(super) struct Registry {
    topics: Topics,
    known: Mutex<Known>,
    /// Somebody subscribed, unsubscribed, came or went.
    pub(super) changed: Notify,
}

#[derive(Default)]
pub(super) struct Known {
    filters: Vec<Option<Filter>>,
    subscribers: BTreeMap<usize, Entry>,
    /// Counts subscribers, so that one who comes is not taken for one who had its number before.
    serial: u64,
    /// Counts changes of the filters.
    pub(super) version: u64,
    start: Start,
}

/// Where the first subscriber, after there was none, found each partition of the readings: what is committed from
/// there on is for it.
#[derive(Clone, Default)]
pub(super) struct Start {
    /// The serial of that subscriber.
    pub(super) by: u64,
    pub(super) offsets: Vec<u64>,
}

struct Filter {
    text: String,
    subscribers: usize,
}

/// One subscriber.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) serial: u64,
    pub(super) slots: Slots,
    pub(super) queue: mpsc::Sender<Message>,
}

impl Registry {
    pub(super) fn new(topics: Topics) -> Self {
        Self { topics, known: Mutex::default(), changed: Notify::new() }
    }

    /// Takes a subscriber in: its number, and where its messages come.
    pub(super) fn enter(&self) -> Result<(usize, mpsc::Receiver<Message>), Full> {
        let mut known = self.lock();
        let number = (0..MAX_SUBSCRIBERS).find(|number| !known.subscribers.contains_key(number)).ok_or(Full)?;
        let (queue, messages) = mpsc::channel(QUEUE);
        known.serial += 1;
        let entry = Entry { serial: known.serial, slots: 0, queue };
        if known.subscribers.is_empty() {
            known.start = self.start_now(known.serial);
        }
        known.subscribers.insert(number, entry);
        drop(known);
        self.changed.notify_one();
        Ok((number, messages))
    }

    /// Lets everybody begin at the end of the log.
    pub(super) fn restart(&self) {
        let mut known = self.lock();
        known.start = self.start_now(known.start.by);
    }

    fn start_now(&self, by: u64) -> Start {
        let partitions = self.topics.readings().flat_map(Topic::partitions);
        Start { by, offsets: partitions.map(|partition| partition.reader().end_offset()).collect() }
    }

    /// A subscriber goes.
    pub(super) fn leave(&self, number: usize) {
        let mut known = self.lock();
        if let Some(entry) = known.subscribers.remove(&number) {
            known.release(entry.slots);
        }
        drop(known);
        self.changed.notify_one();
    }

    /// Gives a subscriber a filter; the slot that its messages carry.
    pub(super) fn subscribe(&self, number: usize, filter: &str) -> Result<Slot, Full> {
        let mut known = self.lock();
        let known = &mut *known;
        if !known.subscribers.contains_key(&number) {
            return Err(Full);
        }
        let slot = known.slot_of(filter)?;
        if let (Some(entry), Some(Some(filter))) =
            (known.subscribers.get_mut(&number), known.filters.get_mut(usize::from(slot)))
            && entry.slots & bit(slot) == 0
        {
            entry.slots |= bit(slot);
            filter.subscribers += 1;
            known.version += 1;
        }
        self.changed.notify_one();
        Ok(slot)
    }

    /// Takes a filter from a subscriber.
    pub(super) fn unsubscribe(&self, number: usize, slot: Slot) {
        let mut known = self.lock();
        if let Some(entry) = known.subscribers.get_mut(&number)
            && entry.slots & bit(slot) != 0
        {
            entry.slots &= !bit(slot);
            known.release(bit(slot));
        }
        drop(known);
        self.changed.notify_one();
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Known> {
        // Nothing in here panics half way through a change.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// The slot of a filter, a new one if nobody has it.
    fn slot_of(&mut self, filter: &str) -> Result<Slot, Full> {
        let same = |known: &Option<Filter>| known.as_ref().is_some_and(|known| known.text == filter);
        if let Some(slot) = self.filters.iter().position(same) {
            return Ok(slot as Slot);
        }
        let slot = self.filters.iter().position(Option::is_none).unwrap_or(self.filters.len());
        if slot == MAX_FILTERS {
            return Err(Full);
        }
        let new = Some(Filter { text: filter.to_owned(), subscribers: 0 });
        match self.filters.get_mut(slot) {
            Some(free) => *free = new,
            None => self.filters.push(new),
        }
        Ok(slot as Slot)
    }

    /// One subscriber less for each of `slots`.
    fn release(&mut self, slots: Slots) {
        self.version += 1;
        for (slot, filter) in self.filters.iter_mut().enumerate() {
            if slots & bit(slot as Slot) != 0
                && let Some(known) = filter
            {
                known.subscribers -= 1;
                if known.subscribers == 0 {
                    *filter = None;
                }
            }
        }
    }

    /// The slots whose filter matches a topic.
    pub(super) fn interested(&self, topic: &str) -> Slots {
        let matching = |filter: &Option<Filter>| filter.as_ref().is_some_and(|filter| matches(topic, &filter.text));
        let slots = self.filters.iter().enumerate().filter(|(_, filter)| matching(filter));
        slots.map(|(slot, _)| bit(slot as Slot)).fold(0, |all, slot| all | slot)
    }

    /// Every subscriber, by its number.
    pub(super) fn subscribers(&self) -> BTreeMap<usize, Entry> {
        self.subscribers.clone()
    }

    /// Where feeding starts, while anybody is there.
    pub(super) fn start(&self) -> Option<Start> {
        (!self.subscribers.is_empty()).then(|| self.start.clone())
    }

    /// How many subscribers and filters there are.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.subscribers.len(), self.filters.iter().flatten().count())
    }
}

/// The set that holds one slot.
pub(super) const fn bit(slot: Slot) -> Slots {
    1 << slot
}

/// The slots of a set, ascending.
pub(super) fn each(slots: Slots) -> impl Iterator<Item = Slot> {
    (0..MAX_FILTERS as Slot).filter(move |slot| slots & bit(*slot) != 0)
}

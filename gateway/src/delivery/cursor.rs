//! Where one durable session is in the log, and what comes next for it.
//!
//! What it guarantees: the messages of one partition come in its order, none twice and none left out between where the
//! cursor began and where it is; memory for one read and the messages that it found.
//!
//! It reads up to where the log ended when it looked, then listens to the router. The router tells of every gap, and begins
//! with one: then the cursor looks again. So what is committed before the look is read, what is committed behind it is
//! heard, and what is both is known by its offset.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use futures_util::future::select_all;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::JoinHandle;
use weir_protocol::Tenant;

use super::reads::{Found, Wanted};
use super::shared::{AHEAD, Delivery};
use super::{Budget, Message, Place, Positions};
use crate::router::{Delivered, Reached, Subscriber};
use crate::topics::{Topic, TopicId};

/// The place of one durable session in every partition that its filters can touch.
pub struct Cursor {
    delivery: Delivery,
    wanted: Wanted,
    followed: Vec<Followed>,
    /// The partition that is looked at first, the next time.
    turn: usize,
    reading: Option<Reading>,
    ready: VecDeque<Message>,
    /// Room for what is ready.
    room: Option<OwnedSemaphorePermit>,
    /// What is committed, as it comes; listened to while nothing is unread.
    live: Option<Subscriber>,
}

/// One partition.
struct Followed {
    topic: TopicId,
    partition: u32,
    /// The next offset.
    next: u64,
    /// Where the log ended when it was looked at: the router tells what is behind it.
    end: u64,
    exposed: watch::Receiver<u64>,
}

/// A read that goes on.
struct Reading {
    from: Place,
    found: JoinHandle<Found>,
    room: Option<OwnedSemaphorePermit>,
}

impl Cursor {
    /// A cursor that follows nothing yet.
    pub fn new(delivery: Delivery, tenant: Tenant) -> Self {
        // Without a place in the router it waits for the log itself.
        let live = delivery.live().subscriber(tenant).ok();
        let wanted = Wanted { tenant, filters: Arc::default() };
        let (followed, ready) = (Vec::new(), VecDeque::new());
        Self { delivery, wanted, followed, turn: 0, reading: None, ready, room: None, live }
    }

    /// Follows what `filters` can touch. A partition begins where `begin` says, else at its first offset: what is in it
    /// came after the session was made.
    pub fn resume(&mut self, filters: impl IntoIterator<Item = Box<str>>, begin: &Positions) {
        self.wanted.filters = filters.into_iter().collect();
        for filter in self.wanted.filters.clone().iter() {
            self.listen(filter);
        }
        let topics = self.delivery.topics().clone();
        // What other settings led there is still to be read.
        let begun =
            begin.iter().filter_map(|position| topics.named(&position.topic)).filter(|topic| Message::are_in(topic));
        self.follow(begun.map(Topic::id), |topic, partition, _| begin.get(topic, partition).unwrap_or(0));
    }

    /// Follows what `filters` can touch, of which `filter` is new: it begins where the log ends now. Where that is, in
    /// the partitions that are read from further back.
    pub fn subscribe(&mut self, filters: impl IntoIterator<Item = Box<str>>, filter: &str) -> Positions {
        self.wanted.filters = filters.into_iter().collect();
        // Before the ends are looked up: what is committed behind them is heard.
        self.listen(filter);
        let known: Vec<_> = self.followed.iter().map(|followed| followed.topic).collect();
        self.follow(known, |_, _, end| end);
        let mut since = Positions::default();
        for topic in self.delivery.reached(self.wanted.tenant, filter) {
            let name = Arc::from(topic.name());
            for followed in self.followed.iter().filter(|followed| followed.topic == topic.id()) {
                let end = *followed.exposed.borrow();
                if followed.first_unsent(&self.ready) < end {
                    since.set(&name, followed.partition, end);
                }
            }
        }
        since
    }

    /// Follows what `filters` can touch, of which `filter` is none any more.
    pub fn unsubscribe(&mut self, filters: impl IntoIterator<Item = Box<str>>, filter: &str) {
        self.wanted.filters = filters.into_iter().collect();
        if let Some(live) = &self.live {
            live.unsubscribe(filter);
        }
        self.follow([], |_, _, end| end);
    }

    fn listen(&mut self, filter: &str) {
        if self.live.as_ref().is_some_and(|live| live.subscribe(filter).is_err()) {
            self.live = None;
        }
    }

    fn follow(&mut self, more: impl IntoIterator<Item = TopicId>, begin: impl Fn(&str, u32, u64) -> u64) {
        let mut followed = Vec::new();
        let tenant = self.wanted.tenant;
        let reached =
            self.wanted.filters.iter().flat_map(|filter| self.delivery.reached(tenant, filter).map(Topic::id));
        let reached: BTreeSet<TopicId> = reached.chain(more).collect();
        for topic in reached.into_iter().map(|id| self.delivery.topics().get(id)) {
            for (partition, number) in topic.partitions().iter().zip(0..) {
                let known =
                    self.followed.iter().position(|known| (known.topic, known.partition) == (topic.id(), number));
                followed.push(match known {
                    Some(known) => self.followed.swap_remove(known),
                    None => {
                        let exposed = partition.exposed();
                        let end = *exposed.borrow();
                        // A log that is shorter than it was is another one.
                        let next = begin(topic.name(), number, end).min(end);
                        Followed { topic: topic.id(), partition: number, next, end, exposed }
                    }
                });
            }
        }
        self.followed = followed;
    }

    /// The next message, of those that the read finds within `budget`. May be dropped at any time without losing one.
    pub async fn next(&mut self, budget: Budget) -> Arc<Message> {
        loop {
            if let Some(message) = self.try_next() {
                return message;
            }
            if let Some(reading) = &mut self.reading {
                let found = (&mut reading.found).await;
                if let Some(Reading { from, room, .. }) = self.reading.take()
                    && let Ok(found) = found
                {
                    self.take(from, found, room);
                }
            } else if self.is_behind() {
                self.read(budget);
            } else if let Some(live) = &mut self.live {
                let delivered = live.next().await;
                if let Some(message) = self.hear(delivered) {
                    return message;
                }
            } else {
                self.grown().await;
                self.look();
            }
        }
    }

    /// The next message if it is there already.
    pub fn try_next(&mut self) -> Option<Arc<Message>> {
        if let Some(message) = self.ready.pop_front() {
            if self.ready.is_empty() {
                self.room = None;
                self.ready = VecDeque::new();
            }
            return Some(message.into());
        }
        while self.reading.is_none() && !self.is_behind() {
            let delivered = self.live.as_mut()?.try_next()?;
            if let Some(message) = self.hear(delivered) {
                return Some(message);
            }
        }
        None
    }

    /// What the router says while nothing is unread: a message, or that the log is to be looked at.
    fn hear(&mut self, delivered: Delivered) -> Option<Arc<Message>> {
        let Delivered::Message(message) = delivered else {
            self.look();
            return None;
        };
        let Place { topic, partition, offset } = message.place;
        let is_this = |followed: &&mut Followed| (followed.topic, followed.partition) == (topic, partition);
        let followed = self.followed.iter_mut().find(is_this).filter(|followed| followed.next <= offset)?;
        followed.next = offset + 1;
        followed.end = followed.end.max(followed.next);
        Some(message)
    }

    /// Where the session is if `unacknowledged` is all that it got and has not acknowledged: what is before these
    /// positions is done.
    pub fn positions(&mut self, unacknowledged: impl Iterator<Item = Place> + Clone) -> Positions {
        self.pass_what_was_not_for_it();
        let mut positions = self.next_positions();
        for followed in &self.followed {
            let of_this = |place: &Place| (place.topic, place.partition) == (followed.topic, followed.partition);
            let first = unacknowledged.clone().filter(of_this).map(|place| place.offset).min();
            if let Some(first) = first.filter(|first| *first < followed.first_unsent(&self.ready)) {
                positions.set(&self.delivery.topics().get(followed.topic).name().into(), followed.partition, first);
            }
        }
        positions
    }

    /// Behind what was sent, in each partition.
    pub fn next_positions(&self) -> Positions {
        let mut positions = Positions::default();
        for followed in &self.followed {
            let name = self.delivery.topics().get(followed.topic).name().into();
            positions.set(&name, followed.partition, followed.first_unsent(&self.ready));
        }
        positions
    }

    /// Bytes that it holds.
    pub fn held(&self) -> usize {
        let ready: usize = self.ready.iter().map(|message| size_of::<Message>() + message.bytes()).sum();
        ready + self.followed.capacity() * size_of::<Followed>()
    }

    /// Whether something is unread, as far as was looked.
    fn is_behind(&self) -> bool {
        self.followed.iter().any(|followed| followed.next < followed.end)
    }

    /// Looks where the log ends: as far as it is read before the router is listened to.
    fn look(&mut self) {
        for followed in &mut self.followed {
            // What is exposed from here on wakes [`Cursor::grown`].
            followed.end = *followed.exposed.borrow_and_update();
        }
    }

    /// Moves on over what the router found to be for others.
    fn pass_what_was_not_for_it(&mut self) {
        if !self.ready.is_empty() || self.reading.is_some() || self.is_behind() {
            return;
        }
        let Some(reached) = self.live.as_ref().and_then(Subscriber::reached) else { return };
        for Reached { topic, partition, next } in reached.iter() {
            let is_this = |followed: &&mut Followed| (followed.topic, followed.partition) == (*topic, *partition);
            if let Some(followed) = self.followed.iter_mut().find(is_this) {
                followed.next = followed.next.max(*next);
                followed.end = followed.end.max(followed.next);
            }
        }
    }

    /// Begins a read of the next partition that has something.
    fn read(&mut self, budget: Budget) {
        let count = self.followed.len().max(1);
        let behind = (0..count)
            .map(|step| (self.turn + step) % count)
            .find(|at| self.followed.get(*at).is_some_and(|followed| followed.next < followed.end));
        let Some(at) = behind else { return };
        self.turn = at + 1;
        let Followed { topic, partition, next, end, .. } = self.followed[at];
        let from = Place { topic, partition, offset: next };
        let room = self.delivery.room();
        // One message always has room, or those who do not take theirs would stop the others.
        let messages = if room.is_some() { budget.messages } else { 1 };
        let budget = Budget { messages, bytes: budget.bytes.min(AHEAD) };
        let found = self.delivery.read(from, end, self.wanted.clone(), budget);
        self.reading = Some(Reading { from, found, room });
    }

    fn take(&mut self, from: Place, found: Found, room: Option<OwnedSemaphorePermit>) {
        let is_this = |followed: &&mut Followed| {
            (followed.topic, followed.partition, followed.next) == (from.topic, from.partition, from.offset)
        };
        // A partition that was given up meanwhile, or begun anew, has no use for it.
        let Some(followed) = self.followed.iter_mut().find(is_this) else { return };
        followed.next = found.next;
        self.delivery.passed(from, found.removed, found.damaged);
        self.ready.extend(found.messages);
        self.room = room.filter(|_| !self.ready.is_empty());
    }

    /// Resolves when the log grew since the last look.
    async fn grown(&mut self) {
        if self.followed.is_empty() {
            return std::future::pending().await;
        }
        // The sender of a partition lives as long as the topics.
        let _ = select_all(self.followed.iter_mut().map(|followed| Box::pin(followed.exposed.changed()))).await;
    }
}

impl Followed {
    /// The offset behind what was sent; `ready` waits to be.
    fn first_unsent(&self, ready: &VecDeque<Message>) -> u64 {
        let of_this =
            |message: &&Message| (message.place.topic, message.place.partition) == (self.topic, self.partition);
        ready.iter().find(of_this).map_or(self.next, |message| message.place.offset)
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        if let Some(reading) = &self.reading {
            reading.found.abort();
        }
    }
}

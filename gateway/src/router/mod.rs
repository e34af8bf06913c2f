//! Live subscriptions: committed messages over MQTT, as they come.
//!
//! What it guarantees:
//! - only what is committed and exposed is published; what is committed after a subscription was made reaches its
//!   subscriber, or the subscriber is told of a gap ([`Delivered::Gap`]); what is stored does not depend on any of it;
//! - ingest never waits for anything here: messages are read from the log as any consumer reads them, and nothing
//!   is read while nobody subscribes;
//! - a slow subscriber loses the oldest of what waits for it, counted, and slows nobody;
//! - memory is bounded ([`LiveOptions`]): subscribers, filters and what these take, and the bytes of all messages that
//!   anybody may still take, which all subscribers share; beside that some 4 KiB for a subscriber that takes nothing,
//!   and half a megabyte of the router's own;
//! - the router may panic or hang: it is replaced, and what was on its way goes through the next one.
//!
//! The router is rumqttd's, in this process and without a listener: no byte of a client reaches it. Its tables of
//! filters and topics never shrink, it keeps no order between filters, and a link takes 100 kB: so it carries numbers of
//! turns through a few lanes ([`lanes`]), and who gets which message of a turn is decided here ([`feed`], [`registry`]).
//!
//! ```text
//! topics (committed) -> feed -> turn: kept ------------------------------+
//!                        ^       | number -> core: rumqttd -> lanes -> mailboxes -> Subscriber (front)
//!                    registry ---+             keeper starts it, asks for a sign of life, starts it again
//! ```
//!
//! Topics and payloads: [`crate::delivery::Message`], [`weir_protocol::mqtt`].

mod core;
mod feed;
mod keeper;
mod lanes;
mod mailbox;
pub mod registry;
mod turn;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use weir_protocol::Tenant;

use crate::delivery::Message;
use crate::topics::{TopicId, Topics};
use lanes::Progress;
use mailbox::{Mail, Mailbox, Part};
use registry::{Full, Registry};
use turn::Kept;

/// The bounds of live subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveOptions {
    /// The most subscribers at a time.
    pub subscribers: usize,
    /// The most different filters of all subscribers together.
    pub filters: usize,
    /// What these filters may take, in bytes.
    pub filter_bytes: usize,
    /// What messages may take that some subscriber has not taken yet, in bytes.
    pub buffer: usize,
}

impl Default for LiveOptions {
    fn default() -> Self {
        Self { subscribers: 10_000, filters: 100_000, filter_bytes: 64 << 20, buffer: 64 << 20 }
    }
}

/// The live subscriptions; cheap to clone.
#[derive(Clone)]
pub struct Live(Arc<Shared>);

struct Shared {
    registry: Registry,
    topics: Topics,
    kept: Kept,
    progress: Progress,
    reached: Mutex<Option<Arc<[Reached]>>>,
    counters: Counters,
    /// Makes the router panic: what rumqttd does by itself now and then, at a moment of the test's choice.
    #[cfg(any(test, feature = "plant"))]
    panic: AtomicBool,
}

/// What is counted. All but `up` since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Messages that connections took.
    pub(crate) delivered: AtomicU64,
    /// Messages lost because their subscriber was slow or takes only smaller packets.
    pub(crate) dropped: AtomicU64,
    /// Records that nobody got because the router was behind.
    pub(crate) skipped: AtomicU64,
    /// Times the router was replaced.
    pub(crate) restarts: AtomicU64,
    /// Whether a router runs.
    pub(crate) up: AtomicBool,
}

/// The counters and gauges at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiveStats {
    /// Subscribers now.
    pub subscribers: u64,
    /// Different filters now.
    pub filters: u64,
    /// Messages that connections took.
    pub delivered: u64,
    /// Messages lost because their subscriber was slow or takes only smaller packets.
    pub dropped: u64,
    /// Records that nobody got because the router was behind.
    pub skipped: u64,
    /// Times the router was replaced after a failure.
    pub restarts: u64,
    /// Whether a router runs; it starts with the first subscriber.
    pub up: bool,
}

impl Live {
    /// Subscriptions to the messages in `topics`. They are served while [`Live::run`] runs.
    pub fn new(topics: Topics, options: LiveOptions) -> Self {
        Self(Arc::new(Shared {
            registry: Registry::new(topics.clone(), options),
            topics,
            kept: Kept::new(options.buffer),
            progress: Progress::default(),
            reached: Mutex::default(),
            counters: Counters::default(),
            #[cfg(any(test, feature = "plant"))]
            panic: AtomicBool::new(false),
        }))
    }

    /// Keeps a router running while there are subscribers, until `stop` turns true.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            () = keeper::keep(&self.0) => (),
            _ = stop.wait_for(|stop| *stop) => (),
        }
    }

    /// A new subscriber of `tenant`, without a filter yet.
    ///
    /// # Errors
    /// [`Full`] when there are [`LiveOptions::subscribers`].
    pub fn subscriber(&self, tenant: Tenant) -> Result<Subscriber, Full> {
        let (number, mailbox) = self.0.registry.enter(tenant)?;
        Ok(Subscriber { shared: Arc::clone(&self.0), number, mailbox, open: None, lost: false })
    }

    /// What happened so far.
    pub fn stats(&self) -> LiveStats {
        let (subscribers, filters) = self.0.registry.lock().counts();
        let counters = &self.0.counters;
        LiveStats {
            subscribers: subscribers as u64,
            filters: filters as u64,
            delivered: counters.delivered.load(Relaxed),
            dropped: counters.dropped.load(Relaxed),
            skipped: counters.skipped.load(Relaxed),
            restarts: counters.restarts.load(Relaxed),
            up: counters.up.load(Relaxed),
        }
    }

    /// Makes the router panic.
    #[cfg(any(test, feature = "plant"))]
    pub fn plant_panic(&self) {
        self.0.panic.store(true, Relaxed);
        self.0.registry.changed.notify_one();
    }
}

impl Shared {
    /// Tells everybody in a lane that something is missing.
    fn gap(&self, lane: usize) {
        let everybody = self.registry.lock().everybody(lane);
        let lost: u64 = everybody.iter().map(|mailbox| mailbox.push_gap()).sum();
        self.counters.dropped.fetch_add(lost, Relaxed);
    }

    fn set_reached(&self, reached: Option<Arc<[Reached]>>) {
        *self.reached.lock().unwrap_or_else(PoisonError::into_inner) = reached;
    }
}

/// What a subscriber gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// A message that one of its filters matches, once, however many do. Offsets of a partition only grow. To be
    /// written or dropped at once: what is held beyond that is in no budget of the router.
    Message(Arc<Message>),
    /// Messages may be missing here. Every subscriber begins with one; whatever is committed behind it comes, or is
    /// behind another one.
    Gap,
}

/// How far one partition was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The topic.
    pub topic: TopicId,
    /// The number of the partition.
    pub partition: u32,
    /// The next offset.
    pub next: u64,
}

/// The subscriptions of one connection; dropping it ends them.
pub struct Subscriber {
    shared: Arc<Shared>,
    number: u64,
    mailbox: Arc<Mailbox>,
    /// What is left of the part that messages are taken from.
    open: Option<Part>,
    /// A part could not be opened any more, and nobody was told.
    lost: bool,
}

impl Subscriber {
    /// Subscribes to a filter, which is valid, not shared, and that this client may have.
    ///
    /// # Errors
    /// [`Full`] when there is no room for one more ([`LiveOptions`]).
    pub fn subscribe(&self, filter: &str) -> Result<(), Full> {
        self.shared.registry.subscribe(self.number, filter)
    }

    /// Ends one subscription; whether there was one. Messages of it that are on their way may still come.
    pub fn unsubscribe(&self, filter: &str) -> bool {
        self.shared.registry.unsubscribe(self.number, filter)
    }

    /// The next message or gap. May be dropped at any time without losing one.
    pub async fn next(&mut self) -> Delivered {
        loop {
            if let Some(delivered) = self.try_next() {
                return delivered;
            }
            self.mailbox.came.notified().await;
        }
    }

    /// The next message or gap if it is there already.
    pub fn try_next(&mut self) -> Option<Delivered> {
        loop {
            if let Some(part) = &mut self.open {
                if let Some(turn) = part.turn.upgrade() {
                    // Nothing of what was found missing comes behind what is here.
                    if std::mem::take(&mut self.lost) {
                        return Some(Delivered::Gap);
                    }
                    while part.count > 0 {
                        let message = turn.message(part.from);
                        part.from += 1;
                        part.count -= 1;
                        if let Some(message) = message {
                            return Some(Delivered::Message(Arc::clone(message)));
                        }
                    }
                } else {
                    self.lost |= part.count > 0;
                    self.shared.counters.dropped.fetch_add(u64::from(part.count), Relaxed);
                }
                self.open = None;
            }
            match self.mailbox.take() {
                Some(Mail::Part(part)) => {
                    self.shared.counters.delivered.fetch_add(u64::from(part.count), Relaxed);
                    self.open = Some(part);
                }
                Some(Mail::Gap) => {
                    self.lost = false;
                    return Some(Delivered::Gap);
                }
                None => return std::mem::take(&mut self.lost).then_some(Delivered::Gap),
            }
        }
    }

    /// How far the log was read, if nothing waits for this subscriber: every message below that it was to get it has
    /// got, or a gap behind it. `None` if something waits, or nothing was read yet.
    pub fn reached(&self) -> Option<Arc<[Reached]>> {
        // Looked at first: what was handed out before it is in the mailbox by now, or taken.
        let reached = self.shared.reached.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let is_idle = self.open.as_ref().is_none_or(|part| part.count == 0) && !self.lost && self.mailbox.is_empty();
        is_idle.then_some(reached)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.shared.registry.leave(self.number);
    }
}

#[cfg(test)]
mod tests;

//! Live subscriptions: committed readings over MQTT, as they come.
//!
//! What it guarantees:
//! - only what is committed and exposed is published, and what is committed after a SUBACK reaches its subscriber
//!   unless the subscriber is too slow or the router fails; what is stored does not depend on any of it;
//! - ingest never waits for anything here: readings are read from the log as any consumer reads them, and nothing
//!   is read while nobody subscribes;
//! - a slow subscriber loses the oldest of what waits for it, counted, and slows nobody;
//! - memory is bounded: [`registry::MAX_FILTERS`] logs of 512 KiB of messages each, which is 64 MiB,
//!   [`registry::MAX_SUBSCRIBERS`] links of some 300 messages, and [`registry::QUEUE`] messages behind each;
//! - the router may panic or hang: it is replaced, and every subscription is made again from our own list.
//!
//! The router is rumqttd's, in this process and without a listener: no byte of a client reaches it. It knows a
//! filter by the number of its slot, not by its text, because its tables of filters and topics never shrink; which
//! topic goes to which slot is decided here ([`feed`]), and the real topic travels in front of the payload.
//!
//! ```text
//! topics (committed) -> feed -> core: rumqttd Router -> a link for each subscriber -> pump -> Subscriber (front)
//!                        ^        |  keeper starts it, asks for an echo, starts it again
//!                    registry ----+
//! ```
//!
//! Topics and payloads: [`weir_protocol::mqtt`].

mod core;
mod feed;
pub mod filter;
mod keeper;
mod pump;
pub mod registry;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use bytes::{Buf, Bytes};
use tokio::sync::{mpsc, watch};

use crate::topics::Topics;
use registry::{Full, Registry, Slot};

/// The live subscriptions; cheap to clone.
#[derive(Clone)]
pub struct Live(Arc<Shared>);

struct Shared {
    registry: Registry,
    topics: Topics,
    counters: Counters,
    /// Makes the router panic: what rumqttd does by itself now and then, at a moment of the test's choice.
    #[cfg(any(test, feature = "plant"))]
    panic: AtomicBool,
}

/// What is counted. All but `up` since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Messages handed to connections.
    pub(crate) delivered: AtomicU64,
    /// Messages lost because their subscriber was slow or takes only smaller packets.
    pub(crate) dropped: AtomicU64,
    /// Readings that nobody got because the router was behind.
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
    /// Messages handed to connections.
    pub delivered: u64,
    /// Messages lost because their subscriber was slow or takes only smaller packets.
    pub dropped: u64,
    /// Readings that nobody got because the router was behind.
    pub skipped: u64,
    /// Times the router was replaced after a failure.
    pub restarts: u64,
    /// Whether a router runs; it starts with the first subscriber.
    pub up: bool,
}

impl Live {
    /// Subscriptions to the readings in `topics`. They are served while [`Live::run`] runs.
    pub fn new(topics: Topics) -> Self {
        Self(Arc::new(Shared {
            registry: Registry::new(topics.clone()),
            topics,
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

    /// A new subscriber, without a filter yet.
    ///
    /// # Errors
    /// [`Full`] when there are [`registry::MAX_SUBSCRIBERS`].
    pub fn subscriber(&self) -> Result<Subscriber, Full> {
        let (number, messages) = self.0.registry.enter()?;
        Ok(Subscriber { shared: Arc::clone(&self.0), number, messages })
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

/// The subscriptions of one connection; dropping it ends them.
pub struct Subscriber {
    shared: Arc<Shared>,
    number: usize,
    messages: mpsc::Receiver<Message>,
}

impl Subscriber {
    /// Subscribes to a filter that [`filter::check`] let pass; its messages carry the slot.
    ///
    /// # Errors
    /// [`Full`] when there are [`registry::MAX_FILTERS`] different filters.
    pub fn subscribe(&self, filter: &str) -> Result<Slot, Full> {
        self.shared.registry.subscribe(self.number, filter)
    }

    /// Ends one subscription; a message of it that is on its way may still come.
    pub fn unsubscribe(&self, slot: Slot) {
        self.shared.registry.unsubscribe(self.number, slot);
    }

    /// The next message. May be dropped at any time without losing one.
    pub async fn next(&mut self) -> Message {
        match self.messages.recv().await {
            Some(message) => message,
            // The registry has the other end for as long as this one exists.
            None => std::future::pending().await,
        }
    }

    /// The next message if it is there already.
    pub fn try_next(&mut self) -> Option<Message> {
        self.messages.try_recv().ok()
    }

    /// Bytes that wait at most.
    pub(crate) fn held(&self) -> usize {
        self.messages.len() * registry::MAX_MESSAGE
    }

    /// Counts a message that the client does not take because of its size.
    pub(crate) fn too_large(&self) {
        self.shared.counters.dropped.fetch_add(1, Relaxed);
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.shared.registry.leave(self.number);
    }
}

/// One reading on its way to one subscriber.
#[derive(Clone, Debug)]
pub struct Message {
    /// The slot of the filter that it came by.
    pub slot: Slot,
    /// Its topic with two bytes of length in front, then its payload.
    bytes: Bytes,
}

impl Message {
    /// Puts topic and payload together; a topic has far less than 64 KiB.
    fn pack(topic: &str, payload: &str) -> Bytes {
        let mut bytes = Vec::with_capacity(2 + topic.len() + payload.len());
        bytes.extend_from_slice(&(topic.len() as u16).to_be_bytes());
        bytes.extend_from_slice(topic.as_bytes());
        bytes.extend_from_slice(payload.as_bytes());
        bytes.into()
    }

    /// Topic and payload.
    pub fn parts(&self) -> (&str, &[u8]) {
        let mut rest = &self.bytes[..];
        let length = rest.try_get_u16().map_or(0, usize::from);
        let (topic, payload) = rest.split_at_checked(length).unwrap_or_default();
        (std::str::from_utf8(topic).unwrap_or_default(), payload)
    }
}

#[cfg(test)]
mod tests;

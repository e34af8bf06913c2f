//! What the front counts. Counters only grow; gauges say what is there now.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::refusal::Refusal;

/// The counters of the MQTT front, all since the start.
#[derive(Debug)]
pub struct Counters {
    refusals: [AtomicU64; Refusal::ALL.len()],
    connected: AtomicU64,
    connects: AtomicU64,
    messages: AtomicU64,
    bytes: AtomicU64,
    stored: AtomicU64,
    dead_lettered: AtomicU64,
    asks_dropped: AtomicU64,
    pauses: AtomicU64,
    held: AtomicU64,
    delivered: AtomicU64,
    expired: AtomicU64,
    too_large: AtomicU64,
    subscriptions: AtomicU64,
    subscriptions_withheld: AtomicU64,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Sessions now.
    pub connected: u64,
    /// Sessions that began.
    pub connects: u64,
    /// PUBLISH packets.
    pub messages: u64,
    /// Bytes of PUBLISH packets.
    pub bytes: u64,
    /// Messages acknowledged with success.
    pub stored: u64,
    /// Messages acknowledged as dead-lettered.
    pub dead_lettered: u64,
    /// Requests to agents that were dropped, because too many waited.
    pub asks_dropped: u64,
    /// How often a connection was not read on because ingest or its window had no room.
    pub pauses: u64,
    /// Bytes in the buffers of all connections now.
    pub held: u64,
    /// Messages written to subscribers.
    pub delivered: u64,
    /// Messages that a subscriber did not get because their time was over.
    pub expired: u64,
    /// Messages that a subscriber did not get because it takes only smaller packets.
    pub too_large: u64,
    /// Subscriptions of connected clients now.
    pub subscriptions: u64,
    /// Subscriptions that brought nothing when their session went on, because the rules did not allow them any more.
    pub subscriptions_withheld: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            refusals: [const { AtomicU64::new(0) }; Refusal::ALL.len()],
            connected: AtomicU64::new(0),
            connects: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            stored: AtomicU64::new(0),
            dead_lettered: AtomicU64::new(0),
            asks_dropped: AtomicU64::new(0),
            pauses: AtomicU64::new(0),
            held: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            too_large: AtomicU64::new(0),
            subscriptions: AtomicU64::new(0),
            subscriptions_withheld: AtomicU64::new(0),
        }
    }
}

impl Counters {
    /// Nothing counted yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How often this refusal was given.
    pub fn refusals(&self, refusal: Refusal) -> u64 {
        self.refusals[refusal as usize].load(Relaxed)
    }

    /// All but the refusals.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            connected: self.connected.load(Relaxed),
            connects: self.connects.load(Relaxed),
            messages: self.messages.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            stored: self.stored.load(Relaxed),
            dead_lettered: self.dead_lettered.load(Relaxed),
            asks_dropped: self.asks_dropped.load(Relaxed),
            pauses: self.pauses.load(Relaxed),
            held: self.held.load(Relaxed),
            delivered: self.delivered.load(Relaxed),
            expired: self.expired.load(Relaxed),
            too_large: self.too_large.load(Relaxed),
            subscriptions: self.subscriptions.load(Relaxed),
            subscriptions_withheld: self.subscriptions_withheld.load(Relaxed),
        }
    }

    pub(super) fn refused(&self, refusal: Refusal) {
        self.refusals[refusal as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn opened(&self) {
        self.connected.fetch_add(1, Relaxed);
        self.connects.fetch_add(1, Relaxed);
    }

    pub(super) fn closed(&self) {
        self.connected.fetch_sub(1, Relaxed);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.messages.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn stored(&self) {
        self.stored.fetch_add(1, Relaxed);
    }

    pub(super) fn dead_lettered(&self) {
        self.dead_lettered.fetch_add(1, Relaxed);
    }

    pub(super) fn ask_dropped(&self) {
        self.asks_dropped.fetch_add(1, Relaxed);
    }

    pub(super) fn held(&self, before: usize, now: usize) {
        // Wraps on the way down, and comes out right.
        self.held.fetch_add((now as u64).wrapping_sub(before as u64), Relaxed);
    }

    pub(super) fn delivered(&self) {
        self.delivered.fetch_add(1, Relaxed);
    }

    pub(super) fn expired(&self) {
        self.expired.fetch_add(1, Relaxed);
    }

    pub(super) fn subscribed(&self, before: usize, now: usize) {
        // Wraps on the way down, and comes out right.
        self.subscriptions.fetch_add((now as u64).wrapping_sub(before as u64), Relaxed);
    }

    pub(super) fn withheld(&self, subscriptions: usize) {
        self.subscriptions_withheld.fetch_add(subscriptions as u64, Relaxed);
    }

    pub(super) fn too_large(&self) {
        self.too_large.fetch_add(1, Relaxed);
    }

    pub(super) fn paused(&self) {
        self.pauses.fetch_add(1, Relaxed);
    }
}

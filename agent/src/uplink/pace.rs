//! How fast what waited longer goes, so that it delays nothing that is fresh and a fleet that comes back does not come
//! all at once.
//!
//! Guarantees: a backlog begins after a random part of `delay`, goes at `rate` at most, leaves a quarter of the window to
//! what is live, and never has more in flight than the link was seen to take in about a second: what is in the buffers
//! of the link is in front of every fresh reading, and nobody can take it back.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use tokio::time::Instant;

use super::spool::Outgoing;

/// How to pace.
#[derive(Clone, Copy, Debug)]
pub struct PaceOptions {
    /// The most bytes a second; `None` is as fast as the link.
    pub rate: Option<u64>,
    /// The longest wait before a backlog begins, on each connection.
    pub delay: Duration,
}

/// An acknowledgement that takes longer than this means that too much is in flight.
const SLOW: Duration = Duration::from_secs(1);
/// One that is faster than this means that more may be.
const FAST: Duration = Duration::from_millis(500);
/// The least and the most that may be in flight, in bytes.
const ALLOWED: [usize; 2] = [4 << 10, 768 << 10];
/// What a connection begins with.
const FIRST: usize = 64 << 10;

/// Paces the backlog on one connection after the other.
pub(super) struct Pace {
    options: PaceOptions,
    /// The most bytes in flight.
    allowed: usize,
    /// No sooner than this.
    ready_at: Instant,
    /// What was formed before this says nothing about what is allowed now.
    changed_at: Instant,
}

impl Pace {
    pub(super) fn new(options: PaceOptions) -> Self {
        let now = Instant::now();
        Self { options, allowed: FIRST, ready_at: now, changed_at: now }
    }

    /// A connection begins.
    pub(super) fn connected(&mut self, random: &mut StdRng) {
        self.changed_at = Instant::now();
        self.allowed = FIRST;
        let delay = random.random_range(Duration::ZERO..=self.options.delay);
        self.ready_at = self.ready_at.max(self.changed_at + delay);
    }

    /// When a batch may be sent; `None` if something must be acknowledged first. `batches` and `bytes` of it are in
    /// flight, and `others` of what is live, of a window of `window`.
    pub(super) fn ready_at(&self, (batches, bytes): (usize, usize), others: usize, window: usize) -> Option<Instant> {
        let kept = (window / 4).max(1);
        let has_place = batches == 0 && others < window || batches + others + kept < window;
        (has_place && bytes < self.allowed).then_some(self.ready_at)
    }

    /// The most bytes of the next batch.
    pub(super) fn batch_bytes(&self) -> usize {
        self.allowed / 2
    }

    /// A batch of so many bytes was sent.
    pub(super) fn sent(&mut self, bytes: usize) {
        if let Some(rate) = self.options.rate {
            let takes = Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
            self.ready_at = self.ready_at.max(Instant::now()) + takes;
        }
    }

    /// A batch was acknowledged.
    pub(super) fn acked(&mut self, batch: &Outgoing) {
        let waited = batch.formed_at.elapsed();
        if waited > SLOW && batch.formed_at >= self.changed_at {
            self.allowed = (self.allowed / 2).max(ALLOWED[0]);
            self.changed_at = Instant::now();
        } else if waited < FAST {
            self.allowed = (self.allowed + batch.bytes).min(ALLOWED[1]);
        }
    }
}

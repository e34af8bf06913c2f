//! Wall time by round trips with the agent.
//!
//! The device asks with its uptime; the agent answers at once with that uptime and its wall clock; half of
//! the round trip is taken off. The error is at most half the round trip (all of the delay on one way), so of
//! each round of [`ROUND`] answers only the one with the shortest round trip counts, and one that took longer
//! than [`MAX_ROUND_TRIP`] never does. Readings taken before the first answer say `Clock::Uptime`.

use weir_protocol::{Clock, Timestamp};

use crate::uptime::Uptime;

/// Answers of which the best one is used.
pub const ROUND: u8 = 4;
/// A longer round trip says too little about the time; in microseconds.
pub const MAX_ROUND_TRIP: u64 = 1_000_000;
/// Between the requests of a round, in microseconds.
const BETWEEN_REQUESTS: u64 = 1_000_000;
/// Between rounds, in microseconds: a crystal of 50 ppm drifts 3 ms meanwhile.
const BETWEEN_ROUNDS: u64 = 60_000_000;

/// The difference between wall time and uptime, as well as it is known.
#[derive(Debug, Default)]
pub struct WallTime {
    /// Wall time minus uptime, in microseconds.
    offset: Option<i64>,
    /// The best answer of this round: round trip and offset, in microseconds.
    best: Option<(u64, i64)>,
    asked: u8,
    /// The request that waits for its answer.
    pending: Option<Uptime>,
    next_request: Uptime,
}

impl WallTime {
    /// The time of a reading that is sampled `now`, and how far to trust it.
    pub fn stamp(&self, now: Uptime) -> (Timestamp, Clock) {
        let uptime = i64::try_from(now.0).unwrap_or(i64::MAX);
        match self.offset {
            Some(offset) => (Timestamp(uptime.saturating_add(offset)), Clock::Synchronised),
            None => (Timestamp(uptime), Clock::Uptime),
        }
    }

    /// When the next request is due.
    pub fn due(&self) -> Uptime {
        self.next_request
    }

    /// Notes that a request leaves now.
    pub fn asked(&mut self, now: Uptime) {
        if self.asked == 0 {
            self.best = None;
        }
        self.pending = Some(now);
        self.asked += 1;
        if self.asked < ROUND {
            self.next_request = now.plus(BETWEEN_REQUESTS);
        } else {
            self.asked = 0;
            self.next_request = now.plus(if self.offset.is_some() { BETWEEN_ROUNDS } else { BETWEEN_REQUESTS });
        }
    }

    /// An answer: `sent` is what the request said. Returns whether it was used.
    pub fn answer(&mut self, now: Uptime, sent: u64, time: Timestamp) -> bool {
        let round_trip = now.since(Uptime(sent));
        if self.pending != Some(Uptime(sent)) || round_trip > MAX_ROUND_TRIP {
            return false;
        }
        self.pending = None;
        let uptime = i64::try_from(sent.saturating_add(round_trip / 2)).unwrap_or(i64::MAX);
        let offset = time.0.saturating_sub(uptime);
        if self.best.is_none_or(|(shortest, _)| round_trip < shortest) {
            self.best = Some((round_trip, offset));
        }
        // The first answer ever is used at once; later only the best of a round is.
        let round_over = self.asked == 0;
        if let Some((_, best)) = self.best
            && (round_over || self.offset.is_none())
        {
            self.offset = Some(best);
        }
        true
    }
}

//! A token bucket: so much a second, and so much at once.

use std::time::{Duration, Instant};

/// How much may be spent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// In the long run, a second; above 0.
    pub per_second: f64,
    /// At once, after a silence.
    pub burst: f64,
}

/// What is left of a [`Rate`]. It may go below zero by one spending: so nothing is refused for being larger than the burst,
/// and what comes after it waits.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    /// A full one.
    pub fn new(rate: Rate, now: Instant) -> Self {
        Self { left: rate.burst, at: now }
    }

    /// Whether anything may be spent now.
    pub fn has_some(&mut self, rate: Rate, now: Instant) -> bool {
        self.fill(rate, now);
        self.left > 0.0
    }

    /// Spends; how long to wait before the next, if there is nothing left.
    pub fn spend(&mut self, rate: Rate, amount: f64, now: Instant) -> Option<Duration> {
        self.fill(rate, now);
        self.left -= amount;
        (self.left < 0.0).then(|| Duration::from_secs_f64((-self.left / rate.per_second).min(MOST_WAIT)))
    }

    /// Whether it is as good as new: a table may forget it.
    pub fn is_full(&mut self, rate: Rate, now: Instant) -> bool {
        self.fill(rate, now);
        self.left >= rate.burst
    }

    fn fill(&mut self, rate: Rate, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * rate.per_second).min(rate.burst);
        self.at = self.at.max(now);
    }
}

/// The longest wait, in seconds: a clock that jumps stops nobody for ever.
const MOST_WAIT: f64 = 3600.0;

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 10.0, burst: 20.0 };

    #[test]
    fn a_burst_is_free_and_what_is_over_it_waits_for_its_time() {
        let start = Instant::now();
        let mut bucket = Bucket::new(RATE, start);
        for _ in 0..20 {
            assert_eq!(bucket.spend(RATE, 1.0, start), None);
        }
        assert_eq!(bucket.spend(RATE, 1.0, start), Some(Duration::from_millis(100)));
        assert!(!bucket.has_some(RATE, start + Duration::from_millis(50)));
        assert!(bucket.has_some(RATE, start + Duration::from_millis(150)));
        assert!(bucket.is_full(RATE, start + Duration::from_secs(3)));
    }

    #[test]
    fn one_spending_may_be_larger_than_the_burst_and_is_paid_afterwards() {
        let start = Instant::now();
        let mut bucket = Bucket::new(RATE, start);
        assert_eq!(bucket.spend(RATE, 120.0, start), Some(Duration::from_secs(10)));
        assert!(!bucket.has_some(RATE, start + Duration::from_secs(9)));
        assert_eq!(bucket.spend(RATE, 1.0, start + Duration::from_secs(11)), None);
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let start = Instant::now() + Duration::from_secs(100);
        let mut bucket = Bucket::new(RATE, start);
        assert!(bucket.spend(RATE, 20.0, start).is_none());
        assert!(!bucket.has_some(RATE, start - Duration::from_secs(50)));
        assert!(!bucket.has_some(RATE, start));
    }
}

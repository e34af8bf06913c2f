//! How long to wait before something that failed is tried again: doubling, with jitter so that many do not come
//! back in step.

use std::time::Duration;

use rand::{Rng, rngs::StdRng};

/// Waits that grow until something succeeds.
pub(crate) struct Backoff {
    shortest: Duration,
    longest: Duration,
    failures: u32,
    random: StdRng,
}

impl Backoff {
    /// From `shortest` to `longest`.
    pub(crate) fn new(shortest: Duration, longest: Duration, random: StdRng) -> Self {
        Self { shortest, longest, failures: 0, random }
    }

    /// The next wait: between half of it and all of it, by chance.
    pub(crate) fn next(&mut self) -> Duration {
        let full = self.shortest.saturating_mul(1 << self.failures.min(20)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        full.mul_f64(self.random.random_range(0.5..=1.0))
    }

    /// Something succeeded.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

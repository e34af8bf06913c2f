//! How long to wait before something that failed is tried again: doubling, with jitter so that many do not come
//! back in step.

use std::time::Duration;

use rand::{Rng, rngs::StdRng};

/// Waits that grow until something succeeds.
#[derive(Debug)]
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
        self.failures = self.failures.saturating_add(1);
        self.after(self.failures)
    }

    /// The wait after so many failures in a row, the first being 1.
    pub(crate) fn after(&mut self, failures: u32) -> Duration {
        let doubled = 1 << failures.saturating_sub(1).min(20);
        let full = self.shortest.saturating_mul(doubled).min(self.longest);
        full.mul_f64(self.random.random_range(0.5..=1.0))
    }

    /// Something succeeded.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

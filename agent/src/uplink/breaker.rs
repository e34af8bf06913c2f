//! The circuit breaker of one gateway.
//!
//! Closed: it is used, and after a failure tried again soon. Open: it failed so often in a row that another gateway goes
//! before it, and it is left alone until its wait is over. Half-open: it is being tried; what it acknowledges closes the
//! breaker, a failure opens it again for a longer wait.

use serde::Serialize;
use tokio::time::Instant;

/// What a breaker lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BreakerState {
    /// Everything.
    Closed,
    /// One try, which is under way.
    HalfOpen,
    /// Nothing.
    Open,
}

impl BreakerState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Closed, Self::HalfOpen, Self::Open];

    /// As it is written on `/metrics` and in the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half-open",
            Self::Open => "open",
        }
    }
}

/// Failures in a row, and when to try again.
#[derive(Debug)]
pub(super) struct Breaker {
    opens_at: u32,
    failures: u32,
    retry_at: Instant,
    trying: bool,
}

impl Breaker {
    /// Closed; `opens_at` failures in a row open it.
    pub(super) fn new(opens_at: u32, now: Instant) -> Self {
        Self { opens_at, failures: 0, retry_at: now, trying: false }
    }

    pub(super) fn state(&self) -> BreakerState {
        match (self.failures < self.opens_at, self.trying) {
            (true, _) => BreakerState::Closed,
            (false, true) => BreakerState::HalfOpen,
            (false, false) => BreakerState::Open,
        }
    }

    /// Failures in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Not before this.
    pub(super) fn retry_at(&self) -> Instant {
        self.retry_at
    }

    /// A try begins.
    pub(super) fn tried(&mut self) {
        self.trying = true;
    }

    /// It acknowledged something: everything before is forgotten. Whether there was anything.
    pub(super) fn worked(&mut self) -> bool {
        core::mem::take(&mut self.failures) > 0
    }

    /// The try was given up before it was decided.
    pub(super) fn dropped(&mut self) {
        self.trying = false;
    }

    /// It failed, and is not tried again before `retry_at`; `for_good` opens the breaker whatever the count.
    pub(super) fn failed(&mut self, retry_at: Instant, for_good: bool) {
        self.failures = self.failures.saturating_add(1);
        if for_good {
            self.failures = self.failures.max(self.opens_at);
        }
        (self.retry_at, self.trying) = (retry_at, false);
    }

    /// A connection ended without a failure.
    pub(super) fn ended(&mut self, now: Instant) {
        (self.retry_at, self.trying) = (now, false);
    }
}

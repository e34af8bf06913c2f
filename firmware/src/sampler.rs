//! When to sample: a fixed rhythm that does not drift, and an earlier try after a failure.

use crate::uptime::Uptime;

/// After a failure the next try comes after this long, if the interval is longer; in microseconds.
const RETRY: u64 = 1_000_000;
/// The shortest interval that an agent may configure, in milliseconds.
pub const MIN_INTERVAL_MS: u32 = 1;
/// The longest interval that an agent may configure, in milliseconds: one day.
pub const MAX_INTERVAL_MS: u32 = 24 * 60 * 60 * 1000;

/// The rhythm of samples.
#[derive(Debug)]
pub struct Sampler {
    interval: u64,
    due: Uptime,
    stopped: bool,
}

impl Sampler {
    /// The first sample is due `now`, then one every `interval` microseconds; 0 means at every call.
    pub const fn new(now: Uptime, interval: u64) -> Self {
        Self { interval, due: now, stopped: false }
    }

    /// Samples at this interval from `now` on.
    pub fn set_interval(&mut self, now: Uptime, interval: u64) {
        self.interval = interval;
        self.due = now.plus(interval);
    }

    /// No more samples.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// When the next sample is due, if ever.
    pub fn due(&self) -> Option<Uptime> {
        (!self.stopped).then_some(self.due)
    }

    /// Whether a sample is due.
    pub fn is_due(&self, now: Uptime) -> bool {
        self.due().is_some_and(|due| due <= now)
    }

    /// A sample that was due was taken. Returns how many were missed since: they are left out, not made up for.
    pub fn taken(&mut self, now: Uptime) -> u64 {
        let missed = now.since(self.due).checked_div(self.interval).unwrap_or(0);
        self.due = self.due.plus(self.interval.saturating_mul(missed.saturating_add(1))).max(now);
        missed
    }

    /// A sample that was due could not be taken: try again soon.
    pub fn failed(&mut self, now: Uptime) {
        // A rhythm of "at every call" must not turn a missing sensor into a busy loop.
        self.due = now.plus(if self.interval == 0 { RETRY } else { self.interval.min(RETRY) });
    }
}

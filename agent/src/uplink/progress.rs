//! Health is progress: what a connection that stands is worth is what is acknowledged on it.
//!
//! Only time counts during which a connection stood and there was something to send. Nothing acknowledged for the limit:
//! the next connection; nothing for the limit again: the next gateway.

use std::time::Duration;

use tokio::time::Instant;

/// What to do about a gateway that acknowledges nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stalled {
    /// Connect again.
    Reconnect,
    /// Use the next one.
    NextGateway,
}

/// How long nothing was acknowledged.
#[derive(Debug)]
pub(super) struct Progress {
    limit: Duration,
    /// On the connections before this one.
    waited: Duration,
    /// Since when on this one.
    since: Option<Instant>,
    stalls: u32,
}

impl Progress {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, waited: Duration::ZERO, since: None, stalls: 0 }
    }

    /// There is something to send, or there is not.
    pub(super) fn waiting(&mut self, something: bool, now: Instant) {
        if something {
            self.since.get_or_insert(now);
        } else {
            self.made();
        }
    }

    /// Something was acknowledged.
    pub(super) fn made(&mut self) {
        *self = Self::new(self.limit);
    }

    /// The connection is over.
    pub(super) fn paused(&mut self, now: Instant) {
        self.waited = self.silent(now);
        self.since = None;
    }

    /// When it is too long, if something waits.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.since.map(|since| since + self.limit.saturating_sub(self.waited))
    }

    /// How long nothing was acknowledged although something waited.
    pub(super) fn silent(&self, now: Instant) -> Duration {
        self.waited + self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// It was too long: what to do, and a new term begins.
    pub(super) fn stalled(&mut self) -> Stalled {
        self.stalls += 1;
        (self.waited, self.since) = (Duration::ZERO, None);
        if self.stalls.is_multiple_of(2) { Stalled::NextGateway } else { Stalled::Reconnect }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn only_time_counts_in_which_something_waited_on_a_connection() {
        let start = Instant::now();
        let mut progress = Progress::new(LIMIT);
        assert_eq!(progress.due_at(), None, "nothing to send, nothing to wait for");
        progress.waiting(true, start);
        progress.waiting(true, start + 10 * SECOND);
        assert_eq!(progress.due_at(), Some(start + LIMIT));
        progress.paused(start + 20 * SECOND);
        assert_eq!(progress.due_at(), None, "an hour without a connection is no stall");
        let later = start + 3600 * SECOND;
        progress.waiting(true, later);
        assert_eq!(progress.due_at(), Some(later + 40 * SECOND));
        assert_eq!(progress.silent(later + 5 * SECOND), 25 * SECOND);
        progress.waiting(false, later);
        assert_eq!((progress.due_at(), progress.silent(later)), (None, Duration::ZERO));
    }

    #[test]
    fn the_first_stall_costs_a_connection_and_the_second_the_gateway() {
        let mut progress = Progress::new(LIMIT);
        assert_eq!((progress.stalled(), progress.stalled()), (Stalled::Reconnect, Stalled::NextGateway));
        assert_eq!(progress.stalled(), Stalled::Reconnect, "the next gateway gets the same patience");
        progress.made();
        assert_eq!(progress.stalled(), Stalled::Reconnect, "an acknowledgement forgives");
    }
}

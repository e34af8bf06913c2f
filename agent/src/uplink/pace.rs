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
        let has_place = batches == 0 && others < window || batches + others.max(kept) < window;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::ClassId;
    use crate::uplink::spool::LaneId;
    use rand::SeedableRng;

    fn batch(bytes: usize) -> Outgoing {
        Outgoing {
            lane: LaneId { class: ClassId::DEFAULT, backlog: true },
            payload: Vec::new(),
            bytes,
            parts: Vec::new(),
            units: 1,
            newest: None,
            number: 1,
            formed_at: Instant::now(),
        }
    }

    fn wait(pace: &Pace) -> Option<Duration> {
        pace.ready_at((0, 0), 0, 14).map(|at| at.saturating_duration_since(Instant::now()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_fleet_that_comes_back_does_not_come_all_at_once() {
        let delay = Duration::from_secs(5);
        let waits = (0..100).map(|seed| {
            let mut pace = Pace::new(PaceOptions { rate: None, delay });
            pace.connected(&mut StdRng::seed_from_u64(seed));
            wait(&pace).expect("nothing is in flight")
        });
        let mut waits: Vec<Duration> = waits.collect();
        waits.sort();
        assert!(waits[0] < delay / 10 && waits[99] > delay * 9 / 10 && waits[99] <= delay, "{waits:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_kept_over_connections() {
        let mut pace = Pace::new(PaceOptions { rate: Some(1000), delay: Duration::ZERO });
        let start = Instant::now();
        for at in 0..50 {
            if at % 7 == 0 {
                pace.connected(&mut StdRng::seed_from_u64(at));
            }
            tokio::time::sleep(wait(&pace).expect("nothing is in flight")).await;
            pace.sent(500);
        }
        tokio::time::sleep(wait(&pace).expect("nothing is in flight")).await;
        assert_eq!(start.elapsed().as_secs(), 25);
    }

    /// A link that takes 10 kB a second has 77 s of a full window before every fresh reading.
    #[tokio::test(start_paused = true)]
    async fn what_is_in_flight_is_what_the_link_takes_in_about_a_second() {
        let mut pace = Pace::new(PaceOptions { rate: None, delay: Duration::ZERO });
        pace.connected(&mut StdRng::seed_from_u64(1));
        let through_a_link = async |pace: &mut Pace, bytes_a_second: usize| {
            let (mut in_flight, mut most) = (std::collections::VecDeque::new(), 0);
            for _ in 0..200 {
                let bytes =
                    |flying: &std::collections::VecDeque<Outgoing>| flying.iter().map(|batch| batch.bytes).sum();
                while pace.ready_at((in_flight.len(), bytes(&in_flight)), 0, 14).is_some() {
                    in_flight.push_back(batch(pace.batch_bytes()));
                }
                most = bytes(&in_flight);
                let Some(first) = in_flight.pop_front() else { break };
                tokio::time::sleep(Duration::from_secs_f64(first.bytes as f64 / bytes_a_second as f64)).await;
                pace.acked(&first);
            }
            most
        };
        let on_a_slow_link = through_a_link(&mut pace, 10_000).await;
        assert!((4_000..20_000).contains(&on_a_slow_link), "{on_a_slow_link} bytes in flight");
        let on_a_fast_link = through_a_link(&mut pace, 100_000_000).await;
        assert!(on_a_fast_link > 500_000, "{on_a_fast_link} bytes in flight");
    }

    fn unpaced() -> Pace {
        Pace::new(PaceOptions { rate: None, delay: Duration::ZERO })
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_used_of_a_rate_is_not_made_up_for() {
        let mut pace = Pace::new(PaceOptions { rate: Some(1000), delay: Duration::ZERO });
        tokio::time::sleep(Duration::from_secs(3600)).await;
        pace.sent(500);
        assert_eq!(wait(&pace), Some(Duration::from_millis(500)));
    }

    #[tokio::test]
    async fn a_quarter_of_the_window_is_left_to_what_is_live_and_never_less_than_a_place() {
        let pace = unpaced();
        // The window, what is live in it, and how many batches may be sent beside that.
        for (window, live, expected) in
            [(14, 0, 11), (14, 3, 11), (14, 5, 9), (14, 14, 0), (3, 0, 2), (2, 0, 1), (1, 0, 1), (1, 1, 0)]
        {
            let sent = (0..=window).take_while(|batches| pace.ready_at((*batches, 0), live, window).is_some());
            assert_eq!(sent.count(), expected, "of {window}, beside {live}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_formed_before_a_change_says_nothing_about_it_nor_does_what_is_neither_slow_nor_fast() {
        let mut pace = unpaced();
        let formed = [batch(1000), batch(1000)];
        tokio::time::sleep(2 * SLOW).await;
        formed.iter().for_each(|batch| pace.acked(batch));
        assert_eq!(pace.allowed, FIRST / 2, "halved once for both");
        let late = batch(1000);
        tokio::time::sleep((SLOW + FAST) / 2).await;
        pace.acked(&late);
        assert_eq!(pace.allowed, FIRST / 2);
        pace.acked(&batch(1000));
        assert_eq!(pace.allowed, FIRST / 2 + 1000);
        // Another link may be another one.
        pace.connected(&mut StdRng::seed_from_u64(1));
        assert_eq!(pace.allowed, FIRST);
    }
}

//! The counts of a load, in bounded memory: totals, a line a second, latencies as HDR histograms.
//!
//! Latency is from the moment at which a reading was due to its acknowledgement. What waited because its connection was
//! slow, refused or gone waited all that time, and counts so: nothing is left out because nobody could send it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;

use super::consumption::{Consumed, Consumption};
use super::counts::{Counts, Second};
use super::schedule::{Run, Schedule};
use super::times::Times;

/// Seconds that are kept; of a longer load the last ones.
const SECONDS: usize = 100_000;
/// The latest readings that are named.
pub(super) const WORST: usize = 20;
/// Different reasons that are counted apart; others are counted as `other`.
const REASONS: usize = 64;
const MICRO: u64 = 1000;
const SECOND: u64 = 1_000_000_000;

/// A reading whose acknowledgement came late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Late {
    pub(super) took_us: u64,
    pub(super) connection: u32,
    pub(super) position: u64,
}

/// The counts, shared by all connections.
pub(super) struct Tally {
    schedule: Schedule,
    late_after: u64,
    inner: Mutex<Inner>,
}

struct Inner {
    counts: Counts,
    latency: Times,
    consumption: Option<Consumption>,
    /// Counts at the end of the last second.
    before: Counts,
    seconds: VecDeque<Second>,
    next_second: u64,
    worst: Vec<Late>,
    /// No reading is due from this time on.
    until: u64,
}

impl Tally {
    /// Nothing has happened.
    pub(super) fn new(schedule: Schedule, late_after: Duration) -> Result<Self> {
        let inner = Inner {
            counts: Counts::default(),
            latency: Times::new()?,
            consumption: None,
            before: Counts::default(),
            seconds: VecDeque::new(),
            next_second: 0,
            worst: Vec::new(),
            until: u64::MAX,
        };
        Ok(Self { schedule, late_after: late_after.as_micros() as u64, inner: Mutex::new(inner) })
    }

    fn at(&self, now: u64) -> MutexGuard<'_, Inner> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.roll(&self.schedule, now);
        inner
    }

    /// Readings went out, some of them for the first time.
    pub(super) fn sent(&self, now: u64, first: u64, again: u64) {
        let mut inner = self.at(now);
        inner.counts.sent += first;
        inner.counts.sent_again += again;
    }

    /// A consumer follows from now on, which nobody sent anything before.
    pub(super) fn follow(&self, consumption: Consumption) {
        self.at(0).consumption = Some(consumption);
    }

    /// The consumer got readings, device by device.
    pub(super) fn came(&self, runs: impl Iterator<Item = Run>, now: u64) {
        if let Some(consumption) = &mut self.at(now).consumption {
            runs.for_each(|run| consumption.came(run, now));
        }
    }

    /// What the consumer got, if there is one.
    pub(super) fn consumed(&self, now: u64) -> Option<Consumed> {
        self.at(now).consumption.as_ref().map(Consumption::consumed)
    }

    /// How many readings it got.
    pub(super) fn count_consumed(&self, now: u64) -> Option<u64> {
        self.at(now).consumption.as_ref().map(|consumption| consumption.since_due.all().len())
    }

    /// A message with these positions was acknowledged.
    pub(super) fn acknowledged(&self, now: u64, connection: u32, positions: std::ops::Range<u64>, is_dead: bool) {
        let mut inner = self.at(now);
        let readings = positions.end - positions.start;
        inner.counts.acknowledged += readings;
        inner.counts.messages += 1;
        if is_dead {
            inner.counts.dead_lettered += readings;
        } else if let Some(consumption) = &mut inner.consumption {
            consumption.acknowledged(connection, positions.clone(), now);
        }
        for position in positions {
            let took_us = now.saturating_sub(self.schedule.due(connection, position)) / MICRO;
            inner.latency.record(took_us);
            if took_us > self.late_after {
                inner.counts.late += 1;
                inner.late(Late { took_us, connection, position });
            }
        }
    }

    /// A connection was let in.
    pub(super) fn connected(&self, now: u64) {
        let mut inner = self.at(now);
        inner.counts.connects += 1;
        inner.counts.connected += 1;
    }

    /// A connection that was let in has ended.
    pub(super) fn disconnected(&self, now: u64) {
        self.at(now).counts.connected -= 1;
    }

    /// Something was refused, or a connection ended, for this reason.
    pub(super) fn refused(&self, now: u64, reason: &str) {
        let refusals = &mut self.at(now).counts.refusals;
        let known = refusals.len() < REASONS || refusals.contains_key(reason);
        *refusals.entry(if known { reason } else { "other" }.to_owned()).or_default() += 1;
    }

    /// No reading is due from `now` on.
    pub(super) fn stop(&self, now: u64) {
        self.at(now).until = now;
    }

    /// Readings that were due by `now`.
    pub(super) fn due(&self, now: u64) -> u64 {
        let until = self.at(now).until;
        self.schedule.count_of_all(now.min(until))
    }

    /// The counts and the latencies so far.
    pub(super) fn seen(&self, now: u64) -> (Counts, Histogram<u64>) {
        let inner = self.at(now);
        (inner.counts.clone(), inner.latency.all().clone())
    }

    /// Whole seconds from `from` on, as far as they are kept.
    pub(super) fn seconds(&self, now: u64, from: u64) -> Vec<Second> {
        self.at(now).seconds.iter().filter(|second| second.second >= from).cloned().collect()
    }

    /// The second that has not ended, closed, and the latest readings.
    pub(super) fn close(&self, now: u64) -> (Vec<Second>, Vec<Late>) {
        let mut inner = self.at(now);
        inner.next(&self.schedule);
        (inner.seconds.iter().cloned().collect(), inner.worst.clone())
    }
}

impl Inner {
    /// Ends the seconds that are over.
    fn roll(&mut self, schedule: &Schedule, now: u64) {
        while (self.next_second + 1) * SECOND <= now {
            self.next(schedule);
        }
    }

    fn next(&mut self, schedule: &Schedule) {
        let second = self.next_second;
        let took = self.latency.end_second();
        let came = self.consumption.as_mut().map(|consumption| consumption.since_due.end_second()).unwrap_or_default();
        let by = |time: u64| if time == 0 { 0 } else { schedule.count_of_all((time - 1).min(self.until)) };
        if self.seconds.len() == SECONDS {
            self.seconds.pop_front();
        }
        self.seconds.push_back(Second {
            second,
            due: by((second + 1) * SECOND) - by(second * SECOND),
            sent: self.counts.sent - self.before.sent,
            acknowledged: self.counts.acknowledged - self.before.acknowledged,
            connected: self.counts.connected,
            p50_us: took.p50,
            p99_us: took.p99,
            max_us: took.max,
            consumed: came.count,
            consumed_p50_us: came.p50,
            consumed_p99_us: came.p99,
        });
        self.before.sent = self.counts.sent;
        self.before.acknowledged = self.counts.acknowledged;
        self.next_second += 1;
    }

    /// Keeps the latest, the worst first.
    fn late(&mut self, late: Late) {
        if self.worst.len() == WORST && self.worst.last().is_some_and(|least| *least >= late) {
            return;
        }
        let at = self.worst.partition_point(|other| *other > late);
        self.worst.insert(at, late);
        self.worst.truncate(WORST);
    }
}

#[cfg(test)]
mod tests {
    use super::super::LoadPlan;
    use super::*;

    const MS: u64 = 1_000_000;

    /// Ten devices, ten readings a second, one connection.
    fn tally(late_after: Duration) -> Tally {
        let plan = LoadPlan { devices: 10, connections: 1, rate: 10.0, ..LoadPlan::new(1) };
        Tally::new(Schedule::new(&plan), late_after).unwrap()
    }

    #[test]
    fn a_pause_counts_for_every_reading_that_was_due_in_it() {
        // Ten readings were due in the first second, and one answer comes at its end: a closed loop would call that one
        // slow reading.
        let tally = tally(Duration::from_secs(10));
        tally.acknowledged(1_000 * MS, 0, 0..10, false);
        let (counts, latency) = tally.seen(1_000 * MS);
        assert_eq!((counts.acknowledged, counts.messages, counts.late), (10, 1, 0));
        assert_eq!(latency.len(), 10);
        assert_eq!(latency.max() / 1000, 1000);
        let median = latency.value_at_quantile(0.5);
        assert!((500_000..=601_000).contains(&median), "{median}");
    }

    #[test]
    fn each_second_has_what_happened_in_it_also_when_nothing_did() {
        let tally = tally(Duration::from_secs(10));
        tally.sent(500 * MS, 6, 0);
        tally.acknowledged(2_500 * MS, 0, 0..6, false);
        tally.stop(2_900 * MS);
        let (seconds, _) = tally.close(3_100 * MS);
        let told: Vec<_> = seconds.iter().map(|s| (s.second, s.due, s.sent, s.acknowledged)).collect();
        assert_eq!(told, [(0, 10, 6, 0), (1, 10, 0, 0), (2, 10, 0, 6), (3, 0, 0, 0)]);
        assert_eq!((seconds[1].max_us, seconds[2].max_us / 100_000), (0, 25));
    }

    #[test]
    fn what_is_late_is_counted_and_the_worst_is_named_first() {
        let tally = tally(Duration::from_secs(1));
        tally.acknowledged(2_000 * MS, 0, 0..12, false);
        let (counts, _) = tally.seen(2_000 * MS);
        // Due at 0, 0.1, ... 1.1 s; later than 1 s are those that were due before 1.0 s.
        assert_eq!(counts.late, 10);
        let (_, worst) = tally.close(2_000 * MS);
        assert_eq!(worst.iter().map(|late| late.position).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
        tally.acknowledged(60_000 * MS, 0, 20..60, false);
        let (_, worst) = tally.close(60_000 * MS);
        assert_eq!(worst.iter().map(|late| late.position).collect::<Vec<_>>(), (20..40).collect::<Vec<_>>());
    }
}

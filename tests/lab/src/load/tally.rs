//! The counts of a load, in bounded memory: totals, a line a second, latencies as HDR histograms.
//!
//! Latency is from the moment at which a reading was due to its acknowledgement. What waited because its connection was
//! slow, refused or gone waited all that time, and counts so: nothing is left out because nobody could send it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::schedule::Schedule;

/// Significant digits of latencies: of the whole load, and of one second.
pub(super) const DIGITS: u8 = 3;
pub(super) const DIGITS_OF_A_SECOND: u8 = 2;
/// The longest latency that is told apart, in microseconds: a day. Longer ones count as that.
const LONGEST: u64 = 86_400_000_000;
/// Seconds that are kept; of a longer load the last ones.
const SECONDS: usize = 100_000;
/// The latest readings that are named.
pub(super) const WORST: usize = 20;
/// Different reasons that are counted apart; others are counted as `other`.
const REASONS: usize = 64;
const MICRO: u64 = 1000;
const SECOND: u64 = 1_000_000_000;

/// One second of a load.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Second {
    /// Which, from 0.
    pub second: u64,
    /// Readings that were due in it.
    pub due: u64,
    /// Readings that were sent for the first time in it.
    pub sent: u64,
    /// Readings that were acknowledged in it.
    pub acknowledged: u64,
    /// Connections at its end.
    pub connected: u64,
    /// Median from due to acknowledged of those acknowledged in it, in microseconds.
    pub p50_us: u64,
    /// The same of 99 in 100.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
}

/// A reading whose acknowledgement came late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Late {
    pub(super) took_us: u64,
    pub(super) connection: u32,
    pub(super) position: u64,
}

/// What has happened so far.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counts {
    /// Readings sent at least once.
    pub sent: u64,
    /// Readings sent once more, after a connection was lost.
    pub sent_again: u64,
    /// Readings acknowledged.
    pub acknowledged: u64,
    /// Messages acknowledged.
    pub messages: u64,
    /// Readings of messages that were answered "dead-lettered".
    pub dead_lettered: u64,
    /// Readings acknowledged later than the limit after they were due.
    pub late: u64,
    /// Connections that stand.
    pub connected: u64,
    /// Connections that were let in.
    pub connects: u64,
    /// Why connections were refused or ended, and messages refused, with how often.
    pub refusals: BTreeMap<String, u64>,
}

/// A histogram of microseconds, some 200 KiB at the most.
pub(super) fn histogram(digits: u8) -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_max(LONGEST, digits)?)
}

/// The counts, shared by all connections.
pub(super) struct Tally {
    schedule: Schedule,
    late_after: u64,
    inner: Mutex<Inner>,
}

struct Inner {
    counts: Counts,
    latency: Histogram<u64>,
    of_second: Histogram<u64>,
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
    pub(super) fn new(schedule: Schedule, late_after: Duration) -> anyhow::Result<Self> {
        let inner = Inner {
            counts: Counts::default(),
            latency: histogram(DIGITS)?,
            of_second: histogram(DIGITS_OF_A_SECOND)?,
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

    /// A message with these positions was acknowledged.
    pub(super) fn acknowledged(&self, now: u64, connection: u32, positions: std::ops::Range<u64>, is_dead: bool) {
        let mut inner = self.at(now);
        let readings = positions.end - positions.start;
        inner.counts.acknowledged += readings;
        inner.counts.messages += 1;
        inner.counts.dead_lettered += if is_dead { readings } else { 0 };
        for position in positions {
            let took_us = now.saturating_sub(self.schedule.due(connection, position)) / MICRO;
            inner.latency.saturating_record(took_us);
            inner.of_second.saturating_record(took_us);
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
        (inner.counts.clone(), inner.latency.clone())
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
        let (second, of) = (self.next_second, &self.of_second);
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
            p50_us: of.value_at_quantile(0.5),
            p99_us: of.value_at_quantile(0.99),
            max_us: of.max(),
        });
        self.before.sent = self.counts.sent;
        self.before.acknowledged = self.counts.acknowledged;
        self.of_second.reset();
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

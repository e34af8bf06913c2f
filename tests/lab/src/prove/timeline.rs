//! What was seen each moment of a run, for the plots: how much was sampled and acknowledged, and how long it took.
//! The fleet says what was due, also if nobody could send it; of boards and the agent's own sources the ledger knows.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::ledger::Ledger;
use crate::load::{self, Load};

/// How often it is looked.
pub(super) const TICK: Duration = Duration::from_millis(250);

/// Looks that are less than this many seconds apart are one.
const TOGETHER: f64 = 0.05;

/// What was known at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Moment {
    /// Seconds since the start.
    pub at: f64,
    /// Readings that were sampled, or due, so far.
    pub sampled: u64,
    /// Of those, how many the gateway had acknowledged.
    pub acknowledged: u64,
}

/// Percentiles of the time from due to PUBACK, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Half of all took less.
    pub p50: f64,
    /// One in ten took longer.
    pub p90: f64,
    /// One in a hundred took longer.
    pub p99: f64,
    /// One in a thousand took longer.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

impl Latency {
    /// Of times in microseconds.
    pub fn of(times: &Histogram<u64>) -> Self {
        let milliseconds = |quantile: f64| times.value_at_quantile(quantile) as f64 / 1000.0;
        Self {
            p50: milliseconds(0.5),
            p90: milliseconds(0.9),
            p99: milliseconds(0.99),
            p999: milliseconds(0.999),
            max: times.max() as f64 / 1000.0,
        }
    }
}

/// How long it took until a consumer had it, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Consumed {
    /// Readings that it got.
    pub readings: u64,
    /// From due to consumed.
    pub since_due: Latency,
    /// From acknowledged to consumed; what came first took no time.
    pub since_acknowledged: Latency,
}

impl Consumed {
    /// What came of a load.
    pub fn of(consumed: &load::Consumed) -> Self {
        let load::Consumed { since_due, since_acknowledged } = consumed;
        let latency = (Latency::of(since_due), Latency::of(since_acknowledged));
        Self { readings: since_due.len(), since_due: latency.0, since_acknowledged: latency.1 }
    }
}

/// All moments of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Timeline(pub Vec<Moment>);

impl Timeline {
    /// Looks at the ledger and the fleet.
    pub fn look(&mut self, elapsed: Duration, ledger: &Ledger, fleet: &[Load]) {
        let (mut sampled, mut acknowledged) = ledger.observed();
        for seen in fleet.iter().map(Load::seen) {
            sampled += seen.due;
            acknowledged += seen.counts.acknowledged;
        }
        self.0.push(Moment { at: elapsed.as_secs_f64(), sampled, acknowledged });
    }

    /// When something was acknowledged for the first time after `at`, in seconds; what came between two looks counts for the
    /// second.
    pub fn alive_after(&self, at: f64) -> Option<f64> {
        let mut pairs = self.0.windows(2).skip_while(|pair| pair[0].at < at);
        pairs.find(|pair| pair[1].acknowledged > pair[0].acknowledged).map(|pair| pair[1].at)
    }

    /// Each moment with what came in a second since the one before: sampled and acknowledged.
    pub fn rates(&self) -> impl Iterator<Item = (f64, f64, f64)> {
        // The last look comes as soon as all is calm; between two at once there is no rate.
        let apart = self.0.windows(2).filter(|pair| pair[1].at - pair[0].at >= TOGETHER);
        apart.map(|pair| {
            let (from, to) = (&pair[0], &pair[1]);
            let rate = |from: u64, to: u64, seconds: f64| to.saturating_sub(from) as f64 / seconds.max(1e-3);
            let seconds = to.at - from.at;
            (to.at, rate(from.sampled, to.sampled, seconds), rate(from.acknowledged, to.acknowledged, seconds))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(acknowledged: &[u64]) -> Timeline {
        let moment = |(index, acknowledged): (usize, &u64)| Moment {
            at: index as f64,
            sampled: 10 * index as u64,
            acknowledged: *acknowledged,
        };
        Timeline(acknowledged.iter().enumerate().map(moment).collect())
    }

    #[test]
    fn it_is_alive_again_with_the_first_acknowledgement_after_a_fault() {
        let timeline = timeline(&[0, 5, 5, 5, 9, 12]);
        assert_eq!(timeline.alive_after(1.5), Some(4.0));
        assert_eq!(timeline.alive_after(5.0), None);
    }

    #[test]
    fn rates_are_what_came_since_the_moment_before() {
        let mut timeline = timeline(&[0, 5, 5]);
        timeline.0.push(Moment { at: 2.01, ..timeline.0[2] });
        let rates: Vec<_> = timeline.rates().collect();
        assert_eq!(rates, [(1.0, 10.0, 5.0), (2.0, 10.0, 0.0)]);
    }
}

//! How long samples took to be acknowledged, for whoever wants to know: by the clock of the agent, which is this machine's.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use weir_protocol::identity::Restart;
use weir_protocol::serial::device_to_agent::Readings;
use weir_protocol::time::{SystemClock, WallClock};
use weir_protocol::{Clock, Timestamp};

/// Samples of one cable that wait for their acknowledgement; of more the oldest are not timed.
const WAITING: usize = 100_000;

/// Takes the time from a sample to its acknowledgement.
#[derive(Clone)]
pub(super) struct Timing(pub(super) Arc<dyn Fn(Duration) + Send + Sync>);

impl fmt::Debug for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Timing")
    }
}

/// The samples of one cable, by restart: sequence and time.
#[derive(Debug)]
pub(super) struct Stopwatch {
    timing: Timing,
    waiting: BTreeMap<Restart, VecDeque<(u64, Timestamp)>>,
}

impl Stopwatch {
    pub(super) fn new(timing: Timing) -> Self {
        Self { timing, waiting: BTreeMap::new() }
    }

    /// The device sends readings. Those whose clock was never set are not timed.
    pub(super) fn sent(&mut self, run: &Readings<'_>) {
        let waiting = self.waiting.entry(run.restart).or_default();
        for (sequence, reading) in (run.first.0..).zip(run.readings.iter().filter_map(Result::ok)) {
            let is_new = waiting.back().is_none_or(|(last, _)| *last < sequence);
            if is_new && reading.clock == Clock::Synchronised {
                if waiting.len() == WAITING {
                    waiting.pop_front();
                }
                waiting.push_back((sequence, reading.time));
            }
        }
    }

    /// The agent acknowledges all below `accepted`.
    pub(super) fn acknowledged(&mut self, restart: Restart, accepted: u64) {
        let Some(waiting) = self.waiting.get_mut(&restart) else { return };
        let now = SystemClock.now();
        while let Some((_, time)) = waiting.pop_front_if(|(sequence, _)| *sequence < accepted) {
            (self.timing.0)(Duration::from_micros(now.since(time).max(0) as u64));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use weir_protocol::items::{self, Items};
    use weir_protocol::{ChannelId, Reading, SchemaHash, Sequence, Value};

    use super::*;

    const RESTART: Restart = Restart(1 << 32 | 7);
    /// Far longer than this test takes.
    const AGO: i64 = 3_600_000_000;

    /// Sends sequences `first`, `first + 1` and so on, sampled an hour ago by these clocks.
    fn send(stopwatch: &mut Stopwatch, first: u64, clocks: &[Clock]) {
        let mut readings = Vec::new();
        for clock in clocks {
            let time = SystemClock.now().plus_micros(-AGO);
            items::push(
                &mut readings,
                &Reading { channel: ChannelId(0), time, clock: *clock, value: Value::Float(1.0) },
            );
        }
        let (restart, schema, next) = (RESTART, SchemaHash(1), Sequence(first + clocks.len() as u64));
        let (base, first) = (Sequence(0), Sequence(first));
        stopwatch.sent(&Readings { restart, schema, base, next, first, readings: Items::new(&readings) });
    }

    #[test]
    fn each_sample_is_timed_once_from_its_own_time_however_often_it_is_sent_and_acknowledged() {
        let told: Arc<Mutex<Vec<Duration>>> = Arc::default();
        let take = Arc::clone(&told);
        let mut stopwatch = Stopwatch::new(Timing(Arc::new(move |took| take.lock().unwrap().push(took))));
        send(&mut stopwatch, 0, &[Clock::Uptime, Clock::Synchronised, Clock::Synchronised]);
        send(&mut stopwatch, 1, &[Clock::Synchronised, Clock::Synchronised, Clock::Synchronised]);
        stopwatch.acknowledged(RESTART, 2);
        stopwatch.acknowledged(RESTART, 2);
        assert_eq!(told.lock().unwrap().len(), 1, "sequence 0 has no time, 1 is acknowledged");
        stopwatch.acknowledged(Restart(9), 4);
        stopwatch.acknowledged(RESTART, 4);
        let told = told.lock().unwrap();
        assert_eq!(told.len(), 3);
        assert!(told.iter().all(|took| took.as_micros() >= AGO as u128), "{told:?}");
    }
}

//! What a consumer got of a load, and how long after it was due, and after it was acknowledged.
//!
//! Each reading counts once, when it came first. One that came before its acknowledgement did, as it may, took no time from
//! there. Bounded: of a device the next sequence is kept, and of what is acknowledged and did not come yet a few numbers
//! for each message, at most [`WAITING`] of them: of what is forgotten behind that only the time since it was due is known.

use std::collections::VecDeque;
use std::ops::Range;

use anyhow::Result;
use hdrhistogram::Histogram;

use super::schedule::{Run, Schedule};
use super::times::Times;

/// Messages that are acknowledged and did not come yet.
const WAITING: usize = 100_000;
const MICRO: u64 = 1000;

/// What a consumer got.
pub(super) struct Consumption {
    schedule: Schedule,
    pub(super) since_due: Times,
    since_acknowledged: Times,
    /// Of each device, the sequence behind the last one that came.
    next: Vec<u64>,
    /// Of each connection, by position.
    waiting: Vec<Waiting>,
    count: usize,
}

/// Messages of one connection that are acknowledged and did not come whole yet.
#[derive(Clone, Default)]
struct Waiting {
    messages: VecDeque<Message>,
    /// Positions below are not among them any more.
    forgotten: u64,
}

#[derive(Clone)]
struct Message {
    positions: Range<u64>,
    /// How many of them did not come yet.
    left: u64,
    acknowledged: u64,
}

/// What a consumer got, at the end.
#[derive(Clone, Debug)]
pub struct Consumed {
    /// From due to consumed, in microseconds, of each reading that came.
    pub since_due: Histogram<u64>,
    /// From acknowledged to consumed, of those of which that is known.
    pub since_acknowledged: Histogram<u64>,
}

impl Consumption {
    pub(super) fn new(schedule: Schedule, devices: u32, connections: u32) -> Result<Self> {
        Ok(Self {
            schedule,
            since_due: Times::new()?,
            since_acknowledged: Times::new()?,
            next: vec![0; devices as usize],
            waiting: vec![Waiting::default(); connections as usize],
            count: 0,
        })
    }

    /// A message was acknowledged at this time, in nanoseconds since the load began.
    pub(super) fn acknowledged(&mut self, connection: u32, positions: Range<u64>, now: u64) {
        let Self { schedule, next, .. } = self;
        let runs = schedule.runs(connection, positions.clone());
        let left = runs.map(|(device, run)| run.end.saturating_sub(run.start.max(next[device as usize]))).sum();
        let Some(waiting) = self.waiting.get_mut(connection as usize).filter(|_| left > 0) else { return };
        waiting.messages.push_back(Message { positions, left, acknowledged: now });
        self.count += 1;
        if self.count > WAITING {
            self.count -= waiting.forget();
        }
    }

    /// Readings of a device came at this time.
    pub(super) fn came(&mut self, (device, sequences): Run, now: u64) {
        let Some(next) = self.next.get_mut(device as usize) else { return };
        let fresh = sequences.start.max(*next)..sequences.end;
        *next = (*next).max(sequences.end);
        for sequence in fresh {
            let (connection, position) = self.schedule.place(device, sequence);
            let since = |time: u64| now.saturating_sub(time) / MICRO;
            self.since_due.record(since(self.schedule.due(connection, position)));
            let waiting = &mut self.waiting[connection as usize];
            if position < waiting.forgotten {
                continue;
            }
            let acknowledged = waiting.take(position);
            self.since_acknowledged.record(acknowledged.map_or(0, since));
            self.count -= waiting.tidy();
        }
    }

    /// Everything, at the end.
    pub(super) fn consumed(&self) -> Consumed {
        let (since_due, since_acknowledged) = (self.since_due.all().clone(), self.since_acknowledged.all().clone());
        Consumed { since_due, since_acknowledged }
    }
}

impl Waiting {
    /// A position came: when its message was acknowledged, if it was yet.
    fn take(&mut self, position: u64) -> Option<u64> {
        let at = self.messages.partition_point(|message| message.positions.end <= position);
        let message = self.messages.get_mut(at).filter(|message| message.positions.contains(&position))?;
        message.left = message.left.saturating_sub(1);
        Some(message.acknowledged)
    }

    /// Drops what came whole, from the oldest on; how many messages.
    fn tidy(&mut self) -> usize {
        let before = self.messages.len();
        while self.messages.pop_front_if(|message| message.left == 0).is_some() {}
        before - self.messages.len()
    }

    /// Drops the oldest message, and what came whole behind it; how many.
    fn forget(&mut self) -> usize {
        let Some(oldest) = self.messages.pop_front() else { return 0 };
        self.forgotten = self.forgotten.max(oldest.positions.end);
        1 + self.tidy()
    }
}

#[cfg(test)]
mod tests {
    use super::super::LoadPlan;
    use super::*;

    const MS: u64 = 1_000_000;

    /// Ten devices of two connections, ten readings a second: one of each device.
    fn consumption() -> Consumption {
        let plan = LoadPlan { devices: 10, connections: 2, rate: 10.0, ..LoadPlan::new(1) };
        Consumption::new(Schedule::new(&plan), 10, 2).unwrap()
    }

    fn milliseconds(times: &Histogram<u64>) -> Vec<u64> {
        times.iter_recorded().map(|step| step.value_iterated_to() / 1000).collect()
    }

    #[test]
    fn a_reading_counts_once_from_when_it_was_due_and_from_when_it_was_acknowledged() {
        let mut consumption = consumption();
        // Position 0 of connection 1 is the first reading of device 1, which is due at 100 ms.
        consumption.acknowledged(1, 0..1, 300 * MS);
        consumption.came((1, 0..1), 350 * MS);
        consumption.came((1, 0..1), 900 * MS);
        let consumed = consumption.consumed();
        assert_eq!((milliseconds(&consumed.since_due), consumed.since_due.len()), (vec![250], 1));
        assert_eq!((milliseconds(&consumed.since_acknowledged), consumption.count), (vec![50], 0));
    }

    #[test]
    fn what_came_before_its_acknowledgement_took_no_time_from_there_and_is_not_waited_for() {
        let mut consumption = consumption();
        consumption.came((0, 0..2), 1_100 * MS);
        // Devices 0, 2, 4, 6 and 8, once each, and device 0 once more.
        consumption.acknowledged(0, 0..6, 1_200 * MS);
        assert_eq!(consumption.waiting[0].messages[0].left, 4);
        for device in [2, 4, 6, 8] {
            consumption.came((device, 0..1), 1_300 * MS);
        }
        assert_eq!(consumption.count, 0);
        assert_eq!(milliseconds(&consumption.consumed().since_acknowledged), [0, 100]);
    }

    #[test]
    fn what_is_never_consumed_is_forgotten_and_not_taken_for_what_came_at_once() {
        let mut consumption = consumption();
        for position in 0..=WAITING as u64 {
            consumption.acknowledged(0, position..position + 1, 0);
        }
        assert_eq!((consumption.count, consumption.waiting[0].forgotten), (WAITING, 1));
        consumption.came((0, 0..1), 5 * MS);
        assert!(consumption.consumed().since_acknowledged.is_empty(), "its acknowledgement is forgotten");
        consumption.came((2, 0..1), 500 * MS);
        assert_eq!(milliseconds(&consumption.consumed().since_acknowledged), [500]);
    }
}

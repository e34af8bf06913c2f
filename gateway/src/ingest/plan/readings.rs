//! A run of readings: repeats are dropped, invalid ones become dead letters, the rest is appended.

use std::ops::Range;

use weir_protocol::batch::section::RunItem;
use weir_protocol::{Clock, Sequence, Timestamp};

use super::super::Reason;
use super::super::decode::Run;
use super::super::devices::{DeviceIndex, OverLimit, SchemaState};
use super::super::moves::{Effect, Move};
use super::poison::Poison;
use super::{Planner, Stop};
use crate::record::reading;
use crate::topics::TopicId;

/// A sample time further back than this from arrival does not become the record's timestamp: 7 days.
const MAX_AGE_MICROS: i64 = 7 * 24 * 3600 * 1_000_000;
/// A sample time further ahead than this of arrival does not become the record's timestamp: 5 minutes.
const MAX_AHEAD_MICROS: i64 = 5 * 60 * 1_000_000;

impl Planner<'_> {
    /// Decides every reading of a run: repeats are dropped, valid ones appended, invalid ones buried.
    pub(super) fn run(&mut self, place: DeviceIndex, run: &Run) -> Result<(), Stop> {
        let device = self.devices.get_mut(place).ok_or(OverLimit::Devices)?;
        let log = self.routes.log(TopicId::Readings, device.key_hash);
        let ledger = device.restarts.get_mut(&run.restart).ok_or(OverLimit::Devices)?;
        let Some(SchemaState::Known(channels)) = device.schemas.get(&run.schema) else {
            // Without its channels a reading means nothing; it is kept encoded, for a redrive.
            let all = Poison::of(Reason::UnknownSchema, run.items_at, run.first..run.end);
            return self.bury_readings(place, run, all);
        };
        ledger.prepare_head(self.sender.tenant, self.sender.agent, run.device, run.restart);
        let fresh = ledger.is_fresh(run.first..run.end);
        let key = Some(run.device.as_str().as_bytes());

        let mut streak = Streak::at(run.first);
        let streaks = &mut self.scratch.streaks;
        streaks.clear();
        let mut poison = Poison::default();
        let mut repeats = 0;
        let mut staged = Ok(());
        let mut items = run.items::<RunItem<'_>>().iter();
        let mut time = run.start;
        for sequence in run.first..run.end {
            let position = run.section.len() - items.rest().len();
            let Some(Ok(item)) = items.next() else {
                poison.add(Reason::UnreadableReading, position, sequence..run.end);
                break;
            };
            time = time.plus_micros(item.delta);
            if !fresh && (ledger.stored.contains(sequence) || ledger.pending.contains(sequence)) {
                repeats += 1;
                continue;
            }
            if sequence + 1 == run.end && !items.rest().is_empty() {
                // More bytes than readings: nobody knows where this one ends.
                poison.add(Reason::UnreadableReading, position, sequence..run.end);
                break;
            }
            let channel = match channels.check(item.channel, item.value) {
                Ok(channel) => channel,
                Err(reason) => {
                    poison.add(reason, position, sequence..sequence + 1);
                    continue;
                }
            };
            if sequence < ledger.floor {
                poison.add(Reason::HistoryUnknown, position, sequence..sequence + 1);
                continue;
            }
            let heals = !fresh && ledger.heals(sequence);
            let stamp = (time, item.clock);
            let value = &mut self.scratch.value;
            reading::encode(value, &ledger.head, Sequence(sequence), channel, stamp, item.value, heals);
            staged = self.group.append(log, record_time(stamp, self.arrival).as_millis(), key, value);
            if staged.is_err() {
                break;
            }
            if let Some(full) = streak.take(sequence, heals) {
                streaks.push(full);
            }
        }
        streaks.extend(streak.end());

        for Streak { range, heals } in streaks.drain(..) {
            ledger.pending.insert(range.clone());
            self.logs.insert(log);
            let effect = Effect::Stored { restart: run.restart, range, heals };
            self.group.moves.push(Move { log, device: place, effect });
        }
        self.counters.repeats.add(repeats);
        staged?;
        self.bury_readings(place, run, poison)
    }
}

/// Consecutive sequences that are stored, and how many of them heal.
#[derive(Debug)]
pub(super) struct Streak {
    range: Range<u64>,
    heals: u64,
}

impl Streak {
    fn at(sequence: u64) -> Self {
        Self { range: sequence..sequence, heals: 0 }
    }

    /// Takes a sequence in; gives back the streak that this one does not follow on.
    fn take(&mut self, sequence: u64, heals: bool) -> Option<Self> {
        let before = (self.range.end != sequence).then(|| std::mem::replace(self, Self::at(sequence)));
        self.range.end = sequence + 1;
        self.heals += u64::from(heals);
        before.and_then(Self::end)
    }

    fn end(self) -> Option<Self> {
        (!self.range.is_empty()).then_some(self)
    }
}

/// The timestamp of a record: the sample time if it can be believed, else the time of arrival.
fn record_time((time, clock): (Timestamp, Clock), arrival: Timestamp) -> Timestamp {
    let believable = arrival.plus_micros(-MAX_AGE_MICROS)..=arrival.plus_micros(MAX_AHEAD_MICROS);
    if clock == Clock::Synchronised && believable.contains(&time) { time } else { arrival }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_has_the_sample_time_only_if_it_can_be_believed() {
        let arrival = Timestamp(1_000_000_000_000_000);
        let at = |micros: i64| arrival.plus_micros(micros);
        let synchronised = |time| record_time((time, Clock::Synchronised), arrival);
        assert_eq!(synchronised(at(-1_000)), at(-1_000));
        assert_eq!(synchronised(at(-MAX_AGE_MICROS)), at(-MAX_AGE_MICROS));
        assert_eq!(synchronised(at(-MAX_AGE_MICROS - 1)), arrival);
        assert_eq!(synchronised(at(MAX_AHEAD_MICROS)), at(MAX_AHEAD_MICROS));
        assert_eq!(synchronised(at(MAX_AHEAD_MICROS + 1)), arrival);
        assert_eq!(record_time((at(-1_000), Clock::Uptime), arrival), arrival);
    }
}

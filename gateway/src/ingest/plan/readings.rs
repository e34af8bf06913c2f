//! A run of readings: repeats are dropped, invalid ones become dead letters, the rest is appended.

use std::ops::Range;

use weir_protocol::batch::section::RunItem;
use weir_protocol::{Clock, DeviceId, Sequence, Timestamp};

use super::super::Reason;
use super::super::decode::{Processed, Run};
use super::super::devices::{DeviceIndex, OverLimit, SchemaState};
use super::super::moves::{Effect, Move};
use super::poison::Poison;
use super::{Planner, Scratch, Stop};
use crate::record::reading::{self, ChannelFields};
use crate::record::summary_schema;
use crate::topics::routes::Routes;
use crate::topics::{Format, TopicId};

/// A sample time further back than this from arrival does not become the record's timestamp: 7 days.
const MAX_AGE_MICROS: i64 = 7 * 24 * 3600 * 1_000_000;
/// A sample time further ahead than this of arrival does not become the record's timestamp: 5 minutes.
const MAX_AHEAD_MICROS: i64 = 5 * 60 * 1_000_000;

impl Planner<'_> {
    /// Decides every reading of a run: repeats are dropped, valid ones appended, invalid ones buried.
    pub(super) fn run(&mut self, place: DeviceIndex, run: &Run) -> Result<(), Stop> {
        if let Processed::Refused(refusal, expected) = &run.processed
            && !self.is_retry
        {
            return self.set_aside(place, run, *refusal, expected);
        }
        let device = self.devices.get_mut(place).ok_or(OverLimit::Devices)?;
        let (routes, key_hash) = (self.routes, device.key_hash);
        let mut target = Target::of(routes, TopicId::READINGS, key_hash);
        let ledger = device.restarts.get_mut(&run.restart).ok_or(OverLimit::Devices)?;
        let Some(SchemaState::Known(channels)) = device.schemas.get(run.schema) else {
            // Without its channels a reading means nothing; it is kept encoded, for a redrive.
            let all = Poison::of(Reason::UnknownSchema, run.items_at, run.first..run.end);
            return self.bury_readings(place, run, all);
        };
        ledger.prepare_head(self.tenant, self.agent, run.device, run.restart);
        let fresh = ledger.is_fresh(run.first..run.end);
        let summarised = match &run.processed {
            Processed::Summary(summarised) => Some(*summarised),
            Processed::No | Processed::Refused(..) => None,
        };
        let mut streak = Streak::at(run.first, target);
        self.scratch.streaks.clear();
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
            if target.topic != channel.topic {
                target = Target::of(routes, channel.topic, key_hash);
            }
            let Scratch { value, key, .. } = &mut *self.scratch;
            let (fields, at) = (&channel.fields, Sequence(sequence));
            match target.format {
                // No route leads to a topic of messages.
                Format::Avro | Format::Raw => {
                    let id = if summarised.is_some() { summary_schema(target.schema_id) } else { target.schema_id };
                    reading::encode(value, &ledger.head, id, at, fields, stamp, item.value, heals);
                    if let Some(summarised) = summarised {
                        summarised.append(value);
                    }
                }
                Format::Json => {
                    let identity = (self.tenant, self.agent, run.device, run.restart, at);
                    reading::encode_json(value, identity, fields, stamp, item.value, heals, summarised);
                }
            }
            target.key(key, run.device, fields);
            staged = self.group.append(target.log, record_time(stamp, self.arrival).as_millis(), Some(key), value);
            if staged.is_err() {
                break;
            }
            if let Some(full) = streak.take(sequence, target, heals) {
                self.scratch.streaks.push(full);
            }
        }
        self.scratch.streaks.extend(streak.end());

        for Streak { target: Target { log, topic, .. }, range, heals } in self.scratch.streaks.drain(..) {
            ledger.pending.insert(range.clone());
            self.logs.insert(log);
            let effect = Effect::Stored { restart: run.restart, topic, range, heals };
            self.group.moves.push(Move { log, device: place, effect });
        }
        self.counters.repeats.add(repeats);
        staged?;
        self.bury_readings(place, run, poison)
    }
}

/// Where readings of a device go, and how.
#[derive(Clone, Copy, Debug)]
struct Target {
    topic: TopicId,
    log: usize,
    format: Format,
    schema_id: u32,
    compact: bool,
}

impl Target {
    fn of(routes: &Routes, topic: TopicId, key_hash: u32) -> Self {
        let definition = routes.definition(topic);
        Self {
            topic,
            log: routes.log(topic, key_hash),
            format: definition.format,
            schema_id: definition.schema_id,
            compact: definition.compact,
        }
    }

    /// Replaces `key` by that of a record: of the device, or of the channel where the last value of each is kept.
    fn key(&self, key: &mut Vec<u8>, device: DeviceId, channel: &ChannelFields) {
        key.clear();
        key.extend_from_slice(device.as_bytes());
        if self.compact {
            key.push(b'/');
            key.extend_from_slice(channel.names().0.as_bytes());
        }
    }
}

/// Consecutive sequences that are stored in one log, and how many of them heal.
#[derive(Debug)]
pub(super) struct Streak {
    target: Target,
    range: Range<u64>,
    heals: u64,
}

impl Streak {
    fn at(sequence: u64, target: Target) -> Self {
        Self { target, range: sequence..sequence, heals: 0 }
    }

    /// Takes a sequence in; gives back the streak that this one does not follow on.
    fn take(&mut self, sequence: u64, target: Target, heals: bool) -> Option<Self> {
        let follows = self.range.end == sequence && self.target.log == target.log;
        let before = (!follows).then(|| std::mem::replace(self, Self::at(sequence, target)));
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

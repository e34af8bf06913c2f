//! A device with channels of several kinds, and what a queue holds of it, by name.

use std::collections::BTreeMap;

use weir_agent::queue::records::Found;
use weir_agent::queue::{Key, Queue};
use weir_protocol::batch::{LossKind, ReadingRun, Section, describe};
use weir_protocol::serial::device_to_agent::{Describe, Hello, Readings, Ring};
use weir_protocol::serial::{Held, Up};
use weir_protocol::{
    Channel, ChannelId, Clock, DeviceId, Items, RangeSet, Reading, Restart, SchemaHash, Sequence, Value, ValueKind,
    items,
};
use weir_storage::ReadError;

use super::NOON;

/// `temperature` (float, Cel), `count` (integer, 1), `door` (text), `pressure` (double, hPa).
pub(crate) const TEMPERATURE: u16 = 0;
pub(crate) const COUNT: u16 = 1;
pub(crate) const DOOR: u16 = 2;
pub(crate) const PRESSURE: u16 = 3;

pub(crate) struct Sensor {
    pub(crate) device: DeviceId,
    channels: Vec<u8>,
    bytes: Vec<u8>,
}

/// A reading that many milliseconds behind noon.
pub(crate) fn at(millis: i64, channel: u16, value: Value<'static>) -> Reading<'static> {
    let time = NOON.plus_micros(millis * 1000);
    Reading { channel: ChannelId(channel), time, clock: Clock::Synchronised, value }
}

impl Sensor {
    pub(crate) fn new(name: &str) -> Self {
        let channel = |id, name, unit, kind| Channel { id: ChannelId(id), name, unit, kind, resolution: 0.0 };
        let mut channels = Vec::new();
        for channel in [
            channel(TEMPERATURE, "temperature", "Cel", ValueKind::Float),
            channel(COUNT, "count", "1", ValueKind::Integer),
            channel(DOOR, "door", "1", ValueKind::Text),
            channel(PRESSURE, "pressure", "hPa", ValueKind::Double),
        ] {
            items::push(&mut channels, &channel);
        }
        Self { device: super::device(name), channels, bytes: Vec::new() }
    }

    pub(crate) fn schema(&self) -> SchemaHash {
        SchemaHash::of(Items::new(&self.channels))
    }

    pub(crate) fn hello(&mut self, ring: Ring, held: &[(Restart, u64, u64)]) -> Up<'_> {
        let schema = self.schema();
        self.bytes.clear();
        for (restart, base, next) in held {
            let (base, next) = (Sequence(*base), Sequence(*next));
            items::push(&mut self.bytes, &Held { restart: *restart, schema, base, next });
        }
        Up::Hello(Hello { device: self.device, schema, ring, held: Items::new(&self.bytes) })
    }

    pub(crate) fn describe(&self) -> Up<'_> {
        Up::Describe(Describe { schema: self.schema(), channels: Items::new(&self.channels) })
    }

    /// Readings from `first` on, of a ring `[base, next)`.
    pub(crate) fn says(
        &mut self,
        restart: Restart,
        (base, next): (u64, u64),
        first: u64,
        readings: &[Reading<'_>],
    ) -> Up<'_> {
        let schema = self.schema();
        self.bytes.clear();
        readings.iter().for_each(|reading| items::push(&mut self.bytes, reading));
        let (base, next, first) = (Sequence(base), Sequence(next), Sequence(first));
        Up::Readings(Readings { restart, schema, base, next, first, readings: Items::new(&self.bytes) })
    }
}

/// One reading as a consumer sees it: `temperature Cel 21.5`.
pub(crate) type Seen = String;

/// What the records of a queue say, whatever their class.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Fates {
    /// Readings, by restart and sequence.
    pub(crate) passed: BTreeMap<(Restart, u64), Seen>,
    /// Readings that are refused, and what was expected.
    pub(crate) refused: BTreeMap<(Restart, u64), (Seen, String)>,
    /// Claims, by restart and kind.
    pub(crate) claimed: BTreeMap<(Restart, LossKind), RangeSet>,
    pub(crate) summaries: Vec<Summarised>,
    /// Records in windows.
    pub(crate) held: u64,
}

/// A summary.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Summarised {
    pub(crate) of: Restart,
    pub(crate) ranges: RangeSet,
    pub(crate) under: Restart,
    pub(crate) first: u64,
    pub(crate) readings: Vec<Seen>,
}

impl Fates {
    pub(crate) fn of(queue: &Queue) -> Self {
        let mut fates = Self::default();
        for class in queue.ids() {
            let walked = queue.log(class).walk(0..u64::MAX, |found| -> Result<(), ReadError> {
                match found {
                    Found::Entry(entry) => fates.take(queue, &entry.section),
                    Found::Held(..) => fates.held += 1,
                    Found::Unreadable(offsets) => panic!("{offsets:?} cannot be read"),
                }
                Ok(())
            });
            walked.expect("a readable queue");
        }
        fates
    }

    pub(crate) fn take(&mut self, queue: &Queue, section: &Section<'_>) {
        match section {
            Section::Readings(run) => self.passed.extend(seen(queue, run)),
            Section::SetAside(aside) => {
                let readings = seen(queue, &aside.run).into_iter();
                self.refused.extend(readings.map(|(at, seen)| (at, (seen, aside.expected.to_owned()))));
            }
            Section::Claim(claim) => {
                let ranges = self.claimed.entry((claim.restart, claim.kind)).or_default();
                ranges.insert(claim.start.0..claim.end.0);
            }
            Section::Summary(summary) => {
                let ranges: RangeSet = summary.ranges.iter().flatten().map(|held| held.start.0..held.end.0).collect();
                if summary.run.count == 0 {
                    self.claimed.entry((summary.of, LossKind::Reduced)).or_default().union(&ranges);
                    return;
                }
                self.summaries.push(Summarised {
                    of: summary.of,
                    ranges,
                    under: summary.run.restart,
                    first: summary.run.first.0,
                    readings: seen(queue, &summary.run).into_values().collect(),
                });
            }
            Section::End(_) | Section::Position(_) => {}
        }
    }

    /// The readings of a restart that pass, as `sequence: reading`.
    pub(crate) fn lines(&self, restart: Restart) -> Vec<String> {
        let own = self.passed.iter().filter(|((of, _), _)| *of == restart);
        own.map(|((_, sequence), seen)| format!("{sequence}: {seen}")).collect()
    }

    /// The sequences of a restart that rules left out.
    pub(crate) fn reduced(&self, restart: Restart) -> Vec<std::ops::Range<u64>> {
        self.claimed
            .get(&(restart, LossKind::Reduced))
            .into_iter()
            .flat_map(|set| set.iter().collect::<Vec<_>>())
            .collect()
    }
}

fn seen(queue: &Queue, run: &ReadingRun<'_>) -> BTreeMap<(Restart, u64), Seen> {
    let state = queue.state();
    let state = state.lock();
    let payload = state.descriptions.get(run.device, run.schema).expect("readings are never without their description");
    let description = describe::decode(payload).expect("a good one");
    let one = |(sequence, reading): (Sequence, Reading<'_>)| {
        let channel = description.channels.iter().flatten().find(|channel| channel.id == reading.channel);
        let channel = channel.expect("a described channel");
        assert_eq!(channel.kind, reading.value.kind(), "{} has a value of its kind", channel.name);
        let value = match reading.value {
            Value::Float(value) => value.to_string(),
            Value::Double(value) => value.to_string(),
            Value::Integer(value) => value.to_string(),
            Value::Boolean(value) => value.to_string(),
            Value::Text(value) => value.to_owned(),
        };
        ((run.restart, sequence.0), format!("{} {} {value}", channel.name, channel.unit))
    };
    run.iter().map(|item| one(item.expect("a good reading"))).collect()
}

/// The key of a restart of a sensor.
pub(crate) fn key(sensor: &Sensor, restart: Restart) -> Key {
    (sensor.device, restart)
}

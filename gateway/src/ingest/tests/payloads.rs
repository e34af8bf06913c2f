//! Payloads as an agent makes them, and some that none should make.

use weir_protocol::batch::describe::{self, Description};
use weir_protocol::batch::section::RunItem;
use weir_protocol::batch::{
    Claim, EnvelopeBuilder, Held, LossKind, Position, ReadingRun, RestartEnd, RunBuilder, Section,
};
use weir_protocol::items::{self, Items};
use weir_protocol::{
    Channel, ChannelId, Clock, DeviceId, Reading, Restart, SchemaHash, Sequence, Timestamp, Value, ValueKind,
};

use super::ARRIVAL;

/// The channels of every device here.
pub(super) const CHANNELS: [Channel<'static>; 5] = [
    channel(0, "temperature", "Cel", ValueKind::Float),
    channel(1, "pressure", "Pa", ValueKind::Double),
    channel(2, "count", "1", ValueKind::Integer),
    channel(3, "door", "1", ValueKind::Boolean),
    channel(4, "state", "1", ValueKind::Text),
];

const fn channel(id: u16, name: &'static str, unit: &'static str, kind: ValueKind) -> Channel<'static> {
    Channel { id: ChannelId(id), name, unit, kind, resolution: 0.5 }
}

fn encoded_channels() -> Vec<u8> {
    let mut bytes = Vec::new();
    CHANNELS.iter().for_each(|channel| items::push(&mut bytes, channel));
    bytes
}

pub(super) fn schema() -> SchemaHash {
    SchemaHash::of(Items::new(&encoded_channels()))
}

pub(super) fn description(device: DeviceId) -> Vec<u8> {
    let channels = encoded_channels();
    describe::encode(&Description { device, schema: schema(), channels: Items::new(&channels) })
}

/// A description with channels of its own; its schema.
pub(super) fn description_of(device: DeviceId, channels: &[Channel<'_>]) -> (SchemaHash, Vec<u8>) {
    let mut bytes = Vec::new();
    channels.iter().for_each(|channel| items::push(&mut bytes, channel));
    let channels = Items::new(&bytes);
    let schema = SchemaHash::of(channels);
    (schema, describe::encode(&Description { device, schema, channels }))
}

pub(super) fn device(name: &str) -> DeviceId {
    DeviceId::new(name).unwrap()
}

/// What is sampled at a sequence: every kind of value, and no two alike among its neighbours.
pub(super) fn sample(sequence: u64) -> Reading<'static> {
    const STATES: [&str; 3] = ["open", "closed", "ajar"];
    let value = match sequence % 5 {
        0 => Value::Float(sequence as f32 / 4.0),
        1 => Value::Double(sequence as f64 * 1.5),
        2 => Value::Integer(sequence as i64 - 1000),
        3 => Value::Boolean(sequence.is_multiple_of(2)),
        _ => Value::Text(STATES[(sequence % 3) as usize]),
    };
    Reading {
        channel: ChannelId((sequence % 5) as u16),
        time: Timestamp(ARRIVAL.0 - 1_000_000 + sequence as i64),
        clock: Clock::Synchronised,
        value,
    }
}

/// A run of samples with the poison on some sequences.
pub(super) fn run_with(
    device: DeviceId,
    restart: u64,
    sequences: std::ops::Range<u64>,
    poison: impl Fn(u64) -> Option<Reading<'static>>,
) -> RunBuilder {
    let mut run = RunBuilder::new(device, Restart(restart), schema(), Sequence(sequences.start));
    for sequence in sequences {
        run.push(&poison(sequence).unwrap_or_else(|| sample(sequence)));
    }
    run
}

pub(super) fn batch_of(sections: &[Section<'_>]) -> Vec<u8> {
    let mut envelope = EnvelopeBuilder::new();
    sections.iter().for_each(|section| envelope.push(section));
    envelope.finish(true)
}

/// A batch with one run of samples.
pub(super) fn batch(device: DeviceId, restart: u64, sequences: std::ops::Range<u64>) -> Vec<u8> {
    batch_of(&[run_with(device, restart, sequences, |_| None).section()])
}

pub(super) fn claim(
    device: DeviceId,
    restart: u64,
    sequences: std::ops::Range<u64>,
    kind: LossKind,
) -> Section<'static> {
    let (start, end) = (Sequence(sequences.start), Sequence(sequences.end));
    Section::Claim(Claim { device, restart: Restart(restart), kind, start, end })
}

pub(super) fn end(device: DeviceId, restart: u64, from: u64) -> Section<'static> {
    Section::End(RestartEnd { device, restart: Restart(restart), from: Sequence(from) })
}

/// A batch that says how far an agent has come with a restart, and what of it the agent holds.
pub(super) fn position(device: DeviceId, restart: u64, accepted: std::ops::Range<u64>, held: &[(u64, u64)]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for (start, end) in held {
        items::push(&mut encoded, &Held { start: Sequence(*start), end: Sequence(*end) });
    }
    let (from, upto) = (Sequence(accepted.start), Sequence(accepted.end));
    let held = Items::new(&encoded);
    batch_of(&[Section::Position(Position { device, restart: Restart(restart), from, upto, held })])
}

/// A reading that no description allows.
pub(super) fn unknown_channel(sequence: u64) -> Reading<'static> {
    Reading { channel: ChannelId(99), ..sample(sequence) }
}

/// A reading that is not a number.
pub(super) fn not_a_number(sequence: u64) -> Reading<'static> {
    Reading { channel: ChannelId(0), value: Value::Float(f32::NAN), ..sample(sequence) }
}

/// A batch whose manifest is good and whose body is not.
pub(super) fn damaged_body(mut batch: Vec<u8>) -> Vec<u8> {
    if let Some(last) = batch.last_mut() {
        *last ^= 0x40;
    }
    batch
}

/// A batch whose run says `count` readings and has those `items`, which need not be so many.
pub(super) fn run_of_items(device: DeviceId, first: u64, count: u32, items: &[u8]) -> Vec<u8> {
    batch_of(&[Section::Readings(ReadingRun {
        device,
        restart: Restart(1),
        schema: schema(),
        first: Sequence(first),
        count,
        start: ARRIVAL,
        readings: Items::<RunItem<'_>>::new(items),
    })])
}

/// An encoded good reading of channel 2.
pub(super) fn item() -> Vec<u8> {
    let mut bytes = Vec::new();
    let item = RunItem { channel: ChannelId(2), delta: 0, clock: Clock::Synchronised, value: Value::Integer(7) };
    items::push(&mut bytes, &item);
    bytes
}

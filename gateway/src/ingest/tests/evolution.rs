//! Stories of descriptions that change, and random ones with restarts: the verdicts follow from the order of
//! `weir.describe`, whatever happens.
//!
//! `WEIR_SEED=17` replays one run; `WEIR_SEEDS=3000` makes that many, else there are 100.

use std::collections::BTreeMap;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use weir_protocol::batch::RunBuilder;
use weir_protocol::{
    Channel, ChannelId, Clock, DeviceId, Reading, Restart, SchemaHash, Sequence, Timestamp, Value as Sample, ValueKind,
};
use weir_storage::FaultyFs;
use weir_storage::LogOptions;
use weir_storage::fs::Fault;

use super::super::checkpoint::version_1;
use super::super::devices::SchemaState;
use super::super::{IngestOptions, Reason, Verdict};
use super::log_content::LogContent;
use super::payloads::*;
use super::{ARRIVAL, Gateway, Peer};
use crate::record::Value;
use crate::schemas::evolution::Compatibility;
use crate::topics::TopicId;

const KINDS: [ValueKind; 5] =
    [ValueKind::Float, ValueKind::Double, ValueKind::Integer, ValueKind::Boolean, ValueKind::Text];

const NAMES: [&str; 4] = ["temperature", "pressure", "count", "door"];

const fn channel(id: u16, unit: &'static str, kind: ValueKind) -> Channel<'static> {
    Channel { id: ChannelId(id), name: NAMES[id as usize], unit, kind, resolution: 0.5 }
}

const BEFORE: [Channel<'static>; 2] = [channel(0, "Cel", ValueKind::Float), channel(1, "Pa", ValueKind::Double)];
const AFTER: [Channel<'static>; 2] = [channel(0, "K", ValueKind::Float), channel(1, "Pa", ValueKind::Double)];

/// A value of a kind.
fn value(kind: ValueKind) -> Sample<'static> {
    match kind {
        ValueKind::Float => Sample::Float(1.5),
        ValueKind::Double => Sample::Double(1.5),
        ValueKind::Integer => Sample::Integer(3),
        ValueKind::Boolean => Sample::Boolean(true),
        ValueKind::Text => Sample::Text("open"),
    }
}

/// One reading of each of these channels.
fn readings(device: DeviceId, schema: SchemaHash, first: u64, channels: &[Channel<'_>]) -> Vec<u8> {
    let mut run = RunBuilder::new(device, Restart(1), schema, Sequence(first));
    for Channel { id, kind, .. } in channels {
        let (channel, time, value) = (*id, Timestamp(ARRIVAL.0), value(*kind));
        run.push(&Reading { channel, time, clock: Clock::Synchronised, value });
    }
    batch_of(&[run.section()])
}

fn options(compatibility: Compatibility) -> IngestOptions {
    IngestOptions { compatibility, ..IngestOptions::default() }
}

/// Describes channels and sends a reading of each, from `first` on; the verdict on the readings.
fn measure(gateway: &mut Gateway, agent: &mut Peer, first: u64, channels: &[Channel<'_>]) -> Verdict {
    let (schema, description) = description_of(device("probe"), channels);
    gateway.describe(agent, description);
    gateway.send(agent, readings(device("probe"), schema, first, channels));
    gateway.settle();
    agent.verdicts()[1]
}

fn stored(gateway: &Gateway) -> Vec<u64> {
    LogContent::sequences(&gateway.content().readings, device("probe"), 1)
}

/// A gateway whose probe said Celsius, and then Kelvin under the same id.
fn changed() -> (Gateway, Peer) {
    let mut gateway = Gateway::with(options(Compatibility::Strict));
    let mut agent = gateway.connect("agent");
    assert_eq!(measure(&mut gateway, &mut agent, 0, &BEFORE), Verdict::Stored);
    let changed = measure(&mut gateway, &mut agent, 2, &AFTER);
    assert_eq!(changed, Verdict::DeadLettered(Reason::UnitChanged));
    (gateway, agent)
}

#[test]
fn a_channel_whose_unit_changed_is_buried_and_the_others_flow() {
    let (mut gateway, mut agent) = changed();
    assert_eq!(stored(&gateway), [0, 1, 3], "pressure goes on");
    let content = gateway.content();
    assert_eq!(content.letters[0].0, "unit-changed");
    content.assert_conserved();

    // What the first description said and comes late is as good as it was; so is a return to it.
    let (schema, _) = description_of(device("probe"), &BEFORE);
    gateway.send(&mut agent, readings(device("probe"), schema, 4, &BEFORE));
    gateway.settle();
    assert_eq!(agent.verdicts(), [Verdict::Stored]);
    let renamed = [Channel { name: "heat", resolution: 0.1, ..BEFORE[0] }, channel(2, "1", ValueKind::Integer)];
    assert_eq!(
        measure(&mut gateway, &mut agent, 6, &renamed),
        Verdict::Stored,
        "a new name, a channel less and one more"
    );
    let wider = [channel(2, "1", ValueKind::Double), channel(1, "Pa", ValueKind::Float)];
    let narrowed = measure(&mut gateway, &mut agent, 8, &wider);
    assert_eq!(narrowed, Verdict::DeadLettered(Reason::KindNarrowed), "of the one that came back");
    assert_eq!(stored(&gateway), [0, 1, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn the_verdict_is_the_same_from_the_log_and_from_a_checkpoint() {
    let (mut gateway, _) = changed();
    for with_checkpoint in [false, true] {
        if with_checkpoint {
            gateway.checkpoint();
        }
        gateway = gateway.power_cut(options(Compatibility::Strict));
        if with_checkpoint {
            assert_eq!(gateway.report.records_read, 0, "all of it is in the checkpoint");
        }
        let mut agent = gateway.connect("other");
        let first = if with_checkpoint { 20 } else { 10 };
        let again = measure(&mut gateway, &mut agent, first, &AFTER);
        assert_eq!(again, Verdict::DeadLettered(Reason::UnitChanged));
        assert_eq!(measure(&mut gateway, &mut agent, first + 2, &BEFORE), Verdict::Stored);
    }
}

/// Of a device with several schemas, version 1 of a checkpoint does not say which came first; the log does.
#[test]
fn a_checkpoint_of_version_1_opens_and_the_order_comes_from_the_log() {
    // In the order of their hashes, and the other way round: one of them is not the order in which they were described.
    for channels in [[BEFORE, AFTER], [AFTER, BEFORE]] {
        let mut gateway = Gateway::with(options(Compatibility::Strict));
        let mut agent = gateway.connect("agent");
        measure(&mut gateway, &mut agent, 0, &channels[0]);
        measure(&mut gateway, &mut agent, 2, &channels[1]);
        gateway.checkpoint();
        let (topic, end) = (gateway.topics.get(TopicId::DESCRIBE), 2);
        let partition = topic.partitions().iter().position(|found| found.reader().end_offset() == end).unwrap();
        let dir = format!("/data/topics/weir.describe/{partition}");
        let probe = &gateway.engine.devices.all()[0];
        let (place, identity) = ((partition as u32, end), (probe.tenant, probe.id));
        let schemas = probe.known_schemas().collect();
        version_1::store_descriptions(&gateway.fs, Path::new(&dir), place, identity, schemas);

        let mut gateway = gateway.power_cut(options(Compatibility::Strict));
        let mut agent = gateway.connect("other");
        let second = measure(&mut gateway, &mut agent, 10, &channels[1]);
        assert_eq!(second, Verdict::DeadLettered(Reason::UnitChanged));
        assert_eq!(measure(&mut gateway, &mut agent, 12, &channels[0]), Verdict::Stored);
    }
}

#[test]
fn once_every_change_is_taken_a_redrive_stores_what_was_refused() {
    let (gateway, _) = changed();
    let mut gateway = gateway.power_cut(options(Compatibility::None));
    let (sender, format, original) = gateway.content().origins.remove(0);
    let mut retry = gateway.connect_retry(sender);
    gateway.retry(&mut retry, format, original);
    gateway.settle();
    assert_eq!(retry.verdicts(), [Verdict::Stored]);
    assert_eq!(stored(&gateway), [0, 1, 2, 3]);
    gateway.content().assert_conserved();

    // Judged again, it is judged as if it had never been otherwise.
    let mut gateway = gateway.power_cut(options(Compatibility::Strict));
    let mut agent = gateway.connect("agent");
    let again = measure(&mut gateway, &mut agent, 10, &AFTER);
    assert_eq!(again, Verdict::DeadLettered(Reason::UnitChanged));
}

/// The readings in Kelvin stay what they are; the device that says Celsius again is welcome.
#[test]
fn a_device_that_is_described_as_it_was_flows_again() {
    let (mut gateway, mut agent) = changed();
    let right = [BEFORE[0], BEFORE[1], channel(2, "1", ValueKind::Integer)];
    assert_eq!(measure(&mut gateway, &mut agent, 4, &right), Verdict::Stored);
    let (sender, format, original) = gateway.content().origins.remove(0);
    let mut retry = gateway.connect_retry(sender);
    gateway.retry(&mut retry, format, original);
    gateway.settle();
    assert_eq!(retry.verdicts(), [Verdict::DeadLettered(Reason::UnitChanged)]);
    assert_eq!(gateway.content().letters.len(), 1, "and it is not buried twice");
}

/// What the log says about each channel of each schema, by the rules as a consumer would check them.
fn expected(gateway: &Gateway) -> BTreeMap<(DeviceId, SchemaHash, ChannelId), Option<Reason>> {
    let mut verdicts = BTreeMap::new();
    let mut known: BTreeMap<(DeviceId, ChannelId), (String, ValueKind)> = BTreeMap::new();
    for partition in gateway.topics.get(TopicId::DESCRIBE).partitions() {
        let mut at = partition.reader().start_offset();
        while at < partition.reader().end_offset() {
            let chunk = partition.reader().read(at, 1 << 20).unwrap();
            for record in chunk.records() {
                let Value::Description(said) = Value::decode(record.unwrap().value.unwrap()).unwrap() else { panic!() };
                for channel in said.channels {
                    let id = (said.device, channel.id);
                    let verdict = known.get(&id).and_then(|(unit, kind)| broken(unit, *kind, &channel));
                    if verdict.is_none() {
                        known.insert(id, (channel.unit.to_owned(), channel.kind));
                    }
                    verdicts.insert((said.device, said.schema, channel.id), verdict);
                }
            }
            at = chunk.next_offset;
        }
    }
    verdicts
}

fn broken(unit: &str, kind: ValueKind, channel: &Channel<'_>) -> Option<Reason> {
    let width = |kind| match kind {
        ValueKind::Integer => Some(0),
        ValueKind::Float => Some(1),
        ValueKind::Double => Some(2),
        ValueKind::Boolean | ValueKind::Text => None,
    };
    if unit != channel.unit {
        return Some(Reason::UnitChanged);
    }
    match (width(kind), width(channel.kind)) {
        (Some(was), Some(is)) => (is < was).then_some(Reason::KindNarrowed),
        _ => (kind != channel.kind).then_some(Reason::KindChanged),
    }
}

/// What the gateway decides about each.
fn decided(gateway: &Gateway) -> BTreeMap<(DeviceId, SchemaHash, ChannelId), Option<Reason>> {
    let mut verdicts = BTreeMap::new();
    for device in gateway.engine.devices.all() {
        for (schema, state) in device.schemas.iter() {
            let SchemaState::Known(channels) = state else { continue };
            for channel in channels.iter() {
                let verdict = channels.check(channel.id, value(channel.kind)).err();
                verdicts.insert((device.id, schema, channel.id), verdict);
            }
        }
    }
    verdicts
}

#[test]
fn whatever_happens_the_verdicts_follow_from_the_order_of_the_log() {
    for seed in super::property::seeds(100) {
        println!("WEIR_SEED={seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let small = || IngestOptions {
            partitions: 2,
            log: LogOptions { segment_bytes: 512, ..IngestOptions::default().log },
            ..options(Compatibility::Strict)
        };
        let mut gateway = Gateway::on(FaultyFs::new(seed), small());
        for _ in 0..random.random_range(20..80) {
            match random.random_range(0..20) {
                0..12 => {
                    let mut agent = gateway.connect(["north", "south"][random.random_range(0..2)]);
                    let device = device(["probe", "gauge"][random.random_range(0..2)]);
                    let channels: Vec<_> = (0..random.random_range(1..4))
                        .map(|id| {
                            let kind = KINDS[random.random_range(0..KINDS.len())];
                            channel(id, ["Cel", "K"][usize::from(random.random_range(0..4) == 0)], kind)
                        })
                        .collect();
                    let (_, description) = description_of(device, &channels);
                    gateway.describe(&mut agent, description);
                }
                12..16 => {
                    gateway.commit();
                    let _ = gateway.keep();
                }
                16 => gateway.fs.fail_once(if random.random() { Fault::Sync } else { Fault::Write }),
                17 => {
                    gateway.engine.snapshot_all();
                    let _ = gateway.keep();
                }
                _ => {
                    if random.random() {
                        gateway.fs.fail_power_after(random.random_range(0..10));
                        gateway.commit();
                        let _ = gateway.keep();
                    }
                    gateway = gateway.power_cut(small());
                    assert_eq!(decided(&gateway), expected(&gateway), "after a restart");
                }
            }
        }
        gateway = gateway.power_cut(small());
        assert_eq!(decided(&gateway), expected(&gateway), "at the end");
    }
}

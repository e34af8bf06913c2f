//! Stories of topics that routes lead to: a reading is in one of them, whatever the settings said when, and S is what all of
//! them hold.

use std::path::Path;

use weir_protocol::batch::LossKind;
use weir_storage::{Fs, LogOptions, Mode};

use super::super::checkpoint;
use super::super::keeper::{Removal, Waits};
use super::super::{IngestOptions, Retention, Verdict};
use super::log_content::LogContent;
use super::payloads::*;
use super::{ARRIVAL, Gateway, Peer};
use crate::record::Value;
use crate::topics::layout::{Defined, LayoutError, Routing, partition_dir};
use crate::topics::rules::{Pattern, Route};
use crate::topics::{Format, TopicId};

pub(super) fn route(topic: &str, device: Option<&str>, channel: Option<&str>) -> Route {
    let pattern = |text: Option<&str>| text.map(|text| Pattern::new(text).unwrap());
    Route { topic: topic.into(), device: pattern(device), channel: pattern(channel), ..Route::default() }
}

/// One partition of small segments, and what a topic holds of a restart is known exactly in `most` ranges.
fn options(routing: Routing, most: usize) -> IngestOptions {
    let mut options = IngestOptions {
        partitions: 1,
        routing,
        log: LogOptions { segment_bytes: 4096, ..IngestOptions::default().log },
        ..IngestOptions::default()
    };
    options.limits.ranges_per_share = most;
    options
}

/// Three of five channels go to a topic of their own: neither it nor `readings` holds sequences in a row.
fn dealt_out() -> Routing {
    let defined = Defined { partitions: Some(3), ..Defined::default() };
    Routing {
        routes: vec![
            route("state", None, Some("state")),
            route("mix", None, Some("*o*")),
            route("mix", None, Some("pres*")),
        ],
        stores: Vec::new(),
        defined: [("mix".to_owned(), defined)].into(),
    }
}

fn agent(gateway: &mut Gateway) -> Peer {
    let mut agent = gateway.connect("agent");
    gateway.describe(&mut agent, description(device("probe")));
    agent
}

fn send(gateway: &mut Gateway, agent: &mut Peer, sequences: std::ops::Range<u64>) {
    for first in sequences.clone().step_by(10) {
        gateway.send(agent, batch(device("probe"), 1, first..(first + 10).min(sequences.end)));
        gateway.settle();
        gateway.keep().expect("writes");
    }
    assert!(agent.verdicts().iter().all(|verdict| *verdict == Verdict::Stored));
}

fn all_of(gateway: &Gateway) -> Vec<u64> {
    let content = gateway.content();
    content.assert_conserved();
    LogContent::sequences(&content.readings, device("probe"), 1)
}

/// The sequences in one topic.
fn within(gateway: &Gateway, topic: &str) -> Vec<u64> {
    let mut found = Vec::new();
    for partition in gateway.topics.named(topic).expect("is there").partitions() {
        let mut at = partition.reader().start_offset();
        while at < partition.reader().end_offset() {
            let chunk = partition.reader().read(at, 1 << 20).unwrap();
            for record in chunk.records().map(Result::unwrap) {
                let Ok(Value::Reading(reading)) = Value::decode(record.value.unwrap()) else { panic!("a reading") };
                found.push(reading.sequence.0);
            }
            at = chunk.next_offset;
        }
    }
    found.sort_unstable();
    found
}

/// How many readings of a resend are stored again.
fn stored_again(gateway: &mut Gateway, sequences: std::ops::Range<u64>) -> u64 {
    let before = gateway.counters.snapshot().readings;
    let mut agent = gateway.connect("agent");
    gateway.send(&mut agent, batch(device("probe"), 1, sequences));
    gateway.settle();
    assert_eq!(agent.verdicts(), [Verdict::Stored]);
    gateway.counters.snapshot().readings - before
}

fn log_of(gateway: &Gateway, topic: &str) -> usize {
    gateway
        .keeper
        .logs
        .iter()
        .position(|kept| *kept.topic == *topic && !kept.reader.segments().is_empty() && kept.reader.end_offset() > 0)
        .expect("has records")
}

#[test]
fn each_reading_is_in_the_topic_of_the_first_route_that_its_channel_matches() {
    let mut gateway = Gateway::with(options(dealt_out(), 1024));
    let mut agent = agent(&mut gateway);
    send(&mut gateway, &mut agent, 0..20);
    // Channels: temperature, pressure, count, door, state.
    let of = |rest: &[u64]| (0..20).filter(|sequence| rest.contains(&(sequence % 5))).collect::<Vec<_>>();
    assert_eq!(within(&gateway, "readings"), of(&[0]));
    assert_eq!(within(&gateway, "mix"), of(&[1, 2, 3]));
    assert_eq!(within(&gateway, "state"), of(&[4]));
    let mix = gateway.topics.named("mix").unwrap();
    assert_eq!((mix.partitions().len(), mix.schema_id()), (3, Some(101)));
    assert_eq!(stored_again(&mut gateway, 0..20), 0);
    let mut gateway = gateway.power_cut(options(dealt_out(), 1024));
    assert_eq!(stored_again(&mut gateway, 0..20), 0);
}

#[test]
fn a_topic_that_the_settings_no_longer_name_keeps_what_it_holds_and_gets_nothing_new() {
    let by_device = Routing { routes: vec![route("probes", Some("probe"), None)], ..Routing::default() };
    let mut gateway = Gateway::with(options(by_device.clone(), 1024));
    let mut peer = agent(&mut gateway);
    send(&mut gateway, &mut peer, 0..20);
    gateway.checkpoint();

    let mut gateway = gateway.power_cut(options(Routing::default(), 1024));
    assert_eq!(stored_again(&mut gateway, 0..20), 0, "S is what all topics hold");
    let mut peer = agent(&mut gateway);
    send(&mut gateway, &mut peer, 20..30);
    assert_eq!((within(&gateway, "probes"), within(&gateway, "readings")), ((0..20).collect(), (20..30).collect()));

    let mut gateway = gateway.power_cut(options(by_device, 1024));
    assert_eq!(stored_again(&mut gateway, 0..40), 10);
    assert_eq!(within(&gateway, "probes"), (0..20).chain(30..40).collect::<Vec<_>>());
    assert_eq!(gateway.topics.named("probes").unwrap().schema_id(), Some(100));
    assert_eq!(all_of(&gateway), (0..40).collect::<Vec<_>>());
}

#[test]
fn what_a_topic_was_made_with_is_fixed() {
    let with = |defined| Routing {
        routes: vec![route("probes", Some("probe"), None)],
        stores: Vec::new(),
        defined: [("probes".to_owned(), defined)].into(),
    };
    let made = Defined { partitions: Some(2), format: Some(Format::Json), ..Defined::default() };
    let gateway = Gateway::with(options(with(made.clone()), 1024));
    let fs = gateway.fs.power_cut();
    drop(gateway);
    let refused = |defined| match Gateway::started(fs.clone(), options(with(defined), 1024), 0) {
        Err(error @ (LayoutError::Partitions { .. } | LayoutError::Fixed { .. })) => error.to_string(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it opens"),
    };
    let count = "topic probes has 2 partitions, and the count is fixed: set topics.define.partitions = 2, got 3";
    assert_eq!(refused(Defined { partitions: Some(3), ..made.clone() }), count);
    assert!(
        refused(Defined { format: Some(Format::Avro), ..made.clone() }).contains("format = json, and that is fixed")
    );
    assert!(refused(Defined { compact: Some(true), ..made.clone() }).contains("compact = false, and that is fixed"));
    drop(Gateway::on(fs.clone(), options(with(made), 1024)));
    let gateway = Gateway::on(fs, options(with(Defined::default()), 1024));
    assert_eq!(gateway.topics.named("probes").unwrap().partitions().len(), 2, "what is not said is as it was");
}

#[test]
fn a_topic_of_states_has_a_key_for_each_channel_and_lies_where_its_device_does() {
    let defined = Defined { compact: Some(true), partitions: Some(3), ..Defined::default() };
    let routing = Routing {
        routes: vec![route("now", None, None)],
        stores: Vec::new(),
        defined: [("now".to_owned(), defined)].into(),
    };
    let mut gateway = Gateway::with(options(routing, 1024));
    let mut peer = agent(&mut gateway);
    send(&mut gateway, &mut peer, 0..10);
    let topic = gateway.topics.named("now").unwrap();
    assert!(topic.is_compacted());
    let used: Vec<_> = topic.partitions().iter().filter(|partition| partition.reader().end_offset() > 0).collect();
    assert_eq!(used.len(), 1, "all of a device in one partition");
    let chunk = used[0].reader().read(0, 1 << 20).unwrap();
    let keys: Vec<_> = chunk.records().map(|record| record.unwrap().key.unwrap().to_vec()).take(5).collect();
    assert_eq!(
        keys,
        ["probe/temperature", "probe/pressure", "probe/count", "probe/door", "probe/state"]
            .map(|key| key.as_bytes().to_vec())
    );
}

#[test]
fn values_of_a_json_topic_are_what_http_serves_and_recovery_reads_them() {
    let defined = Defined { format: Some(Format::Json), ..Defined::default() };
    let routing =
        Routing { routes: Vec::new(), stores: Vec::new(), defined: [("readings".to_owned(), defined)].into() };
    let mut gateway = Gateway::with(options(routing.clone(), 1024));
    let mut peer = agent(&mut gateway);
    send(&mut gateway, &mut peer, 0..10);
    let readings = gateway.topics.get(TopicId::READINGS);
    assert_eq!(readings.schema_id(), None);
    let chunk = readings.partitions()[0].reader().read(0, 1 << 20).unwrap();
    for record in chunk.records().map(Result::unwrap) {
        let raw: serde_json::Value = serde_json::from_slice(record.value.unwrap()).expect("JSON");
        let page = crate::http::page::render(0, &record);
        assert_eq!(raw, page["value"]);
    }
    assert_eq!(all_of(&gateway), (0..10).collect::<Vec<_>>());
    // No checkpoint: every record is read.
    let mut gateway = gateway.power_cut(options(routing, 1024));
    assert_eq!(stored_again(&mut gateway, 0..10), 0);
}

/// Sequences that are dealt out to several topics would take a range for each reading: beyond a bound the checkpoints say
/// more than their log holds, and never what is not stored.
#[test]
fn coarse_checkpoints_say_nothing_that_is_not_stored() {
    let mut gateway = Gateway::with(options(dealt_out(), 4));
    let mut peer = agent(&mut gateway);
    // Every seventh batch never comes.
    for first in (0..300).step_by(10).filter(|first| first % 70 != 30) {
        send(&mut gateway, &mut peer, first..first + 10);
    }
    let stored = all_of(&gateway);
    gateway.checkpoint();
    let mut coarse = 0;
    for kept in &gateway.keeper.logs {
        for offset in checkpoint::list(&gateway.fs, &kept.dir).unwrap() {
            let found = checkpoint::load(&gateway.fs, &kept.dir, offset).unwrap();
            for records in found.state.devices.values() {
                let said = records.restarts.values().flat_map(|sequences| sequences.ranges.iter().flatten());
                assert!(said.into_iter().all(|sequence| stored.contains(&sequence)), "{} {offset}", kept.topic);
            }
            coarse += u32::from(found.state.has_coarse());
        }
    }
    assert!(coarse >= 3, "{coarse}");
    let mut gateway = gateway.power_cut(options(dealt_out(), 4));
    assert_eq!(gateway.report.records_read, 0);
    assert_eq!(gateway.report.readings, stored.len() as u64);
    assert_eq!(stored_again(&mut gateway, 0..300), 300 - stored.len() as u64);
    assert_eq!(all_of(&gateway), (0..300).collect::<Vec<_>>());
}

#[test]
fn what_retention_removed_from_any_topic_is_still_a_repeat() {
    for most in [4, 1024] {
        let keeping =
            || IngestOptions { retention: Retention { bytes: Some(12_000), age: None }, ..options(dealt_out(), most) };
        let mut gateway = Gateway::with(keeping());
        let mut peer = agent(&mut gateway);
        // Every seventh batch never comes.
        let (mut sent, mut holes) = (0, Vec::new());
        for first in (0..1500).step_by(10) {
            match first % 70 {
                30 => holes.push(first),
                _ => {
                    send(&mut gateway, &mut peer, first..first + 10);
                    sent += 10;
                }
            }
        }
        assert!(gateway.retain().iter().all(Result::is_ok));
        let left = all_of(&gateway).len();
        assert!(left + 200 < sent, "{left} of {sent}");
        assert_eq!(gateway.counters.snapshot().readings, sent as u64);
        // Neither checkpoint of any log is good: what was removed is still known, and the rest is read.
        for kept in &gateway.keeper.logs {
            for offset in checkpoint::list(&gateway.fs, &kept.dir).unwrap() {
                if offset != kept.reader.start_offset() {
                    assert!(gateway.fs.flip_bit(&kept.dir.join(format!("ranges-{offset:020}")), 60, 1));
                }
            }
        }
        let mut gateway = gateway.power_cut(keeping());
        assert_eq!(gateway.report.readings, sent as u64, "at most {most} ranges");
        for hole in holes {
            assert_eq!(stored_again(&mut gateway, hole..hole + 10), 10, "at most {most} ranges");
        }
        assert_eq!(stored_again(&mut gateway, 0..1500), 0);
    }
}

#[test]
fn damage_is_told_by_identity_while_shares_are_exact_else_by_offsets() {
    for most in [4, 1024] {
        let mut gateway = Gateway::with(options(dealt_out(), most));
        let mut peer = agent(&mut gateway);
        send(&mut gateway, &mut peer, 0..200);
        gateway.checkpoint();
        let log = log_of(&gateway, "mix");
        let path = gateway.keeper.logs[log].dir.join(format!("{:020}.log", 0));
        assert!(gateway.fs.flip_bit(&path, 100, 3));
        let told = gateway.count_damage(log).expect("reads");
        let lost = LogContent::sequences(&gateway.content().lost, device("probe"), 1);
        assert_eq!(lost.len() as u64, told);
        match most {
            4 => assert_eq!((told, gateway.unnamed > 0), (0, true)),
            _ => {
                assert!(told > 0 && gateway.unnamed == 0);
                assert!(lost.iter().all(|sequence| [1, 2, 3].contains(&(sequence % 5))), "{lost:?}");
                let mut gateway = gateway.power_cut(options(dealt_out(), most));
                assert_eq!(stored_again(&mut gateway, 0..200), told, "and a later delivery heals");
                assert_eq!(all_of(&gateway), (0..200).collect::<Vec<_>>());
            }
        }
    }
}

/// The coarse checkpoint of one topic may say what another one held, whose own share is exact. It would go on saying what
/// was counted as damaged there, so nothing is: the offsets are told.
#[test]
fn where_one_share_is_coarse_the_damage_of_another_topic_is_told_by_offsets_too() {
    let routing = Routing { routes: vec![route("state", None, Some("state"))], ..Routing::default() };
    let with = || options(routing.clone(), 6);
    let mut gateway = Gateway::with(with());
    let mut peer = agent(&mut gateway);
    // Six readings in six pieces are exact in `state`; `readings` has one piece more.
    send(&mut gateway, &mut peer, 0..30);
    gateway.send(&mut peer, batch(device("probe"), 1, 31..32));
    gateway.settle();
    gateway.checkpoint();
    let log = log_of(&gateway, "state");
    let path = gateway.keeper.logs[log].dir.join(format!("{:020}.log", 0));
    assert!(gateway.fs.flip_bit(&path, 100, 3));
    assert_eq!(gateway.count_damage(log), Ok(0));
    assert!(gateway.unnamed > 0);
    let mut gateway = gateway.power_cut(with());
    assert_eq!(stored_again(&mut gateway, 0..30), 0, "as long as anything says that it is stored, it is");
}

/// The end of one topic was lost to a flipped bit, and nothing of its own says so: the checkpoint of another one saw it end
/// later.
#[test]
fn a_log_that_was_cut_is_noticed_by_the_coarse_checkpoint_of_another() {
    let mut gateway = Gateway::with(options(dealt_out(), 4));
    let mut peer = agent(&mut gateway);
    send(&mut gateway, &mut peer, 0..100);
    let cut = log_of(&gateway, "state");
    for log in (0..gateway.keeper.logs.len()).filter(|log| *log != cut) {
        gateway.engine.ask_snapshot(log, 7);
        let time = gateway.time();
        let mut asked = gateway.engine.step_snapshots();
        while asked.is_empty() {
            asked = gateway.engine.step_snapshots();
        }
        gateway.keeper.write(&asked[0], time).expect("writes");
    }
    let fs = gateway.fs.power_cut();
    let path = gateway.keeper.logs[cut].dir.join(format!("{:020}.log", 0));
    drop(gateway);
    let size = fs.open(&path, Mode::Read).unwrap().size().unwrap();
    assert!(fs.flip_bit(&path, size - 1, 0));
    let gateway = Gateway::on(fs, options(dealt_out(), 4));
    // The disk lists topics in another order than the settings did.
    let cut = gateway.report.partitions.iter().position(|found| found.topic == "state").unwrap();
    let found = &gateway.report.partitions[cut];
    assert!(found.is_cut && found.unnamed_offsets > 0, "{found:?}");
    assert!(gateway.report.damaged_logs().contains(&cut));
}

/// Losses may go once no checkpoint of readings needs them; a topic that gets nothing any more must not hold them for ever.
#[test]
fn losses_wait_for_the_checkpoints_of_every_topic_of_readings() {
    let keeping =
        || IngestOptions { retention: Retention { bytes: Some(8192), age: None }, ..options(dealt_out(), 1024) };
    let mut gateway = Gateway::with(keeping());
    let mut peer = agent(&mut gateway);
    send(&mut gateway, &mut peer, 0..50);
    gateway.checkpoint();
    for restart in 2..400 {
        gateway.send(&mut peer, batch_of(&[claim(device("probe"), restart, 0..3, LossKind::Ring)]));
        gateway.settle();
        gateway.keep().expect("writes");
    }
    let loss = gateway.keeper.logs.iter().position(|kept| &*kept.topic == "weir.loss").unwrap();
    let Ok(Removal::Waiting(Waits::Readings(first))) = gateway.retain()[loss] else { panic!("waits") };
    assert_ne!(&*gateway.keeper.logs[first].topic, "weir.loss");
    // What the keeper's thread does then, until nobody is waited for.
    let mut waited = Vec::new();
    while let Ok(Removal::Waiting(Waits::Readings(log))) = gateway.retain()[loss] {
        gateway.engine.ask_snapshot(log, 1);
        let asked = gateway.engine.step_snapshots().pop().expect("one step is enough");
        let time = gateway.time();
        gateway.keeper.write(&asked, time).expect("writes");
        waited.push(gateway.keeper.logs[log].topic.to_string());
        assert!(waited.len() < 10, "it comes to an end");
    }
    waited.sort_unstable();
    assert_eq!(waited, ["mix", "readings", "state"]);
    assert!(gateway.keeper.logs[loss].reader.start_offset() > 0);
    let mut gateway = Gateway::started(gateway.fs.power_cut(), keeping(), ARRIVAL.as_millis()).unwrap();
    assert_eq!(stored_again(&mut gateway, 0..50), 0);
}

#[test]
fn a_damaged_catalog_costs_nothing() {
    let with = || options(dealt_out(), 1024);
    let mut gateway = Gateway::with(with());
    let mut peer = agent(&mut gateway);
    send(&mut gateway, &mut peer, 0..20);
    let ids = |gateway: &Gateway| ["mix", "state"].map(|name| gateway.topics.named(name).unwrap().schema_id());
    let before = ids(&gateway);
    assert!(gateway.fs.flip_bit(Path::new("/data/topics/weir.catalog"), 20, 1));
    let mut gateway = gateway.power_cut(with());
    assert_eq!(ids(&gateway), before);
    assert_eq!(stored_again(&mut gateway, 0..20), 0);
    assert!(gateway.fs.flip_bit(&partition_dir(Path::new("/data"), "mix", 0).with_file_name("topic"), 20, 1));
    assert_eq!(ids(&gateway.power_cut(with())), before);
}

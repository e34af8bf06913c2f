//! Sequences that the rules of an agent left out: settled as stored ones are, over restarts, checkpoints and damage.

use std::ops::Range;

use weir_protocol::batch::{Held, LossKind, RunBuilder, Section, Summary};
use weir_protocol::{Items, RangeSet, Restart, SchemaHash, Sequence, Tenant, items};
use weir_storage::{FaultyFs, Fs, LogOptions, Mode};

use super::super::checkpoint::{self, Body, Head};
use super::super::devices::Devices;
use super::super::rows::Rows;
use super::super::snapshots::{Snapshot, Snapshots};
use super::super::{IngestOptions, Limits, RestartRow, Retention, Verdict};
use super::keeping::{checkpoint_path, checkpoints, dir};
use super::log_content::LogContent;
use super::payloads::*;
use super::{Gateway, Peer};
use crate::schemas::evolution::Compatibility;
use crate::topics::TopicId;
use crate::topics::routes::Routes;

/// Small segments, and shares of more than eight ranges are coarse.
fn options() -> IngestOptions {
    let mut options = IngestOptions {
        partitions: 1,
        log: LogOptions { segment_bytes: 4096, ..IngestOptions::default().log },
        ..IngestOptions::default()
    };
    options.limits.ranges_per_share = 8;
    options
}

/// What rules left out, many ranges in one section.
fn left_out(ranges: &[Range<u64>]) -> Vec<Vec<u8>> {
    let encode = |ranges: &[Range<u64>]| {
        let mut encoded = Vec::new();
        let held = |range: &Range<u64>| Held { start: Sequence(range.start), end: Sequence(range.end) };
        ranges.iter().for_each(|range| items::push(&mut encoded, &held(range)));
        encoded
    };
    ranges.chunks(250).map(encode).collect()
}

/// Of two channels that take turns in these sequences one is stored, at the even ones, and one is left out.
fn turns(stored: Range<u64>, reduced: Range<u64>) -> Vec<u8> {
    let probe = device("probe");
    let runs: Vec<_> = stored.step_by(2).map(|at| run_with(probe, 1, at..at + 1, |_| None)).collect();
    let ranges: Vec<_> = reduced.skip(1).step_by(2).map(|at| at..at + 1).collect();
    let encoded = left_out(&ranges);
    let nothing = RunBuilder::new(probe, Restart(1), SchemaHash(0), Sequence(0));
    let summaries = encoded
        .iter()
        .map(|ranges| Section::Summary(Summary { of: Restart(1), ranges: Items::new(ranges), run: nothing.run() }));
    let sections: Vec<_> = runs.iter().map(RunBuilder::section).chain(summaries).collect();
    batch_of(&sections)
}

fn reduced(range: Range<u64>) -> Vec<u8> {
    batch_of(&[claim(device("probe"), 1, range, LossKind::Reduced)])
}

fn begun(options: IngestOptions) -> (Gateway, Peer) {
    let mut gateway = Gateway::with(options);
    let mut agent = gateway.connect("agent");
    gateway.describe(&mut agent, description(device("probe")));
    gateway.settle();
    agent.verdicts();
    (gateway, agent)
}

fn send(gateway: &mut Gateway, payload: Vec<u8>) -> Verdict {
    let mut agent = gateway.connect("agent");
    gateway.send(&mut agent, payload);
    gateway.settle();
    gateway.keep().expect("writes");
    agent.verdicts().pop().expect("a verdict")
}

/// What the read model is told about restart 1.
fn row(gateway: &Gateway) -> RestartRow {
    let rows = Rows::default().take(&gateway.engine.devices);
    rows.into_iter().find(|row| row.restart == Restart(1)).expect("it is known")
}

/// Next, stored, reduced and lost.
fn counts(gateway: &Gateway) -> (u64, u64, u64, u64) {
    let RestartRow { next, stored, reduced, lost, .. } = row(gateway);
    (next, stored, reduced, lost)
}

/// How many ranges are held for restart 1, its shares included.
fn held(gateway: &Gateway) -> usize {
    let ledger = &gateway.engine.devices.all()[0].restarts[&Restart(1)];
    ledger.cost() + ledger.shares.range_count()
}

fn lost(gateway: &Gateway) -> Vec<u64> {
    LogContent::sequences(&gateway.content().lost, device("probe"), 1)
}

/// Past what a gateway would hold of ranges, even of a device that goes on in order.
#[test]
fn channels_that_take_turns_are_never_too_many_pieces() {
    const STEP: u64 = 2_000;
    const STEPS: u64 = 140;
    /// So many steps later what was left out is said: it waited, or a window was open.
    const LATE: u64 = 5;
    let options = || IngestOptions { partitions: 1, ..IngestOptions::default() };
    let most = options().limits;
    let (mut gateway, mut agent) = begun(options());
    for step in 0..STEPS + LATE {
        let stored = step.min(STEPS) * STEP..(step + 1).min(STEPS) * STEP;
        let late = step.checked_sub(LATE).map_or(0..0, |step| step * STEP..(step + 1) * STEP);
        gateway.send(&mut agent, turns(stored, late));
        gateway.settle();
        gateway.keep().expect("writes");
        assert_eq!(agent.verdicts(), [Verdict::Stored], "step {step}");
        let open = (STEP * (LATE + 1) / 2) as usize;
        assert!(held(&gateway) <= open + 2 * most.ranges_per_share + 8, "step {step}: {} ranges", held(&gateway));
        if step % 50 == 25 {
            // From the checkpoint of a clean stop, and from the records behind an older one.
            if step % 100 == 25 {
                gateway.checkpoint();
            }
            let before = row(&gateway);
            gateway = gateway.power_cut(options());
            assert_eq!(row(&gateway), before, "step {step}");
            agent = gateway.connect("agent");
        }
    }
    let all = STEPS * STEP;
    assert!(all as usize > 4 * most.ranges_per_restart);
    let mut gateway = gateway.power_cut(options());
    assert_eq!(counts(&gateway), (all, all / 2, all / 2, 0));
    assert_eq!((gateway.report.readings, gateway.report.reduced, gateway.report.lost), (all / 2, all / 2, 0));
    // All of it is a repeat, what was left out as well.
    assert_eq!(send(&mut gateway, batch(device("probe"), 1, all - 1_000..all)), Verdict::Stored);
    assert_eq!(gateway.counters.snapshot().repeats, 1_000);
}

/// At 1,000 readings/s a quarter of an hour; what commits, checkpoints and starts do to the ledger, without the records.
#[test]
fn a_million_turns_take_as_much_memory_as_a_thousand_over_checkpoints_and_starts() {
    const ALL: u64 = 1_000_000;
    let limits = Limits::default();
    let routes = begun(IngestOptions { partitions: 1, ..IngestOptions::default() }).0.topics;
    let routes = Routes::of(&routes);
    let (losses, probe) = (routes.log(TopicId::LOSS, 0), (Tenant::DEFAULT, device("probe")));
    let fresh = || Devices::new(limits, Compatibility::default(), 1);
    let mut devices = fresh();
    for first in (0..ALL).step_by(500) {
        let place = devices.enter(probe.0, probe.1).expect("room");
        let range = first..first + 500;
        devices.ledger(place, Restart(1), range.clone()).expect("few ranges");
        for sequence in range.clone().step_by(2) {
            devices.store(place, Restart(1), TopicId::READINGS, sequence..sequence + 1);
        }
        let left_out: RangeSet = range.skip(1).step_by(2).map(|sequence| sequence..sequence + 1).collect();
        devices.settle(place, Restart(1), &left_out);
        let ledger = devices.ledger_mut(place, Restart(1)).expect("it is known");
        assert_eq!((ledger.cost(), ledger.readings(), ledger.reduced), (1, (first + 500) / 2, (first + 500) / 2));
        assert!(ledger.shares.range_count() <= 2 * limits.ranges_per_share);
        if first % 50_000 == 0 {
            let mut snapshots = Snapshots::default();
            for log in [0, losses] {
                snapshots.begin(Snapshot::of(log, 1, Vec::new(), None), &devices, &routes);
            }
            snapshots.step(&devices, &routes, &[1; 4]);
            let files = snapshots.take_done();
            assert!(files.iter().all(|file| file.body.len() < 10_000), "a small file");
            devices = fresh();
            for file in files {
                let (_, state) = checkpoint::decode_state(&file.body).expect("reads");
                devices.absorb(&routes, file.log, state);
            }
        }
    }
}

#[test]
fn whatever_comes_for_what_was_left_out_is_a_repeat() {
    let (mut gateway, _) = begun(options());
    let probe = device("probe");
    for _ in 0..2 {
        assert_eq!(send(&mut gateway, reduced(0..4)), Verdict::Stored);
        let bad = run_with(probe, 1, 1..3, |sequence| Some(not_a_number(sequence)));
        let ring = claim(probe, 1, 0..4, LossKind::Ring);
        for payload in [batch(probe, 1, 0..4), batch_of(&[bad.section()]), batch_of(&[ring])] {
            assert_eq!(send(&mut gateway, payload), Verdict::Stored);
        }
        assert_eq!(counts(&gateway), (4, 0, 4, 0));
        gateway = gateway.power_cut(options());
    }
    let content = gateway.content();
    assert!(content.readings.is_empty() && content.dead.is_empty(), "{content:?}");
    assert!(content.lost.values().all(|kind| kind == "reduced"), "{:?}", content.lost);
    content.assert_conserved();
}

/// Only the verdict that came first counts.
#[test]
fn what_was_lost_or_stored_before_is_not_left_out() {
    let (mut gateway, _) = begun(options());
    let probe = device("probe");
    send(&mut gateway, batch_of(&[claim(probe, 1, 0..3, LossKind::Unaccounted)]));
    send(&mut gateway, batch(probe, 1, 3..5));
    send(&mut gateway, reduced(0..8));
    for _ in 0..2 {
        assert_eq!(counts(&gateway), (8, 2, 3, 3));
        gateway.checkpoint();
        gateway = gateway.power_cut(options());
    }
    gateway.content().assert_conserved();
}

/// A gateway that stored 2 x `count` turns, a few a batch: exact as long as they are few.
fn filled(options: IngestOptions, count: u64) -> Gateway {
    let (mut gateway, _) = begun(options);
    for first in (0..2 * count).step_by(10) {
        assert_eq!(send(&mut gateway, turns(first..first + 10, first..first + 10)), Verdict::Stored);
    }
    gateway
}

/// Whichever checkpoints of the losses are bad, what was left out is left out and counted.
#[test]
fn the_count_is_exact_whichever_checkpoint_it_comes_from() {
    for bad in 0..4_usize {
        let mut gateway = filled(options(), 500);
        let kept = checkpoints(&gateway, TopicId::LOSS, 0);
        assert!(kept.len() >= 2, "{kept:?}");
        for (at, offset) in kept.iter().rev().enumerate().filter(|(at, _)| bad >> at & 1 == 1) {
            let spoilt = gateway.fs.flip_bit(&checkpoint_path(TopicId::LOSS, 0, *offset), 60, 1);
            assert!(spoilt, "checkpoint {at} from behind");
        }
        for _ in 0..2 {
            gateway = gateway.power_cut(options());
            assert_eq!(counts(&gateway), (1000, 500, 500, 0), "bad: {bad:#b}");
        }
        assert_eq!(send(&mut gateway, turns(0..1000, 0..1000)), Verdict::Stored);
        assert_eq!((gateway.counters.snapshot().readings, gateway.counters.snapshot().reduced), (0, 0), "{bad:#b}");
    }
}

/// Losses in front of their checkpoint are read again where a checkpoint of readings is older: nothing is counted twice.
#[test]
fn losses_that_are_read_again_count_once() {
    let mut gateway = filled(options(), 200);
    let losses = |gateway: &Gateway| gateway.topics.get(TopicId::LOSS).partitions()[0].reader().end_offset();
    // The readings have no checkpoint behind this, the losses have.
    gateway.checkpoint();
    let first = losses(&gateway);
    for first in (400..440).step_by(2) {
        send(&mut gateway, reduced(first..first + 1));
    }
    // Behind the one log of readings.
    gateway.engine.ask_snapshot(1, 7);
    gateway.keep().expect("writes");
    assert_eq!(checkpoints(&gateway, TopicId::LOSS, 0).pop(), Some(losses(&gateway)));
    let gateway = gateway.power_cut(options());
    assert!(gateway.report.records_read >= losses(&gateway) - first, "they were read");
    assert_eq!(counts(&gateway), (439, 200, 220, 0));
}

#[test]
fn retention_of_the_losses_forgets_nothing_that_was_left_out() {
    let keeping = || IngestOptions { retention: Retention { bytes: Some(16 << 10), age: None }, ..options() };
    let mut gateway = filled(keeping(), 2_000);
    let start = |gateway: &Gateway| gateway.topics.get(TopicId::LOSS).partitions()[0].reader().start_offset();
    gateway.checkpoint();
    for _ in 0..3 {
        gateway.retain();
    }
    assert!(start(&gateway) > 0, "segments are gone");
    // The checkpoint at the first offset says it in few ranges, and in a version that has words for it.
    let retired = checkpoint::load(&gateway.fs, &dir(TopicId::LOSS, 0), start(&gateway)).expect("reads");
    let said = retired.state.of((Tenant::DEFAULT, device("probe")), Restart(1)).expect("it is known");
    assert!(said.settled.is_coarse() && said.settled.ranges().range_count() <= 8, "{said:?}");
    let mut version = [0; 2];
    let path = checkpoint_path(TopicId::LOSS, 0, start(&gateway));
    gateway.fs.open(&path, Mode::Read).unwrap().read_at(&mut version, 4).expect("reads");
    assert_eq!(version, [0, 2]);
    // It says all of it, when the others are bad.
    let others = checkpoints(&gateway, TopicId::LOSS, 0).into_iter().skip(1);
    others.for_each(|offset| assert!(gateway.fs.flip_bit(&checkpoint_path(TopicId::LOSS, 0, offset), 60, 1)));
    let mut gateway = gateway.power_cut(keeping());
    assert_eq!(gateway.report.partitions[1].checkpoint, Some(start(&gateway)));
    assert_eq!(counts(&gateway), (4000, 2000, 2000, 0));
    assert_eq!(send(&mut gateway, turns(0..4000, 0..4000)), Verdict::Stored);
    assert_eq!(gateway.counters.snapshot().reduced, 0);
}

/// The first commit in the losses cannot be read any more: what it said is said once more, as what it was.
#[test]
fn damage_where_it_is_known_exactly_is_said_once_more_and_counts_once() {
    let (mut gateway, _) = begun(options());
    for first in [0, 10, 20] {
        send(&mut gateway, reduced(first..first + 5));
    }
    // Something behind it, so that it is no torn tail.
    send(&mut gateway, batch(device("probe"), 1, 30..200));
    assert!(gateway.fs.flip_bit(&dir(TopicId::LOSS, 0).join(format!("{:020}.log", 0)), 100, 3));
    for scrubbed in [5, 0] {
        assert_eq!(gateway.scrub(), scrubbed);
        assert_eq!(counts(&gateway), (200, 170, 15, 0));
        let content = gateway.content();
        assert_eq!(lost(&gateway), [0, 1, 2, 3, 4, 10, 11, 12, 13, 14, 20, 21, 22, 23, 24]);
        assert!(content.lost.values().all(|kind| kind == "reduced"), "{:?}", content.lost);
        gateway = gateway.power_cut(options());
        assert_eq!(counts(&gateway), (200, 170, 15, 0), "from the records");
        gateway.checkpoint();
    }
    gateway = gateway.power_cut(options());
    assert_eq!(counts(&gateway), (200, 170, 15, 0), "from the checkpoint");
}

/// Where it is known roughly, only the offsets can be told; nothing is taken in again.
#[test]
fn damage_where_it_is_known_roughly_is_told_by_offsets_and_nothing_comes_twice() {
    let mut gateway = filled(options(), 500);
    gateway.checkpoint();
    assert!(gateway.fs.flip_bit(&dir(TopicId::LOSS, 0).join(format!("{:020}.log", 0)), 100, 3));
    assert_eq!(gateway.scrub(), 0);
    assert!(gateway.unnamed > 0);
    let mut gateway = gateway.power_cut(options());
    assert_eq!(counts(&gateway), (1000, 500, 500, 0));
    assert_eq!(send(&mut gateway, turns(0..1000, 0..1000)), Verdict::Stored);
    assert_eq!(gateway.counters.snapshot().reduced, 0);
}

/// A flipped bit in the last commit of the losses looks like a torn tail. Coarse checkpoints of the readings know better.
#[test]
fn losses_that_were_cut_off_are_noticed() {
    let mut gateway = filled(options(), 500);
    gateway.checkpoint();
    // The one of the losses at their end is not there: only that of the readings saw how far they came.
    let fs: FaultyFs = gateway.fs.clone();
    let newest = checkpoints(&gateway, TopicId::LOSS, 0).pop().expect("one");
    checkpoint::remove(&fs, &dir(TopicId::LOSS, 0), newest).expect("removes");
    let log = gateway.topics.get(TopicId::LOSS).partitions()[0].reader().segments().last().unwrap().base_offset;
    let path = dir(TopicId::LOSS, 0).join(format!("{log:020}.log"));
    let survivor = gateway.fs.power_cut();
    drop(gateway);
    let size = survivor.open(&path, Mode::Read).unwrap().size().unwrap();
    assert!(survivor.flip_bit(&path, size - 1, 0));
    let mut gateway = Gateway::on(survivor, options());
    let report = &gateway.report.partitions[1];
    assert_eq!((&*report.topic, report.is_cut, report.unnamed_offsets), ("weir.loss", true, 1));
    assert_eq!(send(&mut gateway, turns(0..1000, 0..1000)), Verdict::Stored);
    assert_eq!(gateway.counters.snapshot().readings, 0, "nothing is stored twice");
}

/// Checkpoints of earlier builds have what was left out among the losses: there it stays, and a reading heals it.
#[test]
fn what_an_earlier_checkpoint_has_among_the_losses_stays_there() {
    let (mut gateway, _) = begun(options());
    for first in [0, 10, 20] {
        send(&mut gateway, reduced(first..first + 5));
    }
    let offset = 2;
    let mut body = Body::default();
    body.restart_of(Restart(1), &[0..5, 10..15].into_iter().collect(), false, (0, false));
    body.end_device((Tenant::DEFAULT, device("probe")));
    assert!(!body.names_ends(), "as version 1 has it");
    let head = Head { schema_id: 2, partition: 0, offset, losses: Vec::new(), ends: None, written_ms: 0 };
    let file = checkpoint::encode(&head, [], &body.finish());
    checkpoint::store(&gateway.fs, &dir(TopicId::LOSS, 0), offset, &file).expect("writes");
    let mut gateway = gateway.power_cut(options());
    assert_eq!(counts(&gateway), (25, 0, 5, 10));
    assert_eq!(send(&mut gateway, reduced(0..25)), Verdict::Stored);
    assert_eq!(send(&mut gateway, batch(device("probe"), 1, 0..5)), Verdict::Stored);
    for _ in 0..2 {
        assert_eq!(counts(&gateway), (25, 5, 15, 5));
        gateway.checkpoint();
        gateway = gateway.power_cut(options());
    }
    gateway.content().assert_conserved();
}

//! Stories of checkpoints and retention: what is not in the log any more is still known.

use std::time::Duration;

use weir_protocol::Restart;
use weir_protocol::batch::LossKind;
use weir_storage::LogOptions;
use weir_storage::fs::Fault;

use super::super::checkpoint;
use super::super::keeper::{Removal, Waits};
use super::super::{IngestOptions, Reason, Verdict};
use super::keeping::{checkpoint_path, checkpoints, dir};
use super::log_content::LogContent;
use super::payloads::*;
use super::{ARRIVAL, Gateway, Peer};
use crate::topics::{Retention, TopicId};

/// One partition of small segments.
fn options() -> IngestOptions {
    IngestOptions {
        partitions: 1,
        log: LogOptions { segment_bytes: 4096, ..IngestOptions::default().log },
        ..IngestOptions::default()
    }
}

fn keeping(bytes: u64) -> IngestOptions {
    IngestOptions { retention: Retention { bytes: Some(bytes), age: None }, ..options() }
}

/// A gateway whose agent has stored `readings` readings, ten a batch, with checkpoints as the log rolled.
fn filled(options: IngestOptions, readings: u64) -> (Gateway, Peer) {
    let mut gateway = Gateway::with(options);
    let mut agent = gateway.connect("agent");
    gateway.describe(&mut agent, description(device("probe")));
    send(&mut gateway, &mut agent, 0..readings);
    (gateway, agent)
}

fn send(gateway: &mut Gateway, agent: &mut Peer, sequences: std::ops::Range<u64>) {
    for first in sequences.clone().step_by(10) {
        gateway.send(agent, batch(device("probe"), 1, first..(first + 10).min(sequences.end)));
        gateway.settle();
        gateway.keep().expect("writes");
    }
    assert!(agent.verdicts().iter().all(|verdict| *verdict == Verdict::Stored));
}

fn readings(gateway: &Gateway) -> Vec<u64> {
    LogContent::sequences(&gateway.content().readings, device("probe"), 1)
}

fn dead(gateway: &Gateway) -> Vec<u64> {
    LogContent::sequences(&gateway.content().dead, device("probe"), 1)
}

fn start(gateway: &Gateway) -> u64 {
    gateway.topics.get(TopicId::READINGS).partitions()[0].reader().start_offset()
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

#[test]
fn a_start_reads_what_is_behind_the_checkpoint_and_knows_the_rest() {
    let (gateway, _) = filled(options(), 300);
    let newest = *checkpoints(&gateway, TopicId::READINGS, 0).last().unwrap();
    assert!((1..300).contains(&newest), "{newest}");
    let mut gateway = gateway.power_cut(options());
    assert_eq!(gateway.report.partitions[0].checkpoint, Some(newest));
    assert_eq!(gateway.report.readings, 300);
    // The description, and the readings behind the checkpoint.
    assert_eq!(gateway.report.records_read, 1 + 300 - newest);
    assert_eq!(stored_again(&mut gateway, 0..300), 0);
}

#[test]
fn after_a_clean_stop_a_start_reads_nothing() {
    let (mut gateway, mut agent) = filled(options(), 50);
    gateway
        .send(&mut agent, batch_of(&[claim(device("probe"), 1, 50..55, LossKind::Ring), end(device("probe"), 1, 55)]));
    gateway.send(&mut agent, batch_of(&[run_with(device("probe"), 1, 55..57, |s| Some(not_a_number(s))).section()]));
    gateway.describe(&mut agent, b"not a description".to_vec());
    gateway.settle();
    gateway.checkpoint();
    let mut gateway = gateway.power_cut(options());
    assert_eq!(gateway.report.records_read, 0);
    assert_eq!((gateway.report.readings, gateway.report.lost, gateway.report.dead_lettered), (50, 5, 2));

    let mut again = gateway.connect("agent");
    gateway.send(&mut again, batch(device("probe"), 1, 0..50));
    gateway
        .send(&mut again, batch_of(&[claim(device("probe"), 1, 40..55, LossKind::Ring), end(device("probe"), 1, 55)]));
    gateway.send(&mut again, batch_of(&[run_with(device("probe"), 1, 55..57, |s| Some(not_a_number(s))).section()]));
    gateway.describe(&mut again, b"not a description".to_vec());
    assert!(!gateway.commit(), "all of it is known: nothing is appended");
    assert_eq!(again.verdicts().len(), 4);
}

#[test]
fn the_state_of_a_checkpoint_is_that_of_the_roll_and_not_of_later() {
    let (mut gateway, mut agent) = filled(options(), 300);
    // A roll, and more commits before anything of its snapshot is encoded.
    while !gateway.engine.is_taking_snapshots() {
        let next = gateway.counters.snapshot().readings;
        gateway.send(&mut agent, batch(device("probe"), 1, next..next + 10));
        gateway.settle();
    }
    let next = gateway.counters.snapshot().readings;
    gateway.send(&mut agent, batch(device("probe"), 1, next..next + 10));
    gateway.settle();
    gateway.keep().unwrap();
    let newest = *checkpoints(&gateway, TopicId::READINGS, 0).last().unwrap();
    let found = checkpoint::load(&gateway.fs, &dir(TopicId::READINGS, 0), newest).unwrap();
    let ranges = &found.state.devices.values().next().unwrap().restarts[&Restart(1)].ranges;
    assert_eq!(ranges.iter().collect::<Vec<_>>(), std::iter::once(0..newest).collect::<Vec<_>>());
}

#[test]
fn a_bad_checkpoint_costs_reading_and_nothing_else() {
    for bad in [1, 2] {
        let (gateway, _) = filled(options(), 300);
        let kept = checkpoints(&gateway, TopicId::READINGS, 0);
        assert_eq!(kept.len(), 2);
        for offset in kept.iter().rev().take(bad) {
            assert!(gateway.fs.flip_bit(&checkpoint_path(TopicId::READINGS, 0, *offset), 60, 1));
        }
        let mut gateway = gateway.power_cut(options());
        let found = &gateway.report.partitions[0];
        assert_eq!(found.checkpoint, (bad == 1).then(|| kept[0]));
        assert_eq!(found.bad_checkpoints.len(), bad);
        assert_eq!(stored_again(&mut gateway, 0..300), 0);
    }
}

#[test]
fn retention_removes_whole_segments_and_what_was_in_them_is_still_a_repeat() {
    let (mut gateway, mut agent) = filled(keeping(20_000), 1000);
    assert!(gateway.retain().iter().all(Result::is_ok));
    let begins = start(&gateway);
    assert!(begins > 500, "{begins}");
    assert_eq!(readings(&gateway), (begins..1000).collect::<Vec<_>>());
    assert_eq!(checkpoints(&gateway, TopicId::READINGS, 0)[0], begins, "what was removed is on record");

    send(&mut gateway, &mut agent, 0..1000);
    assert_eq!(gateway.counters.snapshot().readings, 1000, "all of it is a repeat");
    let mut gateway = gateway.power_cut(keeping(20_000));
    assert_eq!(gateway.report.readings, 1000);
    assert_eq!(stored_again(&mut gateway, 0..1000), 0);
}

#[test]
fn a_reader_finishes_the_segment_that_retention_removes() {
    let (mut gateway, _) = filled(keeping(20_000), 1000);
    let reader = gateway.topics.get(TopicId::READINGS).partitions()[0].reader().clone();
    let before = reader.read(0, 1).expect("reads");
    gateway.retain();
    assert_eq!(before.records().count() as u64, before.next_offset);
    let refused = reader.read(before.next_offset, 1).expect_err("removed").to_string();
    assert!(refused.contains(&start(&gateway).to_string()), "{refused} names the first offset there is");
}

#[test]
fn retention_waits_until_the_older_checkpoint_covers_what_goes() {
    let (mut gateway, _) = filled(keeping(4096), 300);
    let kept = checkpoints(&gateway, TopicId::READINGS, 0);
    gateway.retain();
    assert_eq!(start(&gateway), kept[0], "not a segment more, although more is to go");
    assert_eq!(gateway.retain()[0], Ok(Removal::Waiting(Waits::Checkpoint)));

    // One that is bad covers nothing.
    let (mut gateway, _) = filled(keeping(4096), 300);
    assert!(gateway.fs.flip_bit(&checkpoint_path(TopicId::READINGS, 0, kept[0]), 50, 0));
    assert_eq!(gateway.retain()[0], Ok(Removal::Waiting(Waits::Checkpoint)));
    assert_eq!(start(&gateway), 0);
}

#[test]
fn all_checkpoints_but_the_one_of_what_was_removed_may_be_bad() {
    let (mut gateway, _) = filled(keeping(20_000), 1000);
    gateway.retain();
    for offset in checkpoints(&gateway, TopicId::READINGS, 0).into_iter().skip(1) {
        assert!(gateway.fs.flip_bit(&checkpoint_path(TopicId::READINGS, 0, offset), 60, 1));
    }
    let mut gateway = gateway.power_cut(keeping(20_000));
    assert_eq!(gateway.report.partitions[0].checkpoint, Some(start(&gateway)));
    assert_eq!(stored_again(&mut gateway, 0..1000), 0);
}

#[test]
fn without_any_checkpoint_what_lies_below_the_log_is_a_dead_letter_and_never_appended() {
    let (mut gateway, _) = filled(keeping(20_000), 1000);
    gateway.retain();
    let begins = start(&gateway);
    for offset in checkpoints(&gateway, TopicId::READINGS, 0) {
        assert!(gateway.fs.flip_bit(&checkpoint_path(TopicId::READINGS, 0, offset), 60, 1));
    }
    let mut gateway = gateway.power_cut(keeping(20_000));
    assert!(gateway.report.partitions[0].history_unknown);
    // Said by the next checkpoints too.
    for _ in 0..2 {
        let mut agent = gateway.connect("agent");
        gateway.send(&mut agent, batch(device("probe"), 1, begins - 10..begins + 10));
        gateway.send(&mut agent, batch(device("probe"), 1, 1000..1010));
        gateway.send(&mut agent, batch(device("probe"), 2, 0..10));
        gateway.settle();
        let unknown = Verdict::DeadLettered(Reason::HistoryUnknown);
        assert_eq!(agent.verdicts(), [unknown, Verdict::Stored, Verdict::Stored]);
        assert_eq!(dead(&gateway), (begins - 10..begins).collect::<Vec<_>>());
        assert_eq!(readings(&gateway), (begins..1010).collect::<Vec<_>>());
        gateway.checkpoint();
        gateway = gateway.power_cut(keeping(20_000));
        assert!(!gateway.report.partitions[0].history_unknown);
    }
}

#[test]
fn age_is_the_time_since_a_segment_was_closed_whatever_the_wall_clock_says() {
    const HOUR: Duration = Duration::from_secs(3600);
    const YEAR_MS: i64 = 365 * 24 * 3_600_000;
    for jump in [-YEAR_MS, 0, 10 * YEAR_MS] {
        let retention = Retention { bytes: None, age: Some(48 * HOUR) };
        let options = || IngestOptions { retention, ..options() };
        let (mut gateway, _) = filled(options(), 300);
        gateway.retain();
        gateway.pass(40 * HOUR);
        gateway.wall_ms += jump;
        gateway.retain();
        assert_eq!(start(&gateway), 0, "40 hours, and a jump by {jump} ms");
        gateway.checkpoint();

        // Over a restart the age goes on; a clock that is years ahead adds no more than a day.
        let fs = gateway.fs.power_cut();
        drop(gateway);
        let mut gateway = Gateway::started(fs, options(), ARRIVAL.as_millis() + jump).unwrap();
        gateway.retain();
        let aged = if jump > 0 { 64 } else { 40 };
        assert_eq!(start(&gateway) > 0, aged > 48, "{aged} hours");
        gateway.pass(9 * HOUR);
        gateway.retain();
        assert!(start(&gateway) > 0, "{} hours", aged + 9);
    }
}

#[test]
fn a_checkpoint_that_cannot_be_written_holds_retention_and_nothing_else() {
    for fault in [Fault::Write, Fault::Sync, Fault::SyncDir, Fault::Name] {
        let (mut gateway, mut agent) = filled(keeping(4096), 300);
        gateway.retain();
        let before = (start(&gateway), checkpoints(&gateway, TopicId::READINGS, 0));
        gateway.engine.snapshot_all();
        gateway.fs.fail_once(fault);
        assert!(gateway.keep().is_err(), "{fault:?}");
        gateway.send(&mut agent, batch(device("probe"), 1, 300..310));
        gateway.settle();
        assert_eq!(agent.verdicts().pop(), Some(Verdict::Stored), "commits go on");
        let found = checkpoints(&gateway, TopicId::READINGS, 0);
        assert!(before.1.iter().skip(1).all(|offset| found.contains(offset)), "{fault:?}: {found:?}, {before:?}");
        let mut gateway = gateway.power_cut(keeping(4096));
        assert_eq!(gateway.report.readings, 310);
        assert_eq!(stored_again(&mut gateway, 0..310), 0);
    }
}

#[test]
fn on_a_full_disk_retention_makes_room_all_the_same() {
    let (mut gateway, _) = filled(keeping(20_000), 1000);
    gateway.fs.set_capacity(Some(gateway.fs.used_bytes()));
    assert!(matches!(gateway.retain()[0], Ok(Removal::Upto(_))));
    gateway.fs.set_capacity(None);
    let mut gateway = gateway.power_cut(keeping(20_000));
    assert_eq!(stored_again(&mut gateway, 0..1000), 0);
}

/// A flipped bit in the last commit of a log looks like a torn tail. The checkpoint of a clean stop knows better.
#[test]
fn what_a_checkpoint_knows_and_the_log_lost_at_its_end_is_counted_and_heals() {
    let (mut gateway, _) = filled(options(), 20);
    gateway.checkpoint();
    let fs = gateway.fs.power_cut();
    drop(gateway);
    let log = dir(TopicId::READINGS, 0).join(format!("{:020}.log", 0));
    let size = weir_storage::Fs::open(&fs, &log, weir_storage::Mode::Read).unwrap().size().unwrap();
    assert!(fs.flip_bit(&log, size - 1, 0));

    let mut gateway = Gateway::on(fs, options());
    assert!(gateway.report.partitions[0].is_cut);
    assert_eq!(readings(&gateway), (0..10).collect::<Vec<_>>());
    assert_eq!(gateway.count_damage(0), Ok(10));
    assert_eq!(LogContent::sequences(&gateway.content().lost, device("probe"), 1), (10..20).collect::<Vec<_>>());
    let mut gateway = gateway.power_cut(options());
    assert_eq!(stored_again(&mut gateway, 0..20), 10);
    assert_eq!(readings(&gateway), (0..20).collect::<Vec<_>>());
    gateway.content().assert_conserved();
}

/// The offsets of what was cut off are given out again: a checkpoint that lies beyond the end must not speak for those.
#[test]
fn what_is_appended_where_the_log_was_cut_is_known_after_the_next_power_cut() {
    let (mut gateway, _) = filled(options(), 20);
    gateway.checkpoint();
    let fs = gateway.fs.power_cut();
    drop(gateway);
    let log = dir(TopicId::READINGS, 0).join(format!("{:020}.log", 0));
    let size = weir_storage::Fs::open(&fs, &log, weir_storage::Mode::Read).unwrap().size().unwrap();
    assert!(fs.flip_bit(&log, size - 1, 0));
    let mut gateway = Gateway::on(fs, options());
    assert_eq!(stored_again(&mut gateway, 20..25), 5);
    let mut gateway = gateway.power_cut(options());
    assert_eq!(stored_again(&mut gateway, 20..25), 0);
    gateway.content().assert_conserved();
}

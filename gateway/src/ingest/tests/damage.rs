//! Damage in the logs, told by identity, counted once, healed by a later delivery.

use weir_protocol::Restart;
use weir_protocol::batch::LossKind;
use weir_storage::{FaultyFs, LogOptions};

use super::super::{IngestOptions, Verdict};
use super::keeping::{checkpoint_path, checkpoints, dir};
use super::log_content::LogContent;
use super::payloads::*;
use super::{Gateway, Peer};
use crate::topics::{Retention, TopicId};

fn options() -> IngestOptions {
    IngestOptions {
        partitions: 1,
        log: LogOptions { segment_bytes: 4096, ..IngestOptions::default().log },
        ..IngestOptions::default()
    }
}

/// A gateway whose agent has stored `count` readings, ten a batch.
fn filled(options: IngestOptions, count: u64) -> (Gateway, Peer) {
    let mut gateway = Gateway::with(options);
    let mut agent = gateway.connect("agent");
    gateway.describe(&mut agent, description(device("probe")));
    for first in (0..count).step_by(10) {
        gateway.send(&mut agent, batch(device("probe"), 1, first..first + 10));
        gateway.settle();
        gateway.keep().expect("writes");
    }
    (gateway, agent)
}

/// Flips a bit of the first commit in a segment of a log.
fn damage(fs: &FaultyFs, topic: TopicId, base: u64) {
    assert!(fs.flip_bit(&dir(topic, 0).join(format!("{base:020}.log")), 100, 3));
}

fn lost(gateway: &Gateway) -> Vec<u64> {
    LogContent::sequences(&gateway.content().lost, device("probe"), 1)
}

fn readings(gateway: &Gateway) -> Vec<u64> {
    LogContent::sequences(&gateway.content().readings, device("probe"), 1)
}

fn send(gateway: &mut Gateway, payload: Vec<u8>) -> Verdict {
    let mut agent = gateway.connect("agent");
    gateway.send(&mut agent, payload);
    gateway.settle();
    agent.verdicts().pop().expect("a verdict")
}

fn restarted(gateway: Gateway, options: IngestOptions) -> Gateway {
    gateway.power_cut(options)
}

#[test]
fn damaged_readings_are_lost_once_over_restarts_too_and_a_later_delivery_heals_them() {
    let (gateway, _) = filled(options(), 300);
    damage(&gateway.fs, TopicId::READINGS, 0);
    // The checkpoint still says that they are stored.
    let mut gateway = restarted(gateway, options());
    assert_eq!(gateway.report.readings, 300);
    for _ in 0..2 {
        let sequences = gateway.scrub();
        assert_eq!(lost(&gateway), (0..10).collect::<Vec<_>>());
        let content = gateway.content();
        assert_eq!(content.lost[&(device("probe"), Restart(1), 3)], "damage");
        content.assert_conserved();
        gateway = restarted(gateway, options());
        assert!(sequences == 10 || gateway.counters.snapshot().damaged == 0, "counted once");
    }
    assert_eq!(send(&mut gateway, batch(device("probe"), 1, 0..300)), Verdict::Stored);
    assert_eq!(gateway.counters.snapshot().healed, 10);
    gateway.content().assert_conserved();
    // What healed is not damaged again.
    gateway.scrub();
    assert_eq!(gateway.counters.snapshot().damaged, 0);
    let mut gateway = restarted(gateway, options());
    gateway.scrub();
    assert_eq!(send(&mut gateway, batch(device("probe"), 1, 0..300)), Verdict::Stored);
    assert_eq!(gateway.counters.snapshot().readings, 0);
    gateway.content().assert_conserved();
}

#[test]
fn what_retention_removed_is_not_taken_for_damaged() {
    let keeping = || IngestOptions { retention: Retention { bytes: Some(20_000), age: None }, ..options() };
    let (mut gateway, _) = filled(keeping(), 1000);
    gateway.retain();
    let begins = checkpoints(&gateway, TopicId::READINGS, 0)[0];
    damage(&gateway.fs, TopicId::READINGS, begins);
    let mut gateway = restarted(gateway, keeping());
    assert_eq!(gateway.scrub(), 10);
    assert_eq!(lost(&gateway), (begins..begins + 10).collect::<Vec<_>>());
    assert_eq!(send(&mut gateway, batch(device("probe"), 1, 0..1000)), Verdict::Stored);
    assert_eq!(gateway.counters.snapshot().readings, 10);
}

#[test]
fn damage_in_a_segment_that_retention_removes_is_counted_all_the_same() {
    let keeping = || IngestOptions { retention: Retention { bytes: Some(20_000), age: None }, ..options() };
    let (mut gateway, _) = filled(keeping(), 1000);
    damage(&gateway.fs, TopicId::READINGS, 0);
    gateway.retain();
    assert_eq!(gateway.count_damage(0), Ok(10));
    assert_eq!(lost(&gateway), (0..10).collect::<Vec<_>>());
}

#[test]
fn without_the_checkpoint_of_what_was_removed_damage_is_not_told_by_identity() {
    let keeping = || IngestOptions { retention: Retention { bytes: Some(20_000), age: None }, ..options() };
    let (mut gateway, _) = filled(keeping(), 1000);
    gateway.retain();
    let begins = checkpoints(&gateway, TopicId::READINGS, 0)[0];
    assert!(gateway.fs.flip_bit(&checkpoint_path(TopicId::READINGS, 0, begins), 60, 1));
    damage(&gateway.fs, TopicId::READINGS, begins);
    let refused = gateway.count_damage(0).expect_err("unknown");
    assert!(refused.contains("what was removed"), "{refused}");
    assert!(lost(&gateway).is_empty());
}

/// After the newest checkpoint nobody but the agents knows what was there: their positions count it.
#[test]
fn damage_behind_the_checkpoints_is_counted_by_the_positions_of_the_agents() {
    let (gateway, _) = filled(options(), 30);
    assert!(checkpoints(&gateway, TopicId::READINGS, 0).is_empty());
    damage(&gateway.fs, TopicId::READINGS, 0);
    let mut gateway = restarted(gateway, options());
    assert_eq!(gateway.scrub(), 0);
    assert!(lost(&gateway).is_empty());
    assert_eq!(send(&mut gateway, position(device("probe"), 1, 0..30, &[])), Verdict::Stored);
    assert_eq!(lost(&gateway), (0..10).collect::<Vec<_>>());
    assert_eq!(gateway.content().lost[&(device("probe"), Restart(1), 3)], "unaccounted");
}

/// While the gateway runs it knows what it has stored since the last checkpoint, too.
#[test]
fn damage_that_shows_while_the_gateway_runs_is_told_by_identity_wherever_it_is() {
    let (mut gateway, _) = filled(options(), 30);
    damage(&gateway.fs, TopicId::READINGS, 0);
    assert_eq!(gateway.scrub(), 10);
    assert_eq!(lost(&gateway), (0..10).collect::<Vec<_>>());
    assert_eq!(readings(&gateway), (10..30).collect::<Vec<_>>());
}

/// Whichever record of a sequence is damaged, readings + dead letters + losses - heals stays one.
#[test]
fn a_sequence_counts_once_whichever_of_its_records_is_damaged() {
    const EVERY: [TopicId; 3] = [TopicId::READINGS, TopicId::DEAD_LETTER, TopicId::LOSS];
    for damaged in EVERY.into_iter().map(|topic| vec![topic]).chain([EVERY.to_vec(), EVERY[..2].to_vec()]) {
        let mut gateway = Gateway::with(options());
        let mut agent = gateway.connect("agent");
        let probe = device("probe");
        gateway.describe(&mut agent, description(probe));
        gateway.settle();
        // Lost, then a dead letter, then stored; and each of these alone.
        let bad = |range| batch_of(&[run_with(probe, 1, range, |s| Some(not_a_number(s))).section()]);
        for payload in [
            batch_of(&[claim(probe, 1, 0..6, LossKind::Ring)]),
            bad(0..4),
            bad(10..12),
            batch(probe, 1, 0..2),
            batch(probe, 1, 20..22),
            batch_of(&[claim(probe, 1, 30..33, LossKind::Reduced)]),
        ] {
            gateway.send(&mut agent, payload);
        }
        gateway.settle();
        let said = [0..6, 10..12, 20..22, 30..33];
        for topic in damaged.iter().rev() {
            damage(&gateway.fs, *topic, 0);
        }
        gateway.scrub();
        gateway.scrub();
        let content = gateway.content();
        content.assert_conserved();
        for sequence in said.clone().into_iter().flatten() {
            assert_eq!(content.count(&(probe, Restart(1), sequence)), 1, "{damaged:?}: sequence {sequence}");
        }
        // Everything comes once more and is stored, but for what rules left out.
        for range in said.clone() {
            assert_eq!(send(&mut gateway, batch(probe, 1, range)), Verdict::Stored);
        }
        let content = gateway.content();
        content.assert_conserved();
        let [.., left_out] = &said;
        let stored: Vec<_> = said[..3].iter().cloned().flatten().collect();
        assert_eq!(readings(&gateway), stored, "{damaged:?}");
        let kinds = left_out.clone().map(|sequence| &*content.lost[&(probe, Restart(1), sequence)]);
        assert_eq!(kinds.collect::<Vec<_>>(), ["reduced"; 3], "{damaged:?}");
    }
}

#[test]
fn a_failed_commit_of_what_was_damaged_counts_it_at_the_next_look() {
    let (mut gateway, _) = filled(options(), 30);
    damage(&gateway.fs, TopicId::READINGS, 0);
    gateway.fs.fail_once(weir_storage::fs::Fault::Sync);
    gateway.scrub();
    assert!(lost(&gateway).is_empty());
    assert_eq!(gateway.scrub(), 10);
    assert_eq!(lost(&gateway), (0..10).collect::<Vec<_>>());
    gateway.content().assert_conserved();
}

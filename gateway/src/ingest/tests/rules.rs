//! The rules of the gateway, one story each.

use weir_protocol::batch::{EnvelopeBuilder, LossKind};

use super::super::{Failure, IngestOptions, Limits, Reason, Verdict};
use super::log_content::LogContent;
use super::payloads::*;
use super::{Gateway, Peer};

/// A gateway that knows the device `probe`, and a connected agent.
fn gateway() -> (Gateway, Peer) {
    let mut gateway = Gateway::new();
    let mut agent = gateway.connect("agent");
    gateway.describe(&mut agent, description(device("probe")));
    gateway.settle();
    assert_eq!(agent.verdicts(), [Verdict::Stored]);
    (gateway, agent)
}

fn readings(content: &LogContent) -> Vec<u64> {
    LogContent::sequences(&content.readings, device("probe"), 1)
}

fn dead(content: &LogContent) -> Vec<u64> {
    LogContent::sequences(&content.dead, device("probe"), 1)
}

fn lost(content: &LogContent) -> Vec<u64> {
    LogContent::sequences(&content.lost, device("probe"), 1)
}

#[test]
fn the_verdict_comes_after_the_commit_and_consumers_see_it_before() {
    let (mut gateway, mut agent) = gateway();
    gateway.send(&mut agent, batch(device("probe"), 1, 0..10));
    let parts = gateway.engine.take_group().expect("a group");
    assert!(agent.verdicts().is_empty(), "nothing is promised yet");
    assert!(gateway.content().readings.is_empty(), "nothing is shown yet");

    gateway.finish(parts);
    assert_eq!(agent.verdicts(), [Verdict::Stored]);
    let content = gateway.content();
    assert_eq!(readings(&content), (0..10).collect::<Vec<_>>());
    for ((_, _, sequence), (value, heals)) in &content.readings {
        let sent = serde_json::to_value(sample_value(*sequence)).unwrap();
        assert_eq!((value, *heals), (&sent.to_string(), false), "sequence {sequence}");
    }
}

fn sample_value(sequence: u64) -> serde_json::Value {
    match sample(sequence).value {
        weir_protocol::Value::Float(value) => value.into(),
        weir_protocol::Value::Double(value) => value.into(),
        weir_protocol::Value::Integer(value) => value.into(),
        weir_protocol::Value::Boolean(value) => value.into(),
        weir_protocol::Value::Text(value) => value.into(),
    }
}

#[test]
fn a_repeat_is_answered_and_stored_once_whatever_its_batches() {
    let (mut gateway, mut agent) = gateway();
    for sequences in [0..10, 5..15, 0..15, 14..20] {
        gateway.send(&mut agent, batch(device("probe"), 1, sequences));
        gateway.settle();
        assert_eq!(agent.verdicts(), [Verdict::Stored]);
    }
    assert_eq!(readings(&gateway.content()), (0..20).collect::<Vec<_>>());
    assert_eq!(gateway.counters.snapshot().repeats, 5 + 15 + 1);
    gateway.content().assert_conserved();
}

#[test]
fn a_batch_that_carries_a_reading_twice_stores_it_once() {
    let (mut gateway, mut agent) = gateway();
    let [first, second] = [0..10, 5..15].map(|range| run_with(device("probe"), 1, range, |_| None));
    gateway.send(&mut agent, batch_of(&[first.section(), second.section()]));
    gateway.settle();
    assert_eq!(agent.verdicts(), [Verdict::Stored]);
    assert_eq!(readings(&gateway.content()), (0..15).collect::<Vec<_>>());
    gateway.content().assert_conserved();
}

#[test]
fn what_someone_else_has_appended_parks_until_its_commit() {
    let (mut gateway, mut agent) = gateway();
    let mut other = gateway.connect("other");
    gateway.send(&mut agent, batch(device("probe"), 1, 0..10));
    let parts = gateway.engine.take_group().expect("a group");
    gateway.send(&mut other, batch(device("probe"), 1, 5..10));
    gateway.send(&mut other, batch(device("probe"), 2, 0..3));
    assert!(gateway.engine.take_group().is_none(), "one group at a time");
    assert!(other.verdicts().is_empty(), "nothing is promised on another's commit");

    gateway.finish(parts);
    assert_eq!(agent.verdicts(), [Verdict::Stored]);
    assert_eq!(other.verdicts(), [Verdict::Stored], "nothing was missing, so nothing has to commit");
    gateway.settle();
    assert_eq!(other.verdicts(), [Verdict::Stored]);
    gateway.content().assert_conserved();
}

#[test]
fn a_claim_loses_exactly_what_nobody_has() {
    let (mut gateway, mut agent) = gateway();
    let probe = device("probe");
    gateway.send(&mut agent, batch(probe, 1, 10..20));
    gateway.settle();
    let own = run_with(probe, 1, 25..30, |_| None);
    gateway.send(&mut agent, batch_of(&[claim(probe, 1, 5..40, LossKind::Ring), own.section()]));
    gateway.send(&mut agent, batch_of(&[claim(probe, 1, 0..8, LossKind::Queue)]));
    gateway.settle();
    assert_eq!(agent.verdicts(), [Verdict::Stored; 3]);
    let content = gateway.content();
    assert_eq!(lost(&content), [0..5, 5..10, 20..25, 30..40].into_iter().flatten().collect::<Vec<_>>());
    assert_eq!(content.lost[&(probe, weir_protocol::Restart(1), 6)], "ring", "the first claim counts");
    assert_eq!(readings(&content), [10..20, 25..30].into_iter().flatten().collect::<Vec<_>>());
    content.assert_conserved();
}

#[test]
fn a_reading_that_comes_late_heals_its_loss_once() {
    let (mut gateway, mut agent) = gateway();
    let probe = device("probe");
    gateway.send(&mut agent, batch_of(&[claim(probe, 1, 0..10, LossKind::Unaccounted)]));
    gateway.settle();
    for _ in 0..2 {
        gateway.send(&mut agent, batch(probe, 1, 5..15));
        gateway.settle();
    }
    assert_eq!(agent.verdicts(), [Verdict::Stored; 3]);
    let content = gateway.content();
    let healing: Vec<_> = content.readings.iter().filter(|(_, (_, heals))| *heals).map(|(id, _)| id.2).collect();
    assert_eq!(healing, (5..10).collect::<Vec<_>>());
    assert_eq!(gateway.counters.snapshot().healed, 5);
    content.assert_conserved();
}

#[test]
fn poison_becomes_a_dead_letter_with_its_bytes_and_the_rest_is_stored() {
    let (mut gateway, mut agent) = gateway();
    let probe = device("probe");
    let poison = |sequence: u64| match sequence {
        2 | 3 | 7 => Some(unknown_channel(sequence)),
        5 => Some(not_a_number(sequence)),
        _ => None,
    };
    let run = run_with(probe, 1, 0..10, poison);
    let mut section = Vec::new();
    weir_protocol::items::push(&mut section, &run.section());
    for _ in 0..2 {
        gateway.send(&mut agent, batch_of(&[run.section()]));
        gateway.settle();
    }
    assert_eq!(
        agent.verdicts(),
        [Verdict::DeadLettered(Reason::UnknownChannel), Verdict::DeadLettered(Reason::UnknownChannel)]
    );

    let content = gateway.content();
    assert_eq!(readings(&content), [0, 1, 4, 6, 8, 9]);
    assert_eq!(dead(&content), [2, 3, 5, 7]);
    let reasons: Vec<_> = content.letters.iter().map(|(reason, ..)| reason.as_str()).collect();
    assert_eq!(reasons, ["unknown-channel", "not-finite"], "one letter for each reason");
    for (_, position, original) in &content.letters {
        assert_eq!(*original, section);
        let behind = &section[position.unwrap() as usize..];
        assert!(postcard_item(behind).is_some(), "the position is that of a reading");
    }
    content.assert_conserved();

    // The device is mended, its readings heal.
    gateway.send(&mut agent, batch(probe, 1, 0..10));
    gateway.settle();
    assert_eq!(readings(&gateway.content()), (0..10).collect::<Vec<_>>());
    gateway.content().assert_conserved();
}

fn postcard_item(bytes: &[u8]) -> Option<weir_protocol::batch::section::RunItem<'_>> {
    weir_protocol::Items::new(bytes).iter().next()?.ok()
}

#[test]
fn what_cannot_be_decoded_in_a_run_is_buried_from_there_on() {
    let (mut gateway, mut agent) = gateway();
    let good = item();
    let mut cut = good.repeat(4);
    cut.truncate(cut.len() - 1);
    gateway.send(&mut agent, run_of_items(device("probe"), 0, 6, &cut));
    gateway.settle();
    assert_eq!(agent.verdicts(), [Verdict::DeadLettered(Reason::UnreadableReading)]);
    let content = gateway.content();
    assert_eq!((readings(&content), dead(&content)), (vec![0, 1, 2], vec![3, 4, 5]));
    content.assert_conserved();
}

#[test]
fn more_bytes_than_readings_is_a_batch_that_contradicts_itself() {
    let (mut gateway, mut agent) = gateway();
    gateway.send(&mut agent, run_of_items(device("probe"), 0, 2, &item().repeat(3)));
    gateway.settle();
    assert_eq!(agent.verdicts(), [Verdict::DeadLettered(Reason::UnreadableReading)]);
    let content = gateway.content();
    assert_eq!((readings(&content), dead(&content)), (vec![0], vec![1]), "nobody knows where the last one ends");
}

#[test]
fn an_unreadable_body_buries_what_the_manifest_names() {
    let (mut gateway, mut agent) = gateway();
    let probe = device("probe");
    gateway.send(&mut agent, batch(probe, 1, 0..5));
    gateway.send(&mut agent, batch_of(&[claim(probe, 1, 5..7, LossKind::Ring)]));
    gateway.settle();
    let whole = batch(probe, 1, 0..10);
    let damaged = damaged_body(whole.clone());
    for _ in 0..2 {
        gateway.send(&mut agent, damaged.clone());
        gateway.settle();
    }
    gateway.send(&mut agent, whole);
    gateway.settle();
    let buried = Verdict::DeadLettered(Reason::UnreadableBody);
    assert_eq!(agent.verdicts(), [Verdict::Stored, Verdict::Stored, buried, buried, Verdict::Stored]);
    let content = gateway.content();
    assert_eq!((dead(&content), lost(&content)), (vec![5, 6, 7, 8, 9], vec![5, 6]));
    assert_eq!(readings(&content), (0..10).collect::<Vec<_>>());
    assert_eq!(content.letters, [("unreadable-body".to_owned(), None, damaged)]);
    content.assert_conserved();
}

#[test]
fn an_unreadable_manifest_is_refused_and_so_is_everything_behind_it() {
    let (mut gateway, mut agent) = gateway();
    gateway.send(&mut agent, batch(device("probe"), 1, 0..5));
    gateway.send(&mut agent, b"WB\x01\x00 and then nothing sensible".to_vec());
    gateway.send(&mut agent, batch(device("probe"), 1, 5..10));
    gateway.settle();
    gateway.send(&mut agent, batch(device("probe"), 1, 10..15));
    gateway.settle();
    let refused = Verdict::Failed(Failure::AfterRefusal);
    assert_eq!(agent.verdicts(), [Verdict::Stored, Verdict::Unreadable("cut short"), refused, refused]);
    assert_eq!(readings(&gateway.content()), (0..5).collect::<Vec<_>>());
}

#[test]
fn a_manifest_that_names_other_identities_than_the_body_is_not_believed() {
    let (mut gateway, mut agent) = gateway();
    let run = run_with(device("probe"), 1, 0..5, |_| None);
    let other = run_with(device("probe"), 1, 5..10, |_| None);
    let mut encoded = Vec::new();
    weir_protocol::items::push(&mut encoded, &other.section());
    let mut envelope = EnvelopeBuilder::new();
    envelope.push_encoded(&run.section(), &encoded);
    gateway.send(&mut agent, envelope.finish(false));
    gateway.settle();
    assert_eq!(agent.verdicts(), [Verdict::Unreadable("manifest and body name different identities")]);
    assert!(gateway.content().readings.is_empty());
}

#[test]
fn a_restart_ends_once() {
    let (mut gateway, mut agent) = gateway();
    let probe = device("probe");
    for _ in 0..2 {
        gateway.send(&mut agent, batch_of(&[end(probe, 1, 7)]));
    }
    gateway.settle();
    let mut gateway = gateway.power_cut(IngestOptions::default());
    let mut agent_again = gateway.connect("agent");
    gateway.send(&mut agent_again, batch_of(&[end(probe, 1, 7)]));
    gateway.settle();
    assert_eq!(agent.verdicts(), [Verdict::Stored; 2]);
    assert_eq!(agent_again.verdicts(), [Verdict::Stored]);
    let content = gateway.content();
    assert_eq!(content.ends.into_iter().collect::<Vec<_>>(), [((probe, weir_protocol::Restart(1)), 7)]);
    assert_eq!(content.violations, Vec::<String>::new());
}

#[test]
fn who_has_gone_is_not_answered_but_what_was_staged_commits() {
    let (mut gateway, mut agent) = gateway();
    gateway.send(&mut agent, batch(device("probe"), 1, 0..5));
    gateway.engine.disconnect(agent.id);
    gateway.settle();
    assert!(agent.verdicts().is_empty());
    let mut again = gateway.connect("agent");
    gateway.send(&mut again, batch(device("probe"), 1, 0..5));
    assert_eq!(again.verdicts(), [Verdict::Stored], "all of it is a repeat");
    assert_eq!(readings(&gateway.content()), (0..5).collect::<Vec<_>>());
}

#[test]
fn over_a_bound_is_refused_and_nothing_is_forgotten() {
    let limits = Limits { restarts_per_device: 2, ranges_per_restart: 3, ..Limits::default() };
    let mut gateway = Gateway::with(IngestOptions { limits, ..IngestOptions::default() });
    let probe = device("probe");
    let try_batch = |gateway: &mut Gateway, restart, sequences| {
        let mut agent = gateway.connect("agent");
        gateway.describe(&mut agent, description(probe));
        gateway.settle();
        gateway.send(&mut agent, batch(probe, restart, sequences));
        gateway.settle();
        agent.verdicts().pop().unwrap()
    };
    for range in [0..1, 2..3, 4..5] {
        assert_eq!(try_batch(&mut gateway, 1, range), Verdict::Stored);
    }
    assert_eq!(try_batch(&mut gateway, 1, 6..7), Verdict::Failed(Failure::Quota), "a fourth range");
    assert_eq!(try_batch(&mut gateway, 1, 3..4), Verdict::Stored, "what closes a gap has room");
    assert_eq!(try_batch(&mut gateway, 1, 6..7), Verdict::Stored, "now there is room");
    assert_eq!(try_batch(&mut gateway, 2, 0..1), Verdict::Stored);
    assert_eq!(try_batch(&mut gateway, 3, 0..1), Verdict::Failed(Failure::Quota), "a third restart");
    gateway.content().assert_conserved();
}

/// Devices times restarts is no bound for memory: one agent that invents both filled it with what is nowhere on disk.
#[test]
fn all_devices_together_have_a_bound_on_restarts_and_those_known_go_on() {
    let limits = Limits { restarts: 3, ..Limits::default() };
    let mut gateway = Gateway::with(IngestOptions { limits, ..IngestOptions::default() });
    let try_batch = |gateway: &mut Gateway, name, restart, sequences| {
        let mut agent = gateway.connect("agent");
        gateway.describe(&mut agent, description(device(name)));
        gateway.settle();
        gateway.send(&mut agent, batch(device(name), restart, sequences));
        gateway.settle();
        agent.verdicts().pop().unwrap()
    };
    for (name, restart) in [("one", 1), ("one", 2), ("two", 1)] {
        assert_eq!(try_batch(&mut gateway, name, restart, 0..2), Verdict::Stored);
    }
    assert_eq!(try_batch(&mut gateway, "three", 1, 0..1), Verdict::Failed(Failure::Quota), "a fourth restart");
    assert_eq!(try_batch(&mut gateway, "two", 2, 0..1), Verdict::Failed(Failure::Quota), "a fourth restart");
    assert_eq!(gateway.counters.snapshot().over_limit[4], ("all-restarts", 2));
    let mut gateway = gateway.power_cut(IngestOptions { limits, ..IngestOptions::default() });
    assert_eq!(try_batch(&mut gateway, "two", 2, 0..1), Verdict::Failed(Failure::Quota), "counted after a start too");
    assert_eq!(try_batch(&mut gateway, "one", 1, 0..3), Verdict::Stored);
    gateway.content().assert_conserved();
}

/// Every other sample a dead letter, in order and for ever: that may take some times the bound, and not all memory.
#[test]
fn a_device_that_goes_on_in_order_is_refused_in_the_end_and_what_is_known_is_still_answered() {
    let limits = Limits { ranges_per_restart: 4, ..Limits::default() };
    let mut gateway = Gateway::with(IngestOptions { limits, ..IngestOptions::default() });
    let probe = device("probe");
    let fails_at_odd = |sequence: u64| (sequence % 2 == 1).then(|| not_a_number(sequence));
    let mut try_batch = |sequences| {
        let mut agent = gateway.connect("agent");
        gateway.describe(&mut agent, description(probe));
        gateway.settle();
        gateway.send(&mut agent, batch_of(&[run_with(probe, 1, sequences, fails_at_odd).section()]));
        gateway.settle();
        agent.verdicts().pop().unwrap()
    };
    let verdicts: Vec<_> = (0..4).map(|at| try_batch(at * 6..at * 6 + 6)).collect();
    let dead = Verdict::DeadLettered(Reason::NotFinite);
    assert_eq!(verdicts, [dead, dead, dead, Verdict::Failed(Failure::Quota)]);
    assert_eq!(try_batch(6..18), dead, "known already");
    assert_eq!(gateway.counters.snapshot().over_limit[2], ("ranges", 1));
    gateway.content().assert_conserved();
}

/// A sensor that fails at every other sample takes two ranges for each failure. At the cap it was refused whenever a
/// batch began behind a dead letter, and then everything behind it in its agent's queue waited for ever.
#[test]
fn a_device_that_goes_on_in_order_is_not_refused_for_what_became_of_its_last_reading() {
    let limits = Limits { ranges_per_restart: 4, ..Limits::default() };
    let mut gateway = Gateway::with(IngestOptions { limits, ..IngestOptions::default() });
    let probe = device("probe");
    let mut agent = gateway.connect("agent");
    gateway.describe(&mut agent, description(probe));
    let fails_at_odd = |sequence: u64| (sequence % 2 == 1).then(|| not_a_number(sequence));
    for sequences in [0..6, 6..12, 6..12, 12..13] {
        gateway.send(&mut agent, batch_of(&[run_with(probe, 1, sequences, fails_at_odd).section()]));
        gateway.settle();
    }
    let dead = Verdict::DeadLettered(Reason::NotFinite);
    assert_eq!(agent.verdicts(), [Verdict::Stored, dead, dead, dead, Verdict::Stored]);
    gateway.send(&mut agent, batch(probe, 1, 99..100));
    gateway.settle();
    assert_eq!(agent.verdicts(), [Verdict::Failed(Failure::Quota)], "what stands apart is still refused");
    gateway.content().assert_conserved();
}

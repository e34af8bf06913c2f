//! Stories of devices that are bound to an agent: nobody else changes anything about them, and moving one is explicit.

use weir_protocol::AgentId;
use weir_protocol::batch::LossKind;
use weir_storage::LogOptions;
use weir_storage::fs::Fault;

use super::super::decode::Work;
use super::super::{Binding, Failure, IngestOptions, Reason, Verdict};
use super::log_content::LogContent;
use super::payloads::*;
use super::{ARRIVAL, Gateway, Peer};
use crate::record::dead_letter::Format;

const NOT_BOUND: Verdict = Verdict::DeadLettered(Reason::NotBound);

fn options() -> IngestOptions {
    IngestOptions {
        partitions: 2,
        binding: Binding::FirstWriter,
        log: LogOptions { segment_bytes: 4096, ..IngestOptions::default().log },
        ..IngestOptions::default()
    }
}

/// A gateway at which `owner` described `probe`.
fn bound() -> (Gateway, Peer) {
    let mut gateway = Gateway::with(options());
    let mut owner = gateway.connect("owner");
    gateway.describe(&mut owner, description(device("probe")));
    gateway.settle();
    assert_eq!(owner.verdicts(), [Verdict::Stored]);
    (gateway, owner)
}

/// Moves `probe` to an agent; how that ended once everything is committed.
fn move_to(gateway: &mut Gateway, agent: &str) -> Vec<Verdict> {
    let mut peer = gateway.connect_retry(AgentId::new(agent).unwrap());
    submit_move(gateway, &peer);
    gateway.settle();
    peer.verdicts()
}

fn submit_move(gateway: &mut Gateway, peer: &Peer) {
    gateway.submit_work(peer, 0, ARRIVAL, Work::Move(device("probe")));
    gateway.engine.advance();
}

fn readings(gateway: &Gateway) -> Vec<u64> {
    LogContent::sequences(&gateway.content().readings, device("probe"), 1)
}

fn letters(gateway: &Gateway) -> usize {
    gateway.content().letters.iter().filter(|(reason, ..)| reason == "not-bound").count()
}

#[test]
fn what_another_agent_sends_changes_nothing_about_a_device_and_wedges_nobody() {
    let (mut gateway, mut owner) = bound();
    let mut thief = gateway.connect("thief");
    let probe = device("probe");
    gateway.send(&mut thief, batch(probe, 1, 0..5));
    gateway.send(&mut thief, batch_of(&[claim(probe, 1, 5..10, LossKind::Ring), end(probe, 1, 10)]));
    gateway.send(&mut thief, position(probe, 1, 0..20, &[]));
    gateway.send(&mut thief, damaged_body(batch(probe, 1, 20..25)));
    gateway.describe(&mut thief, description_of(probe, &[]).1);
    // Its own device goes on behind all that.
    gateway.describe(&mut thief, description(device("own")));
    gateway.send(&mut thief, batch(device("own"), 1, 0..3));
    gateway.settle();
    let verdicts = thief.verdicts();
    assert_eq!(verdicts[..4], [NOT_BOUND; 4]);
    assert_eq!(verdicts[4..], [NOT_BOUND, Verdict::Stored, Verdict::Stored]);
    assert_eq!(gateway.counters.snapshot().not_bound, 5, "a run, a claim, an end, a position, a span");

    gateway.send(&mut owner, batch(probe, 1, 0..25));
    gateway.settle();
    assert_eq!(owner.verdicts(), [Verdict::Stored]);
    let content = gateway.content();
    assert_eq!(readings(&gateway), (0..25).collect::<Vec<_>>());
    assert!(content.readings.values().all(|(_, heals)| !heals), "what others said is no verdict");
    assert!(content.lost.is_empty() && content.ends.is_empty());
    content.assert_conserved();
}

#[test]
fn the_same_letter_is_kept_once_over_checkpoints_and_power_cuts() {
    let (mut gateway, _) = bound();
    for round in 0..4 {
        let mut thief = gateway.connect("thief");
        gateway.send(&mut thief, batch(device("probe"), 1, 0..5));
        gateway.settle();
        assert_eq!(thief.verdicts(), [NOT_BOUND], "round {round}");
        assert_eq!(letters(&gateway), 1, "round {round}");
        if round % 2 == 1 {
            gateway.checkpoint();
        }
        gateway = gateway.power_cut(options());
    }
    let known = gateway.engine.devices.place((weir_protocol::Tenant::DEFAULT, device("probe"))).unwrap();
    assert!(gateway.engine.devices.get(known).unwrap().restarts.is_empty(), "it takes nothing of the owner's bounds");
}

#[test]
fn a_moved_device_is_another_agents_at_once_and_its_letters_can_be_redriven() {
    let (mut gateway, mut owner) = bound();
    let mut heir = gateway.connect("heir");
    let probe = device("probe");
    gateway.send(&mut owner, batch(probe, 1, 0..5));
    gateway.send(&mut heir, batch(probe, 1, 5..10));
    gateway.settle();
    assert_eq!((owner.verdicts(), heir.verdicts()), (vec![Verdict::Stored], vec![NOT_BOUND]));
    let (sender, format, original) = gateway.content().origins.remove(0);
    assert_eq!((sender.as_str(), format), ("heir", Format::Section));

    assert_eq!(move_to(&mut gateway, "heir"), [Verdict::Stored]);
    let mut retry = gateway.connect_retry(sender);
    gateway.retry(&mut retry, format, original);
    gateway.send(&mut heir, batch(probe, 1, 10..12));
    gateway.send(&mut owner, batch(probe, 1, 12..14));
    gateway.settle();
    assert_eq!((retry.verdicts(), heir.verdicts()), (vec![Verdict::Stored], vec![Verdict::Stored]));
    assert_eq!(owner.verdicts(), [NOT_BOUND]);
    assert_eq!(readings(&gateway), (0..12).collect::<Vec<_>>());
    gateway.content().assert_conserved();
}

#[test]
fn whose_a_device_is_survives_checkpoints_and_power_cuts() {
    let (mut gateway, _) = bound();
    for with_checkpoint in [false, true, true] {
        assert_eq!(move_to(&mut gateway, "heir"), [Verdict::Stored]);
        if with_checkpoint {
            gateway.checkpoint();
        }
        gateway = gateway.power_cut(options());
        let (mut owner, mut heir) = (gateway.connect("owner"), gateway.connect("heir"));
        gateway.send(&mut owner, batch(device("probe"), 1, 0..5));
        gateway.send(&mut heir, batch(device("probe"), 1, 0..5));
        gateway.settle();
        assert_eq!((owner.verdicts(), heir.verdicts()), (vec![NOT_BOUND], vec![Verdict::Stored]));
    }
    assert_eq!(move_to(&mut gateway, "heir"), [Verdict::Stored], "moving it where it is changes nothing");
    assert_eq!(gateway.content().descriptions, 2);
}

#[test]
fn the_first_who_describes_it_has_it() {
    let mut gateway = Gateway::with(options());
    let (mut first, mut second) = (gateway.connect("first"), gateway.connect("second"));
    gateway.describe(&mut first, description(device("probe")));
    gateway.describe(&mut second, description_of(device("probe"), &[]).1);
    gateway.settle();
    assert_eq!((first.verdicts(), second.verdicts()), (vec![Verdict::Stored], vec![NOT_BOUND]));
    gateway.content().assert_conserved();
}

#[test]
fn a_move_that_was_not_committed_did_not_happen() {
    let (mut gateway, mut owner) = bound();
    gateway.fs.fail_once(Fault::Sync);
    assert_eq!(move_to(&mut gateway, "heir"), [Verdict::Failed(Failure::Commit)]);
    gateway.send(&mut owner, batch(device("probe"), 1, 0..5));
    gateway.settle();
    assert_eq!(owner.verdicts(), [Verdict::Stored]);
    assert_eq!(move_to(&mut gateway, "heir"), [Verdict::Stored]);
}

#[test]
fn what_nobody_described_cannot_be_moved() {
    let mut gateway = Gateway::with(options());
    assert!(matches!(move_to(&mut gateway, "heir")[..], [Verdict::Unreadable("no such device")]));
    let mut agent = gateway.connect("agent");
    gateway.send(&mut agent, batch_of(&[claim(device("probe"), 1, 0..5, LossKind::Ring)]));
    gateway.settle();
    assert!(matches!(move_to(&mut gateway, "heir")[..], [Verdict::Unreadable(_)]));
}

#[test]
fn without_binding_any_agent_may_write_but_not_the_ledger_of_a_client() {
    let mut gateway = Gateway::with(IngestOptions { binding: Binding::None, ..options() });
    let (mut one, mut other) = (gateway.connect("one"), gateway.connect("other"));
    gateway.describe(&mut one, description(device("probe")));
    gateway.settle();
    gateway.send(&mut other, batch(device("probe"), 1, 0..5));
    gateway.settle();
    assert_eq!((one.verdicts(), other.verdicts()), (vec![Verdict::Stored], vec![Verdict::Stored]));

    let ledger = super::super::clients::device("meter");
    gateway.describe(&mut one, description(ledger));
    gateway.send(&mut one, batch(ledger, 9, 0..5));
    gateway.send(&mut one, batch_of(&[claim(ledger, 9, 0..100, LossKind::Ring)]));
    gateway.settle();
    assert_eq!(one.verdicts(), [NOT_BOUND; 3]);
}

//! Positions: what an agent accepted and has no more, and nobody here knows, is counted.

use weir_protocol::batch::LossKind;

use super::super::{IngestOptions, Reason, Verdict};
use super::log_content::LogContent;
use super::payloads::*;
use super::{Gateway, Peer};

fn gateway() -> (Gateway, Peer) {
    let mut gateway = Gateway::new();
    let mut agent = gateway.connect("agent");
    gateway.describe(&mut agent, description(device("probe")));
    gateway.settle();
    assert_eq!(agent.verdicts(), [Verdict::Stored]);
    (gateway, agent)
}

fn lost(gateway: &Gateway) -> Vec<u64> {
    LogContent::sequences(&gateway.content().lost, device("probe"), 1)
}

#[test]
fn a_position_loses_exactly_what_neither_the_agent_nor_the_log_has() {
    let (mut gateway, mut agent) = gateway();
    let probe = device("probe");
    gateway.send(&mut agent, batch(probe, 1, 0..10));
    gateway.send(&mut agent, batch_of(&[claim(probe, 1, 10..12, LossKind::Ring)]));
    gateway.send(&mut agent, batch_of(&[run_with(probe, 1, 12..14, |s| Some(not_a_number(s))).section()]));
    gateway.settle();
    for _ in 0..2 {
        gateway.send(&mut agent, position(probe, 1, 5..40, &[(0, 3), (20, 30), (35, 38)]));
        gateway.settle();
    }
    assert_eq!(agent.verdicts().pop(), Some(Verdict::Stored));
    let content = gateway.content();
    assert_eq!(lost(&gateway), [10..12, 14..20, 30..35, 38..40].into_iter().flatten().collect::<Vec<_>>());
    assert_eq!(content.lost[&(probe, weir_protocol::Restart(1), 14)], "unaccounted");
    content.assert_conserved();

    // What was thought to be gone comes after all.
    gateway.send(&mut agent, batch(probe, 1, 14..16));
    gateway.settle();
    assert_eq!(gateway.counters.snapshot().healed, 2);
    gateway.content().assert_conserved();
}

#[test]
fn a_position_waits_for_what_is_appended_and_not_committed() {
    let (mut gateway, mut agent) = gateway();
    let mut other = gateway.connect("other");
    gateway.send(&mut agent, batch(device("probe"), 1, 0..10));
    let parts = gateway.engine.take_group().expect("a group");
    gateway.send(&mut other, position(device("probe"), 1, 0..12, &[]));
    assert!(gateway.engine.take_group().is_none(), "nothing is decided against what may yet fail");
    gateway.finish(parts);
    gateway.settle();
    assert_eq!(other.verdicts(), [Verdict::Stored]);
    assert_eq!(lost(&gateway), [10, 11]);
    gateway.content().assert_conserved();
}

#[test]
fn a_position_is_counted_once_over_a_power_cut() {
    let (mut gateway, mut agent) = gateway();
    let probe = device("probe");
    gateway.send(&mut agent, position(probe, 1, 0..4, &[(1, 3)]));
    gateway.settle();
    let mut gateway = gateway.power_cut(IngestOptions::default());
    let mut agent = gateway.connect("agent");
    gateway.send(&mut agent, position(probe, 1, 0..4, &[(1, 3)]));
    gateway.settle();
    assert_eq!(agent.verdicts(), [Verdict::Stored]);
    assert_eq!(lost(&gateway), [0, 3]);
    gateway.content().assert_conserved();
}

#[test]
fn a_position_that_contradicts_itself_is_not_believed() {
    let (mut gateway, mut agent) = gateway();
    let many: Vec<_> = (0..257).map(|at| (at * 2, at * 2 + 1)).collect();
    let reversed = std::ops::Range { start: 9, end: 5 };
    let bad = [
        position(device("probe"), 1, reversed, &[]),
        position(device("probe"), 1, 0..9, &[(4, 6), (2, 3)]),
        position(device("probe"), 1, 0..9, &[(4, 4)]),
        position(device("probe"), 1, 0..1000, &many),
        position(device("probe"), 1, 0..u64::MAX, &[]),
    ];
    for payload in bad {
        gateway.send(&mut agent, payload);
    }
    gateway.settle();
    assert_eq!(agent.verdicts(), [Verdict::DeadLettered(Reason::UnreadableBody); 5]);
    assert!(lost(&gateway).is_empty());
}

//! Ends of restarts: said once in the log however often agents say them, and promised only when they are there.

use weir_protocol::{DeviceId, Restart};
use weir_storage::fs::Fault;

use super::super::{Failure, Verdict};
use super::payloads::*;
use super::{Gateway, Peer};

const FROM: u64 = 7;

fn ended() -> Vec<u8> {
    batch_of(&[end(device("probe"), 1, FROM)])
}

fn gateway() -> (Gateway, Peer) {
    let mut gateway = Gateway::new();
    let mut agent = gateway.connect("agent");
    gateway.describe(&mut agent, description(device("probe")));
    gateway.settle();
    assert_eq!(agent.verdicts(), [Verdict::Stored]);
    (gateway, agent)
}

/// What the log says of ends, each once.
fn ends(gateway: &Gateway) -> Vec<((DeviceId, Restart), u64)> {
    let content = gateway.content();
    content.assert_conserved();
    content.ends.into_iter().collect()
}

fn the_end() -> Vec<((DeviceId, Restart), u64)> {
    vec![((device("probe"), Restart(1)), FROM)]
}

#[test]
fn an_end_that_another_agent_says_meanwhile_is_promised_with_the_commit_and_not_before() {
    let (mut gateway, mut agent) = gateway();
    let mut other = gateway.connect("other");
    gateway.send(&mut agent, ended());
    let parts = gateway.engine.take_group().expect("a group");
    gateway.send(&mut other, ended());
    assert_eq!(other.verdicts(), [], "what may yet fail is promised to nobody");
    gateway.finish(parts);
    gateway.settle();
    assert_eq!(agent.verdicts(), [Verdict::Stored]);
    assert_eq!(other.verdicts(), [Verdict::Stored]);
    assert_eq!(ends(&gateway), the_end());
    assert_eq!(gateway.counters.snapshot().tails_unknown, 1);
}

#[test]
fn an_end_whose_commit_failed_is_recorded_when_it_is_said_again_by_whomever() {
    for fault in [Fault::Sync, Fault::Write] {
        let (mut gateway, mut agent) = gateway();
        let mut other = gateway.connect("other");
        gateway.send(&mut agent, ended());
        gateway.send(&mut other, ended());
        gateway.fs.fail_once(fault);
        gateway.settle();
        assert_eq!(agent.verdicts(), [Verdict::Failed(Failure::Commit)]);
        assert_eq!(other.verdicts(), [Verdict::Stored], "it waited, and said it anew");
        assert_eq!(ends(&gateway), the_end());
        let mut again = gateway.connect("agent");
        gateway.send(&mut again, ended());
        gateway.settle();
        assert_eq!(again.verdicts(), [Verdict::Stored]);
        assert_eq!((ends(&gateway), gateway.counters.snapshot().tails_unknown), (the_end(), 1));
    }
}

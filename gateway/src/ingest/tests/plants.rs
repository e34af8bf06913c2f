//! The planted faults are faults that a scan of the log shows.

use super::super::plant::Plant;
use super::super::{IngestOptions, Verdict};
use super::payloads::*;
use super::{Gateway, Peer};

fn gateway(plant: Plant) -> (Gateway, Peer) {
    let mut gateway = Gateway::with(IngestOptions { plant: Some(plant), ..IngestOptions::default() });
    let mut agent = gateway.connect("agent");
    gateway.describe(&mut agent, description(device("probe")));
    gateway.settle();
    gateway.send(&mut agent, batch(device("probe"), 1, 0..10));
    gateway.settle();
    assert_eq!(agent.verdicts(), [Verdict::Stored; 2]);
    (gateway, agent)
}

#[test]
fn ack_before_sync_promises_what_a_power_cut_takes() {
    let (mut gateway, mut agent) = gateway(Plant::AckBeforeSync);
    gateway.send(&mut agent, batch(device("probe"), 1, 10..20));
    let parts = gateway.engine.take_group().expect("a group");
    assert_eq!(agent.verdicts(), [Verdict::Stored], "before anything was written");
    drop(parts);
    let gateway = gateway.power_cut(IngestOptions::default());
    assert_eq!(gateway.content().readings.len(), 10);
}

#[test]
fn forget_range_stores_a_resend_twice() {
    let (gateway, _) = gateway(Plant::ForgetRange);
    let mut gateway = gateway.power_cut(IngestOptions::default());
    Plant::ForgetRange.after_recovery(&mut gateway.engine.devices);
    let mut again = gateway.connect("agent");
    gateway.send(&mut again, batch(device("probe"), 1, 0..10));
    gateway.settle();
    assert_eq!(gateway.content().violations.len(), 10);
}

//! Commit and acknowledgement.

use weir_lab::binaries::{Binaries, Plant};
use weir_lab::deployment::{Aim, Deployment, Target};
use weir_tests::{PATIENCE, binaries, expect_to_hold, plan, soak_slice};

/// Power cuts of one process, each right behind an acknowledgement.
const CUTS: u64 = 6;
/// Readings between two of them.
const BETWEEN: u64 = 100;

/// Agent and gateway built for a filesystem on which a kill loses what was not synced, but without a fault:
/// if anything was acknowledged before its sync, the ledger misses it.
async fn survives_power_cuts(target: Target) {
    let forgetful = tokio::task::block_in_place(|| Binaries::prepare(true, Some(Plant::AckBeforeSync)).unwrap());
    let mut lab = Deployment::start(plan(|plan| plan.rate = 400), &forgetful).await.unwrap();
    for cut in 1..=CUTS {
        lab.wait_for("readings", PATIENCE, |census| census.readings() >= cut * BETWEEN).await.unwrap();
        lab.kill(target, Aim::BehindPromise, 0).await.unwrap();
        lab.wait_for_gateway().await.unwrap();
    }
    expect_to_hold(lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_acknowledged_only_after_the_queue_commit() {
    survives_power_cuts(Target::Agent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn puback_means_it_is_on_disk() {
    survives_power_cuts(Target::Gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_discarded_before_the_next_hop_has_it() {
    // The gateway is not there, so the queue must keep all that the device was told to forget.
    let mut lab = Deployment::prepare(plan(|plan| plan.rate = 400), binaries()).await.unwrap();
    lab.agent.start().unwrap();
    lab.boards[0].start().unwrap();
    let mut promises = lab.ledger.agent_promises();
    for _ in 0..3 {
        let enough = promises.borrow_and_update().saturating_add(20);
        tokio::time::timeout(PATIENCE, promises.wait_for(|count| *count >= enough)).await.unwrap().unwrap();
        lab.kill(Target::Agent, Aim::Blind, 0).await.unwrap();
        lab.kill(Target::Board, Aim::Blind, 0).await.unwrap();
    }
    lab.gateway.start().unwrap();
    lab.wait_for_gateway().await.unwrap();
    let (report, census) = lab.drain().await.unwrap();
    assert!(report.holds(), "\n{report}");
    assert!(census.restarts.values().all(|stored| stored.lost.is_empty()), "\n{report}");
    lab.scratch.remove().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_commit_acknowledges_nothing_and_loses_nothing() {
    soak_slice("sync-error").await;
}

//! The policy `block`: a full queue is backpressure down to the device, and what its ring then evicts is
//! counted, exactly.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

use std::time::{Duration, Instant};

use weir_lab::deployment::Deployment;
use weir_lab::ledger::Facts;
use weir_lab::reconcile::reconcile;
use weir_tests::{PATIENCE, binaries, plan};

/// The facts of the one board.
fn facts(deployment: &Deployment) -> Facts {
    deployment.ledger.pages().into_values().next().unwrap_or_default()
}

async fn eventually(what: &str, deployment: &Deployment, holds: impl Fn(&Facts) -> bool) -> Facts {
    let begun = Instant::now();
    loop {
        let facts = facts(deployment);
        if holds(&facts) {
            return facts;
        }
        assert!(begun.elapsed() < PATIENCE, "still not: {what}; {facts:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_gateway_down_and_the_queue_full_the_ring_fills_and_its_loss_is_counted_exactly() {
    let small = |plan: &mut weir_lab::deployment::Plan| {
        plan.rate = 8000;
        plan.flash_kib = 64;
        plan.queue = "1 MiB".to_owned();
    };
    let mut deployment = Deployment::prepare(plan(small), binaries()).await.unwrap();
    deployment.agent.start().unwrap();
    deployment.boards[0].start().unwrap();

    // The queue is full: the device gets neither credit nor acknowledgement, and its ring evicts.
    let full = eventually("the ring evicts what nobody took", &deployment, |f| f.base > f.agent_accepted).await;
    let later = eventually("it goes on evicting", &deployment, |f| f.base > full.base + 1000).await;
    assert_eq!(later.agent_accepted, full.agent_accepted, "a full queue accepts nothing");
    assert_eq!(later.gateway_acked.len(), 0, "no gateway, no PUBACK");

    deployment.gateway.start().unwrap();
    deployment.wait_for_gateway().await.unwrap();
    eventually("the agent takes readings again", &deployment, |f| f.agent_accepted > full.agent_accepted).await;
    let (_, census) = deployment.drain().await.unwrap();
    let report = reconcile(&deployment.ledger, &census);
    assert!(report.holds(), "\n{report}");

    let stored = census.restarts.values().next().unwrap();
    assert!(stored.kinds["ring"] >= later.base - full.agent_accepted, "{:?}", stored.kinds);
    assert_eq!(stored.kinds.len(), 1, "nothing was lost elsewhere: {:?}", stored.kinds);
    let missing: Vec<_> = stored.readings.gaps(0..facts(&deployment).next).collect();
    assert_eq!(missing, stored.lost.iter().collect::<Vec<_>>(), "the loss is on exactly the missing sequences");
    deployment.scratch.remove().unwrap();
}

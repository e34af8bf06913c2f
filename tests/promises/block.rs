//! The policy `block`: a full queue is backpressure down to the device, and what its ring then evicts is
//! counted, exactly.

use std::time::{Duration, Instant};

use weir_lab::deployment::Deployment;
use weir_lab::ledger::Facts;
use weir_lab::reconcile::reconcile;
use weir_tests::{PATIENCE, binaries, plan};

/// Readings that the ring evicts in a row without an acknowledgement, before the queue counts as full.
const EVICTED: u64 = 4000;

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
async fn a_full_queue_gives_the_device_no_credit() {
    let small = |plan: &mut weir_lab::deployment::Plan| {
        plan.rate = 8000;
        plan.flash_kib = 64;
        plan.queue = "1 MiB".to_owned();
    };
    let mut deployment = Deployment::prepare(plan(small), binaries()).await.unwrap();
    deployment.agent.start().unwrap();
    deployment.boards[0].start().unwrap();

    // The ring evicts, and the agent acknowledges nothing but that: it takes the claim and no reading.
    let mut full = facts(&deployment);
    let begun = Instant::now();
    let later = loop {
        let evicted = full.evicted.len() + EVICTED;
        let now = eventually("the ring evicts", &deployment, |f| f.evicted.len() > evicted).await;
        if now.agent_accepted <= now.base && now.evicted.len() - full.evicted.len() == now.base - full.base {
            break now;
        }
        // It was only slow until now.
        assert!(begun.elapsed() < PATIENCE, "the agent takes readings for ever: {now:?}");
        full = now;
    };
    assert_eq!(later.gateway_acked.len(), 0, "no gateway, no PUBACK");

    deployment.gateway.start().unwrap();
    deployment.wait_for_gateway().await.unwrap();
    let what = "the agent takes readings again";
    eventually(what, &deployment, |f| f.agent_accepted > f.base).await;
    let (_, census) = deployment.drain().await.unwrap();
    let report = reconcile(&deployment.ledger, &census);
    assert!(report.holds(), "\n{report}");

    let stored = census.restarts.values().next().unwrap();
    assert!(stored.lost.contains_all(full.base..later.base), "nothing was taken while the queue was full");
    assert!(stored.readings.contains_all(0..1), "what came before it was full is there");
    assert_eq!(stored.kinds.len(), 1, "nothing was lost elsewhere: {:?}", stored.kinds);
    let missing: Vec<_> = stored.readings.gaps(0..facts(&deployment).next).collect();
    assert_eq!(missing, stored.lost.iter().collect::<Vec<_>>(), "the loss is on exactly the missing sequences");
    deployment.scratch.remove().unwrap();
}

//! Loads against a gateway that is killed: whatever happens, what was due is acknowledged in the end, and is in the log.

use std::time::Duration;

use weir_lab::census::Census;
use weir_lab::deployment::{Aim, Deployment, Target};
use weir_lab::kafka::compare::compare;
use weir_lab::load::{Load, LoadPlan, Outcome, Pattern, Shape};
use weir_lab::reconcile::{Report, reconcile};
use weir_tests::{PATIENCE, binaries, plan, seed};

/// A gateway alone that stores what foreign devices say.
async fn gateway() -> Deployment {
    let plan = plan(|plan| {
        (plan.boards, plan.system) = (0, false);
        plan.mqtt = "[[mqtt.store]]\nfilter = \"foreign/#\"\n".to_owned();
    });
    let mut deployment = Deployment::prepare(plan, binaries()).await.expect("the deployment is prepared");
    deployment.gateway.start().expect("the gateway starts");
    deployment.wait_for_gateway().await.expect("the gateway is ready");
    deployment
}

async fn start(deployment: &mut Deployment, plan: LoadPlan) -> Load {
    let (ledger, mqtt) = (deployment.ledger.clone(), deployment.mqtt);
    Load::start(plan, mqtt, ledger, &mut deployment.truths).await.expect("the load starts")
}

/// Waits until so many readings more are acknowledged.
async fn acknowledged(load: &Load, more: u64) {
    let enough = load.seen().counts.acknowledged + more;
    let waited = tokio::time::timeout(PATIENCE, async {
        while load.seen().counts.acknowledged < enough {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.expect("readings are acknowledged");
}

/// Ends loads at rest, and judges the log.
async fn judge(mut deployment: Deployment, loads: Vec<Load>) -> (Vec<Outcome>, Report) {
    let mut outcomes = Vec::new();
    for mut load in loads {
        load.settle(PATIENCE).await.expect("all is acknowledged");
        let outcome = load.finish().await;
        assert_eq!(outcome.seen.counts.acknowledged, outcome.seen.due, "{outcome:?}");
        assert!(outcome.unacknowledged.is_empty(), "{outcome:?}");
        assert_eq!(outcome.seen.latency.len(), outcome.seen.due, "each reading has its latency");
        let by_second: u64 = outcome.seconds.iter().map(|second| second.acknowledged).sum();
        assert_eq!(by_second, outcome.seen.due, "each reading is in the second of its acknowledgement");
        outcomes.push(outcome);
    }
    let census = Census::take(&deployment.log, &deployment.truths).await.expect("the log is read");
    let comparison = compare(&deployment.log, deployment.kafka).await.expect("the log is read over Kafka");
    let mut report = reconcile(&deployment.ledger, &census);
    report.compared(comparison);
    assert!(report.holds(), "{report}");
    let (next, stored, ..) = report.total();
    let due: u64 = outcomes.iter().map(|outcome| outcome.seen.due).sum();
    assert_eq!((next, stored), (due, due), "{report}");
    deployment.gateway.stop(PATIENCE).await.expect("the gateway stops");
    deployment.scratch.remove().expect("the directory goes");
    (outcomes, report)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_under_agents_and_foreign_devices_only_delays() {
    let mut deployment = gateway().await;
    let of_agents = LoadPlan { devices: 200, connections: 20, rate: 2000.0, ..LoadPlan::new(seed()) };
    let of_foreign = LoadPlan {
        shape: Shape::Foreign,
        name: "foreign".to_owned(),
        devices: 50,
        connections: 10,
        rate: 500.0,
        ..LoadPlan::new(seed())
    };
    let agents = start(&mut deployment, of_agents).await;
    let foreign = start(&mut deployment, of_foreign).await;
    for aim in [Aim::BehindPromise, Aim::Blind] {
        acknowledged(&agents, 1000).await;
        acknowledged(&foreign, 300).await;
        deployment.kill(Target::Gateway, aim, 0).await.expect("the gateway is killed");
        deployment.wait_for_gateway().await.expect("the gateway is ready");
    }
    acknowledged(&agents, 1000).await;
    acknowledged(&foreign, 300).await;
    let (outcomes, _) = judge(deployment, vec![agents, foreign]).await;
    for (outcome, connections) in outcomes.iter().zip([20, 10]) {
        let counts = &outcome.seen.counts;
        assert!(counts.connects >= 2 * connections, "each comes back: {counts:?}");
        assert!(!counts.refusals.is_empty(), "why they went is counted: {counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bursts_and_reconnect_storms_of_a_fleet_lose_and_double_nothing() {
    let mut deployment = gateway().await;
    let burst = Pattern::Burst { every: Duration::from_millis(400) };
    let storm = Pattern::Storm { every: Duration::from_millis(300) };
    let plan = |name: &str, pattern| LoadPlan {
        name: name.to_owned(),
        pattern,
        devices: 300,
        connections: 60,
        rate: 1500.0,
        ..LoadPlan::new(seed())
    };
    let bursts = start(&mut deployment, plan("burst", burst)).await;
    let storms = start(&mut deployment, plan("storm", storm)).await;
    acknowledged(&bursts, 2000).await;
    acknowledged(&storms, 2000).await;
    let (outcomes, _) = judge(deployment, vec![bursts, storms]).await;
    assert_eq!(outcomes[0].seen.counts.connects, 60, "nobody cut these");
    assert!(outcomes[1].seen.counts.connects >= 2 * 60, "{:?}", outcomes[1].seen.counts);
}

#[tokio::test(flavor = "multi_thread")]
async fn boards_whose_cables_are_pulled_all_at_once_are_only_delayed() {
    let without = plan(|plan| (plan.boards, plan.system) = (0, false));
    let mut deployment = Deployment::prepare(without, binaries()).await.expect("the deployment is prepared");
    let boards = LoadPlan {
        shape: Shape::Boards,
        pattern: Pattern::Storm { every: Duration::from_millis(700) },
        devices: 4,
        connections: 4,
        rate: 200.0,
        ..LoadPlan::new(seed())
    };
    let mut load = start(&mut deployment, boards).await;
    let path = deployment.scratch.join("agent.toml");
    let mut settings = std::fs::read_to_string(&path).expect("the settings of the agent");
    for line in load.serial() {
        settings += &format!("\n[[serial]]\npath = {:?}\npoll = \"100ms\"\n", line.display().to_string());
    }
    std::fs::write(&path, settings).expect("the settings of the agent are written");
    deployment.launch().await.expect("gateway and agent start");
    acknowledged(&load, 400).await;
    load.settle(PATIENCE).await.expect("all is acknowledged by the agent");
    let outcome = load.finish().await;
    assert_eq!(outcome.seen.counts.acknowledged, outcome.seen.due, "{outcome:?}");
    assert!(outcome.seen.counts.connects > 4, "plugs were pulled: {outcome:?}");
    let (report, _) = deployment.drain().await.expect("the deployment drains");
    assert!(report.holds(), "{report}");
    assert_eq!(report.total().0, outcome.seen.due, "{report}");
    deployment.scratch.remove().expect("the directory goes");
}

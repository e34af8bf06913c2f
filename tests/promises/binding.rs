//! Whose a device is.

use std::iter;

use weir_lab::census::Census;
use weir_lab::deployment::Deployment;
use weir_protocol::ChannelId;
use weir_tests::rough::records;
use weir_tests::sender::{RESTART, Sender};
use weir_tests::{binaries, plan, typed};

const CHANNEL: ChannelId = ChannelId(1);

#[tokio::test(flavor = "multi_thread")]
async fn what_another_agent_sends_of_a_device_is_dead_lettered_until_the_device_is_moved() {
    let plan = plan(|plan| {
        plan.boards = 0;
        plan.tables = "[access]\nbinding = \"first-writer\"\n".to_owned();
    });
    let mut lab = Deployment::prepare(plan, binaries()).await.unwrap();
    lab.gateway.start().unwrap();
    lab.wait_for_gateway().await.unwrap();
    let mut owner = Sender::connect(lab.mqtt, "agent-a", "pump").await;
    owner.sample(0, &[CHANNEL; 5]).await;
    // Somebody plugs it in elsewhere. It is acknowledged, so that the other devices of that agent go on.
    let mut other = Sender::connect(lab.mqtt, "agent-b", "pump").await;
    other.sample(5, &[CHANNEL; 3]).await;
    let key = (owner.device, RESTART);
    let census = Census::take(&lab.log, &lab.truths).await.unwrap();
    assert_eq!(census.restarts[&key].readings, iter::once(0..5).collect());
    let mut reasons = Vec::new();
    for (topic, partition) in lab.log.partitions().await.unwrap() {
        if topic == "weir.deadletter" {
            let letters = records(&lab.log, &topic, partition).await;
            let value = |key: &str| letters.iter().map(|letter| letter["value"][key].clone()).collect::<Vec<_>>();
            reasons.extend(value("reason").into_iter().zip(value("agent")));
        }
    }
    // The description, and the readings.
    assert_eq!(reasons, [("not-bound".into(), "agent-b".into()), ("not-bound".into(), "agent-b".into())]);

    // Doing it again changes nothing before somebody says that it is right.
    let redrive = ["deadletter", "redrive", "--reason", "not-bound"];
    let said = typed(&lab, &redrive).await;
    let census = Census::take(&lab.log, &lab.truths).await.unwrap();
    assert_eq!(census.restarts[&key].readings.len(), 5, "{said}");

    typed(&lab, &["device", "move", "pump", "--to", "agent-b"]).await;
    let said = typed(&lab, &redrive).await;
    let census = Census::take(&lab.log, &lab.truths).await.unwrap();
    assert_eq!(census.restarts[&key].readings, iter::once(0..8).collect(), "{said}");
    // From now on it is the other way round.
    owner.sample(8, &[CHANNEL; 2]).await;
    other.sample(10, &[CHANNEL; 2]).await;
    let census = Census::take(&lab.log, &lab.truths).await.unwrap();
    let stored = &census.restarts[&key];
    assert_eq!(stored.readings, [0..8, 10..12].into_iter().collect());
    assert!(stored.doubled.is_empty() && stored.dead.is_empty(), "{stored:?}");
    lab.scratch.remove().unwrap();
}

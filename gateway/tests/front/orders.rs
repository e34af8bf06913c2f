//! What an operator tells an agent: kept for it, brought to it alone, and at once if it is there.

use weir_gateway::mqtt::packet::Version::{V4, V5};
use weir_protocol::mqtt::MAX_ORDER;

use crate::conformance::peer::{Opening, Peer, Will, publish_as};
use crate::world::Gateway;

const CONFIG: &str = "weir/1/default/edge-1/config";
const DO: &str = "weir/1/default/edge-1/do";

/// Rules under which `operator` may tell agents what to do, and `viewer` may look at everything that he may.
const SETTINGS: &str = "[access]\nmqtt = \"open\"\nhttp = \"open\"\n\n\
    [[access.rule]]\nclients = \"operator\"\npublish = [\"weir/1/default/+/config\", \"weir/1/default/+/do\", \"weir/1/default/+/do/+\"]\n\n\
    [[access.rule]]\nclients = \"viewer\"\nsubscribe = [\"weir/#\"]\n";

async fn gateway() -> Gateway {
    Gateway::start_by(tempfile::tempdir().unwrap(), SETTINGS).await
}

#[tokio::test]
async fn an_agent_hears_what_it_is_told_when_it_comes_and_while_it_is_there() {
    let gateway = gateway().await;
    for version in [V4, V5] {
        let mut operator = Peer::new(&gateway, version, "operator").await;
        operator.publish_with(0x33, CONFIG, &[], "while it is away").await;
        let mut agent = Peer::new(&gateway, version, "edge-1").await;
        assert_eq!(agent.subscribe(&[], &[(CONFIG, 1), (DO, 1)]).await, [1, 1]);
        assert!(agent.take("while it is away").await.retain);
        operator.publish_with(0x33, DO, &[], "at once").await;
        assert_eq!(agent.take("at once").await.topic, DO);
        // Not told as retained, and kept all the same: nothing is acknowledged that is not.
        operator.publish_with(0x32, CONFIG, &[], "next").await;
        assert_eq!(agent.take("next").await.topic, CONFIG);
        agent.expect_quiet().await;
        agent.leave().await;
        let mut agent = Peer::new(&gateway, version, "edge-1").await;
        agent.subscribe(&[], &[(CONFIG, 1)]).await;
        agent.take("next").await;
        operator.publish_with(0x33, CONFIG, &[], "").await;
        operator.publish_with(0x33, DO, &[], "").await;
        agent.expect_quiet().await;
    }
}

/// Regression: a command took the place of the one before it, and an agent that was away heard of the last alone.
#[tokio::test]
async fn commands_with_ids_wait_side_by_side_until_the_agent_has_decided_on_them() {
    let gateway = gateway().await;
    let (of, each) = (|id: &str| format!("{DO}/{id}"), format!("{DO}/+"));
    for version in [V4, V5] {
        let mut operator = Peer::new(&gateway, version, "operator").await;
        for id in ["c-1", "c-2"] {
            operator.publish_with(0x33, &of(id), &[], id).await;
        }
        let mut agent = Peer::new(&gateway, version, "edge-1").await;
        assert_eq!(agent.subscribe(&[], &[(&each, 1)]).await, [1]);
        for id in ["c-1", "c-2"] {
            let heard = agent.take(id).await;
            assert_eq!((heard.topic, heard.retain), (of(id), true));
        }
        // Each of what comes while it is there, and nothing that it has heard of.
        for id in ["c-3", "c-4"] {
            operator.publish_with(0x33, &of(id), &[], id).await;
        }
        for id in ["c-3", "c-4"] {
            let heard = agent.take(id).await;
            assert_eq!((heard.topic, heard.retain), (of(id), false));
        }
        // It takes back what it decided on, and gives itself no command.
        for id in ["c-1", "c-2", "c-4"] {
            agent.publish_with(0x33, &of(id), &[], "").await;
        }
        agent.expect_quiet().await;
        if version == V5 {
            agent.send(&publish_as(V5, 0x33, &of("c-5"), 5, &[], b"x")).await;
            let answer = agent.next().await.unwrap();
            assert_eq!((answer[0], answer[4]), (0x40, 0x87), "{answer:?}");
        }
        agent.vanish();
        let mut agent = Peer::new(&gateway, version, "edge-1").await;
        agent.subscribe(&[], &[(&each, 1)]).await;
        agent.take("c-3").await;
        agent.publish_with(0x33, &of("c-3"), &[], "").await;
        // Another agent hears nothing of it, and takes nothing back.
        let mut other = Peer::new(&gateway, version, "edge-2").await;
        assert!(other.subscribe(&[], &[(&each, 1)]).await[0] >= 0x80);
        operator.publish_with(0x33, &of("c-6"), &[], "").await;
    }
}

#[tokio::test]
async fn a_session_that_outlives_its_connection_goes_on_hearing() {
    let gateway = gateway().await;
    let mut operator = Peer::new(&gateway, V5, "operator").await;
    let (mut agent, _) = Peer::open(&gateway, &Opening::lasting(V5, "edge-1")).await;
    agent.subscribe(&[], &[(DO, 1)]).await;
    agent.vanish();
    let (mut agent, opened) = Peer::open(&gateway, &Opening::lasting(V5, "edge-1")).await;
    assert_eq!(opened.flags, 1);
    operator.publish_with(0x33, DO, &[], "go on").await;
    agent.take("go on").await;
}

#[tokio::test]
async fn nobody_hears_what_another_is_told_and_nobody_tells_who_may_not() {
    let gateway = gateway().await;
    let mut operator = Peer::new(&gateway, V5, "operator").await;
    operator.publish_with(0x33, CONFIG, &[], "for edge-1").await;
    let mut other = Peer::new(&gateway, V5, "edge-2").await;
    assert_eq!(other.subscribe(&[], &[(CONFIG, 1), (DO, 1)]).await, [0x87, 0x87]);
    // Rules let it have everything; what is told to others is left out.
    let mut viewer = Peer::new(&gateway, V5, "viewer").await;
    assert_eq!(viewer.subscribe(&[], &[("weir/1/default/+/config", 1), (CONFIG, 1)]).await, [1, 0x87]);
    viewer.expect_quiet().await;
    operator.publish_with(0x33, CONFIG, &[], "again").await;
    viewer.expect_quiet().await;
    // Neither an agent itself nor one without a rule.
    for name in ["edge-1", "viewer"] {
        let mut peer = Peer::new(&gateway, V5, name).await;
        peer.send(&publish_as(V5, 0x33, CONFIG, 5, &[], b"x")).await;
        let answer = peer.next().await.unwrap();
        assert_eq!((answer[0], answer[4]), (0x40, 0x87), "{name}: {answer:?}");
    }
    // Nor does the gateway say it for who is dead.
    let will = Will { topic: DO, payload: b"x", ..Will::default() };
    let opening = Opening { will: Some(will), ..Opening::new(V5, "operator") };
    assert_ne!(Peer::open(&gateway, &opening).await.1.code, 0);
}

#[tokio::test]
async fn what_is_too_large_for_an_agent_is_refused_and_not_kept() {
    let gateway = gateway().await;
    let mut operator = Peer::new(&gateway, V5, "operator").await;
    let large = "x".repeat(MAX_ORDER + 1);
    operator.send(&publish_as(V5, 0x33, CONFIG, 5, &[], large.as_bytes())).await;
    let answer = operator.next().await.unwrap();
    assert_eq!((answer[0], answer[4]), (0x40, 0x97), "{answer:?}");
    operator.publish_with(0x33, CONFIG, &[], &large[1..]).await;
    let mut agent = Peer::new(&gateway, V5, "edge-1").await;
    agent.subscribe(&[], &[(CONFIG, 1)]).await;
    agent.take(&large[1..]).await;
}

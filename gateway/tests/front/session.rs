//! What an agent is answered, and when.

use weir_gateway::front::refusal::Refusal;
use weir_gateway::ingest::{Event, Failure, Outcome, Reason, Verdict};
use weir_gateway::mqtt::packet::Version::{self, V4, V5};
use weir_protocol::batch::command::{self, AgentCommand};
use weir_protocol::{DeviceId, SchemaHash};

use crate::script::{Answered, Stage, connect, packet, publish, subscribe};

const BOTH: [Version; 2] = [V4, V5];
const BATCH: &str = "weir/1/default/edge-1/batch";
const STATUS: &str = "weir/1/default/edge-1/status";
const COMMAND: &str = "weir/1/default/edge-1/command";

#[tokio::test]
async fn puback_waits_for_the_verdict_and_keeps_the_order() {
    for version in BOTH {
        let mut stage = Stage::new();
        let mut agent = stage.connect(version, "edge-1").await;
        agent.send(&publish(version, BATCH, 1, 10, b"first")).await;
        agent.send(&publish(version, STATUS, 1, 11, b"{}")).await;
        agent.send(&publish(version, BATCH, 1, 12, b"second")).await;
        let (first, second) = (stage.message().await, stage.message().await);
        // The status needs no commit, and waits for its turn all the same.
        agent.expect_quiet().await;
        stage.decide(&first, Verdict::Stored);
        assert_eq!(agent.answer().await, Answered::Acknowledged(10, 0));
        assert_eq!(agent.answer().await, Answered::Acknowledged(11, 0));
        agent.expect_quiet().await;
        stage.decide(&second, Verdict::Stored);
        assert_eq!(agent.answer().await, Answered::Acknowledged(12, 0));
    }
}

#[tokio::test]
async fn dead_lettered_is_said_where_it_can_be_said() {
    for (version, code) in [(V4, 0), (V5, 0x99)] {
        let mut stage = Stage::new();
        let mut agent = stage.connect(version, "edge-1").await;
        agent.send(&publish(version, BATCH, 1, 1, b"poison")).await;
        let message = stage.message().await;
        stage.decide(&message, Verdict::DeadLettered(Reason::UnknownChannel));
        assert_eq!(agent.answer().await, Answered::Acknowledged(1, code));
    }
}

#[tokio::test]
async fn nothing_behind_a_refused_batch_is_acknowledged_with_success() {
    for (verdict, code) in [(Verdict::Unreadable("cut short"), 0x83), (Verdict::Failed(Failure::Quota), 0x97)] {
        let mut stage = Stage::new();
        let mut agent = stage.connect(V5, "edge-1").await;
        for pkid in 1..=3 {
            agent.send(&publish(V5, BATCH, 1, pkid, b"batch")).await;
        }
        let messages = [stage.message().await, stage.message().await, stage.message().await];
        stage.decide(&messages[0], Verdict::Stored);
        stage.decide(&messages[1], verdict);
        stage.decide(&messages[2], Verdict::Failed(Failure::AfterRefusal));
        assert_eq!(agent.answer().await, Answered::Acknowledged(1, 0));
        assert_eq!(agent.answer().await, Answered::Acknowledged(2, code));
        assert_eq!(agent.answer().await, Answered::Acknowledged(3, 0x80));
        agent.expect_end(code).await;
    }
}

#[tokio::test]
async fn a_refused_batch_closes_mqtt_3_without_a_puback() {
    let mut stage = Stage::new();
    let mut agent = stage.connect(V4, "edge-1").await;
    agent.send(&publish(V4, BATCH, 1, 1, b"batch")).await;
    let message = stage.message().await;
    stage.decide(&message, Verdict::Unreadable("cut short"));
    agent.expect_end(0x83).await;
    assert_eq!(stage.front.counters().refusals(Refusal::Unreadable), 1);
}

#[tokio::test]
async fn a_failed_commit_acknowledges_nothing_and_closes() {
    for version in BOTH {
        let mut stage = Stage::new();
        let mut agent = stage.connect(version, "edge-1").await;
        agent.send(&publish(version, BATCH, 1, 1, b"one")).await;
        agent.send(&publish(version, BATCH, 1, 2, b"two")).await;
        let message = stage.message().await;
        stage.decide(&message, Verdict::Failed(Failure::Commit));
        agent.expect_end(0x83).await;
    }
}

#[tokio::test]
async fn a_stop_answers_what_is_in_flight_first() {
    for version in BOTH {
        let mut stage = Stage::new();
        let mut agent = stage.connect(version, "edge-1").await;
        agent.send(&publish(version, BATCH, 1, 1, b"batch")).await;
        let message = stage.message().await;
        stage.stop.send(true).unwrap();
        stage.decide(&message, Verdict::Stored);
        assert_eq!(agent.answer().await, Answered::Acknowledged(1, 0));
        agent.expect_end(0x8b).await;
    }
}

#[tokio::test]
async fn an_agent_publishes_under_its_own_name_only() {
    let cases = [("weir/1/default/edge-2/batch", 0x87), (COMMAND, 0x87), ("somewhere/else", 0x90)];
    for (topic, code) in cases {
        let mut stage = Stage::new();
        let mut agent = stage.connect(V5, "edge-1").await;
        agent.send(&publish(V5, topic, 1, 1, b"x")).await;
        assert_eq!(agent.answer().await, Answered::Acknowledged(1, code), "{topic}");
        // It was told; its own batches go on.
        agent.send(&publish(V5, BATCH, 1, 2, b"x")).await;
        assert_eq!(stage.message().await.0.ticket, 1);
        // At QoS 0 there is no PUBACK to say it with.
        agent.send(&publish(V5, topic, 0, 0, b"x")).await;
        agent.expect_end(code).await;

        let mut agent = stage.connect(V4, "edge-1").await;
        agent.send(&publish(V4, topic, 1, 1, b"x")).await;
        agent.expect_end(code).await;
    }
}

#[tokio::test]
async fn an_agent_hears_its_own_commands_only_and_none_before_it_listens() {
    let ask = AgentCommand::Describe { device: DeviceId::new("pump-1").unwrap(), schema: SchemaHash(7) };
    for (version, refused) in [(V4, 0x80), (V5, 0x87)] {
        let mut stage = Stage::new();
        let mut agent = stage.connect(version, "edge-1").await;
        agent.send(&publish(version, BATCH, 1, 1, b"batch")).await;
        let (_, events) = stage.message().await;
        events.send(Event::Ask(ask)).unwrap();
        agent.expect_quiet().await;
        agent.send(&subscribe(version, &["weir/1/other/#", "weir/1/default/edge-2/command", COMMAND])).await;
        assert_eq!(agent.answer().await, Answered::Subscribed(vec![refused, refused, 1]));
        let Answered::Published { topic, payload, .. } = agent.answer().await else { panic!() };
        assert_eq!(topic, COMMAND);
        assert_eq!(command::decode(&payload), Ok(ask));
    }
}

#[tokio::test]
async fn a_puback_that_nobody_waits_for_and_a_shared_subscription_change_nothing() {
    for (version, refused) in [(V4, 0x80), (V5, 0x9e)] {
        let mut stage = Stage::new();
        let mut agent = stage.connect(version, "edge-1").await;
        agent.send(&packet(0x40, &[0, 77])).await;
        agent.send(&subscribe(version, &[&format!("$share/group/{COMMAND}")])).await;
        assert_eq!(agent.answer().await, Answered::Subscribed(vec![refused]));
        agent.send(&publish(version, BATCH, 1, 1, b"batch")).await;
        let message = stage.message().await;
        agent.vanish().await;
        // The verdict on a session that is gone reaches nobody, and the agent comes back.
        let outcome = Outcome { ticket: message.0.ticket, verdict: Verdict::Stored };
        assert!(message.1.send(Event::Outcomes(vec![outcome])).is_err());
        stage.connect(version, "edge-1").await.expect_quiet().await;
    }
}

#[tokio::test]
async fn a_second_session_takes_the_first_over() {
    for version in BOTH {
        let stage = Stage::new();
        let mut first = stage.connect(version, "edge-1").await;
        let mut other = stage.connect(version, "edge-2").await;
        let mut second = stage.connect(version, "edge-1").await;
        first.expect_end(0x8e).await;
        second.expect_quiet().await;
        other.expect_quiet().await;
        // The end of the old session is not the end of the new one.
        first.vanish().await;
        assert_eq!(stage.front.counters().snapshot().connected, 2);
    }
}

/// [MQTT-3.14.4-3]: whatever becomes of the transport behind a DISCONNECT, the will is taken back.
#[tokio::test]
async fn who_said_goodbye_leaves_no_will_although_its_transport_breaks_behind_it() {
    for version in BOTH {
        let mut stage = Stage::with_room(0);
        let mut agent = stage.dial(version);
        agent.send(&connect(version, "edge-1", 0, Some((STATUS, "gone")))).await;
        assert_eq!(agent.answer().await, Answered::Connected(0));
        // The answer to the ping can no longer be written, and ingest has no room for the batch yet.
        agent.send(&[&[0xc0, 0], &publish(version, BATCH, 1, 1, b"last")[..], &[0xe0, 0]].concat()).await;
        let noticed = tokio::spawn(agent.vanish());
        tokio::task::yield_now().await;
        stage.room.add_permits(1);
        assert_eq!(stage.message().await.0.payload, "last", "ingest has it all the same");
        noticed.await.unwrap();
        assert_eq!(stage.sessions.stats().wills_waiting, 0);
    }
}

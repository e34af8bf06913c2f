//! Messages at QoS 2, and topic aliases: what is answered, and that nothing is handed on twice.

use weir_gateway::ingest::Verdict;
use weir_gateway::mqtt::packet::Version::{self, V4, V5};

use crate::script::{Answered, Stage, packet, publish};

const BOTH: [Version; 2] = [V4, V5];
const BATCH: &str = "weir/1/default/edge-1/batch";

fn pubrel(id: u16) -> Vec<u8> {
    packet(0x62, &id.to_be_bytes())
}

#[tokio::test]
async fn a_message_at_qos_2_is_received_after_its_verdict_and_handed_on_once() {
    for version in BOTH {
        let mut stage = Stage::new();
        let mut agent = stage.connect(version, "edge-1").await;
        agent.send(&publish(version, BATCH, 2, 7, b"batch")).await;
        let message = stage.message().await;
        agent.expect_quiet().await;
        // Sent again before and after its PUBREC: answered again, and no second message.
        agent.send(&publish(version, BATCH, 2, 7, b"batch")).await;
        agent.expect_quiet().await;
        stage.decide(&message, Verdict::Stored);
        assert_eq!(agent.answer().await, Answered::Received(7, 0));
        assert_eq!(agent.answer().await, Answered::Received(7, 0));
        agent.send(&publish(version, BATCH, 2, 7, b"batch")).await;
        assert_eq!(agent.answer().await, Answered::Received(7, 0));
        assert!(stage.submitted.try_recv().is_err(), "one message");
        agent.send(&pubrel(7)).await;
        assert_eq!(agent.answer().await, Answered::Completed(7, 0));
        // The id is free: what comes under it is another message.
        agent.send(&publish(version, BATCH, 2, 7, b"another")).await;
        assert_eq!(&stage.message().await.0.payload[..], b"another");
    }
}

#[tokio::test]
async fn pubrel_for_nothing_is_completed_and_said_where_it_can_be_said() {
    for (version, code) in [(V4, 0), (V5, 0x92)] {
        let stage = Stage::new();
        let mut agent = stage.connect(version, "edge-1").await;
        agent.send(&pubrel(9)).await;
        assert_eq!(agent.answer().await, Answered::Completed(9, code));
        agent.expect_quiet().await;
    }
}

/// Clients of MQTT 5 call a PUBCOMP with 0x92 a message that failed.
#[tokio::test]
async fn pubrel_that_comes_again_after_a_lost_pubcomp_is_completed_with_success() {
    let mut stage = Stage::new();
    let durable = b"\x10\x18\x00\x04MQTT\x05\x00\x00\x00\x05\x11\x00\x00\x0e\x10\x00\x06edge-1";
    let mut agent = stage.dial(V5);
    agent.send(durable).await;
    assert_eq!(agent.answer().await, Answered::Connected(0));
    agent.send(&publish(V5, BATCH, 2, 7, b"batch")).await;
    let message = stage.message().await;
    stage.decide(&message, Verdict::Stored);
    assert_eq!(agent.answer().await, Answered::Received(7, 0));
    agent.send(&pubrel(7)).await;
    assert_eq!(agent.answer().await, Answered::Completed(7, 0));
    agent.vanish().await;

    let mut agent = stage.dial(V5);
    agent.send(durable).await;
    assert_eq!(agent.answer().await, Answered::Connected(0));
    agent.send(&pubrel(7)).await;
    assert_eq!(agent.answer().await, Answered::Completed(7, 0));
}

#[tokio::test]
async fn a_refused_message_at_qos_2_gives_its_id_free() {
    let mut stage = Stage::new();
    let mut agent = stage.connect(V5, "edge-1").await;
    agent.send(&publish(V5, "nobody/stores/this", 2, 1, b"x")).await;
    assert_eq!(agent.answer().await, Answered::Received(1, 0x90));
    agent.send(&publish(V5, BATCH, 2, 1, b"batch")).await;
    let message = stage.message().await;
    stage.decide(&message, Verdict::Stored);
    assert_eq!(agent.answer().await, Answered::Received(1, 0));
}

#[tokio::test]
async fn answers_at_both_qos_come_in_the_order_of_the_messages() {
    for version in BOTH {
        let mut stage = Stage::new();
        let mut agent = stage.connect(version, "edge-1").await;
        agent.send(&publish(version, BATCH, 2, 1, b"one")).await;
        agent.send(&publish(version, BATCH, 1, 2, b"two")).await;
        agent.send(&publish(version, BATCH, 2, 3, b"three")).await;
        for expected in [Answered::Received(1, 0), Answered::Acknowledged(2, 0), Answered::Received(3, 0)] {
            let message = stage.message().await;
            stage.decide(&message, Verdict::Stored);
            assert_eq!(agent.answer().await, expected);
        }
    }
}

#[tokio::test]
async fn an_alias_stands_for_its_topic_on_its_connection() {
    let mut stage = Stage::new();
    let mut agent = stage.connect(V5, "edge-1").await;
    let named = [&[0, BATCH.len() as u8], BATCH.as_bytes(), &[0, 1, 3, 0x23, 0, 5], b"named"].concat();
    agent.send(&packet(0x32, &named)).await;
    agent.send(&packet(0x32, b"\x00\x00\x00\x02\x03\x23\x00\x05by alias")).await;
    assert_eq!(&stage.message().await.0.payload[..], b"named");
    assert_eq!(&stage.message().await.0.payload[..], b"by alias");
    // Another connection has none.
    let mut other = stage.connect(V5, "edge-2").await;
    other.send(&packet(0x32, b"\x00\x00\x00\x02\x03\x23\x00\x05by alias")).await;
    other.expect_end(0x82).await;
}

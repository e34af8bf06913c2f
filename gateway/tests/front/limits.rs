//! Everything has a limit, and whoever meets one is told.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use weir_gateway::front::refusal::Refusal;
use weir_gateway::ingest::Verdict;
use weir_gateway::mqtt::packet::Version::{V4, V5};

use crate::script::{Answered, Stage, WINDOW, connect, packet, publish};

const BATCH: &str = "weir/1/default/edge-1/batch";

#[tokio::test]
async fn a_connect_that_is_wrong_is_refused_with_its_reason() {
    let mqtt31 = packet(0x10, b"\x00\x06MQIsdp\x03\x02\x00\x00\x00\x06edge-1");
    let mqtt6 = packet(0x10, b"\x00\x04MQTT\x06\x02\x00\x00\x00\x00\x06edge-1");
    let auth = packet(0x10, b"\x00\x04MQTT\x05\x02\x00\x00\x08\x15\x00\x05SCRAM\x00\x06edge-1");
    let will = |version| connect(version, "edge-1", 0, Some(("weir/1/default/edge-2/status", "gone")));
    let cases = [
        (V4, mqtt31, 1, Refusal::Version),
        (V5, mqtt6, 0x84, Refusal::Version),
        (V5, auth, 0x8c, Refusal::AuthMethod),
        (V4, will(V4), 5, Refusal::NotAuthorized),
        (V5, will(V5), 0x87, Refusal::NotAuthorized),
        (V4, connect(V4, "edge-1", 0, Some(("nobody/stores/this", "gone"))), 5, Refusal::Will),
        (V5, connect(V5, "edge-1", 0, Some(("nobody/stores/this", "gone"))), 0x90, Refusal::Will),
        (V5, connect(V5, "edge-1", 0, Some((BATCH, "gone"))), 0x90, Refusal::Will),
        (V4, connect(V4, &"x".repeat(129), 0, None), 2, Refusal::ClientId),
        (V5, connect(V5, &"x".repeat(129), 0, None), 0x85, Refusal::ClientId),
        (V5, connect(V5, "tab\there", 0, None), 0x85, Refusal::ClientId),
    ];
    for (version, bytes, code, refusal) in cases {
        let stage = Stage::new();
        for times in 1..=2 {
            let mut client = stage.dial(version);
            client.send(&bytes).await;
            assert_eq!(client.answer().await, Answered::Connected(code), "{refusal:?}");
            assert_eq!(client.answer().await, Answered::Closed);
            assert_eq!(stage.front.counters().refusals(refusal), times);
        }
    }
}

#[tokio::test]
async fn what_mqtt_allows_and_weir_does_not_is_refused_with_its_reason() {
    let alias = |alias| [0, 0, 0, 1, 3, 0x23, 0, alias, b'x'];
    let cases = [
        (packet(0x32, &alias(1)), 0x82, Refusal::UnknownAlias),
        (packet(0x32, &alias(17)), 0x94, Refusal::TopicAlias),
        (packet(0x32, &alias(0)), 0x94, Refusal::TopicAlias),
        (connect(V5, "edge-1", 0, None), 0x82, Refusal::Protocol),
        (packet(0xe0, &[0, 5, 0x11, 0, 0, 0, 9]), 0x82, Refusal::SessionExpiry),
        (packet(0x20, &[0, 0, 0]), 0x82, Refusal::Protocol),
        (packet(0xf0, &[0]), 0x82, Refusal::Protocol),
        (packet(0x80, &[0, 1, 0, 0, 1, b'a', 0]), 0x81, Refusal::Malformed),
        // 256 MiB announced: refused before a byte of it is waited for.
        (vec![0x30, 0xff, 0xff, 0xff, 0x7f], 0x95, Refusal::PacketTooLarge),
        (vec![0x30, 0xff, 0xff, 0xff, 0xff], 0x81, Refusal::Malformed),
    ];
    for (bytes, code, refusal) in cases {
        let stage = Stage::new();
        let mut agent = stage.connect(V5, "edge-1").await;
        agent.send(&bytes).await;
        agent.expect_end(code).await;
        assert_eq!(stage.front.counters().refusals(refusal), 1, "{refusal:?}");
    }
}

#[tokio::test]
async fn a_length_of_256_mib_is_refused_before_connect_too() {
    let stage = Stage::new();
    let mut client = stage.dial(V4);
    client.send(&[0x10, 0xff, 0xff, 0xff, 0x7f]).await;
    assert!(matches!(client.answer().await, Answered::Connected(code) if code != 0));
    assert_eq!(client.answer().await, Answered::Closed);
    assert_eq!(stage.front.counters().refusals(Refusal::PacketTooLarge), 1);
}

#[tokio::test]
async fn more_in_flight_than_announced_is_refused_on_mqtt_5_and_waits_on_3() {
    let mut stage = Stage::new();
    let mut agent = stage.connect(V5, "edge-1").await;
    for pkid in 1..=WINDOW + 1 {
        agent.send(&publish(V5, BATCH, 1, pkid, b"batch")).await;
    }
    agent.expect_end(0x93).await;
    while stage.submitted.try_recv().is_ok() {}

    let mut agent = stage.connect(V4, "edge-1").await;
    for pkid in 1..=2 * WINDOW {
        agent.send(&publish(V4, BATCH, 1, pkid, b"batch")).await;
    }
    for pkid in 1..=2 * WINDOW {
        let message = stage.message().await;
        // One leaves, one comes in.
        stage.decide(&message, Verdict::Stored);
        assert_eq!(agent.answer().await, Answered::Acknowledged(pkid, 0));
    }
    assert!(stage.front.counters().snapshot().pauses > 0);
}

#[tokio::test(start_paused = true)]
async fn without_room_a_client_is_not_read_and_with_room_it_goes_on() {
    const ALL: u16 = 400;
    let mut stage = Stage::with_room(0);
    let mut agent = stage.connect(V4, "edge-1").await;
    let all: Vec<u8> = (1..=ALL).flat_map(|pkid| publish(V4, BATCH, 1, pkid, &[7; 100])).collect();
    // The network holds a few kilobytes, and the front takes no more than its window: the rest stays outside.
    let sent = tokio::time::timeout(Duration::from_secs(3600), agent.stream.write_all(&all)).await;
    assert!(sent.is_err(), "a front without room took everything");
    assert!(stage.submitted.try_recv().is_err());
    drop(agent);

    let mut agent = stage.connect(V4, "edge-1").await;
    let (mut read, mut write) = tokio::io::split(agent.stream);
    let writer = tokio::spawn(async move { write.write_all(&all).await.map(|()| write) });
    for expected in 1..=ALL {
        stage.room.add_permits(1);
        let message = stage.message().await;
        stage.decide(&message, Verdict::Stored);
        let mut ack = [0; 4];
        tokio::io::AsyncReadExt::read_exact(&mut read, &mut ack).await.unwrap();
        assert_eq!(ack, [0x40, 2, (expected >> 8) as u8, expected as u8]);
    }
    agent.stream = read.unsplit(writer.await.unwrap().unwrap());
    agent.expect_quiet().await;
}

#[tokio::test(start_paused = true)]
async fn silence_beyond_one_and_a_half_times_the_keep_alive_ends_a_session() {
    for version in [V4, V5] {
        let stage = Stage::new();
        let mut agent = stage.dial(version);
        agent.send(&connect(version, "edge-1", 10, None)).await;
        assert_eq!(agent.answer().await, Answered::Connected(0));
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(14_500)).await;
            agent.expect_quiet().await;
        }
        assert_eq!(stage.front.counters().refusals(Refusal::KeepAlive), 0);
        agent.expect_end(0x8d).await;
        assert_eq!(stage.front.counters().refusals(Refusal::KeepAlive), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_speaks_once_in_a_while_stays() {
    let stage = Stage::new();
    let mut agent = stage.dial(V5);
    agent.send(&connect(V5, "edge-1", 600, None)).await;
    assert_eq!(agent.answer().await, Answered::Connected(0));
    // Longer apart than an answer may wait to be taken: it does not wait while there is none.
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(599)).await;
        agent.expect_quiet().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_not_read_is_not_called_silent() {
    let mut stage = Stage::with_room(0);
    let mut agent = stage.dial(V5);
    agent.send(&connect(V5, "edge-1", 10, None)).await;
    assert_eq!(agent.answer().await, Answered::Connected(0));
    agent.send(&publish(V5, BATCH, 1, 1, b"batch")).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    stage.room.add_permits(1);
    let message = stage.message().await;
    stage.decide(&message, Verdict::Stored);
    assert_eq!(agent.answer().await, Answered::Acknowledged(1, 0));
    agent.expect_quiet().await;
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_comes_byte_by_byte_for_ever_is_given_up() {
    let stage = Stage::new();
    let mut client = stage.dial(V5);
    let bytes = connect(V5, "edge-1", 0, None);
    for byte in &bytes[..bytes.len() - 1] {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if client.stream.write_all(&[*byte]).await.is_err() {
            break;
        }
    }
    assert_eq!(client.answer().await, Answered::Closed);
    assert_eq!(stage.front.counters().refusals(Refusal::ConnectTimeout), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_its_answers_is_given_up() {
    let stage = Stage::new();
    let mut agent = stage.connect(V5, "edge-1").await;
    let pings = [0xc0, 0].repeat(1 << 20);
    // Two million pings and no pong is read: the answers pile up to their bound, and then nothing moves.
    let _ = agent.stream.write_all(&pings).await;
    agent.vanish().await;
    assert_eq!(stage.front.counters().refusals(Refusal::NotReading), 1);
}

#[tokio::test]
async fn a_packet_id_that_is_in_flight_is_refused_in_its_turn() {
    let mut stage = Stage::new();
    let mut agent = stage.connect(V5, "edge-1").await;
    for payload in [b"first", b"again"] {
        agent.send(&publish(V5, BATCH, 1, 7, payload)).await;
    }
    agent.send(&publish(V5, BATCH, 1, 8, b"next")).await;
    let (first, next) = (stage.message().await, stage.message().await);
    assert_eq!((&first.0.payload[..], &next.0.payload[..]), (&b"first"[..], &b"next"[..]));
    agent.expect_quiet().await;
    stage.decide(&first, Verdict::Stored);
    assert_eq!(agent.answer().await, Answered::Acknowledged(7, 0));
    assert_eq!(agent.answer().await, Answered::Acknowledged(7, 0x91));
    stage.decide(&next, Verdict::Stored);
    assert_eq!(agent.answer().await, Answered::Acknowledged(8, 0));
    // Once it is answered, an id is free again.
    agent.send(&publish(V5, BATCH, 1, 7, b"later")).await;
    let later = stage.message().await;
    stage.decide(&later, Verdict::Stored);
    assert_eq!(agent.answer().await, Answered::Acknowledged(7, 0));
    assert_eq!(stage.front.counters().refusals(Refusal::PacketIdInUse), 1);

    let mut agent = stage.connect(V4, "edge-1").await;
    agent.send(&publish(V4, BATCH, 1, 7, b"first")).await;
    agent.send(&publish(V4, BATCH, 1, 7, b"again")).await;
    agent.expect_end(0x91).await;
}

#[tokio::test(start_paused = true)]
async fn sockets_that_say_nothing_make_room_for_those_that_speak() {
    let stage = Stage::new();
    let address = |last| Ipv4Addr::new(10, 0, 0, last);
    // Five of one address and ten in all may wait.
    let mut same: Vec<_> = (0..6).map(|_| stage.dial_from(V5, address(1))).collect();
    assert_eq!(same.remove(0).answer().await, Answered::Closed);
    let mut others: Vec<_> = (2..8).map(|last| stage.dial_from(V5, address(last))).collect();
    assert_eq!(same.remove(0).answer().await, Answered::Closed);
    assert_eq!(stage.front.counters().refusals(Refusal::Crowded), 2);
    // Who speaks is in, however many wait, and no longer counts with them.
    for client in &mut others {
        client.send(&connect(V5, "edge-1", 0, None)).await;
        assert_eq!(client.answer().await, Answered::Connected(0));
    }
    assert_eq!(stage.front.waiting_and_room().0, 4);
    for client in &mut same {
        assert_eq!(client.answer().await, Answered::Closed);
    }
    assert_eq!(stage.front.counters().refusals(Refusal::ConnectTimeout), 4);
    drop(same);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(stage.front.waiting_and_room().0, 0);
}

#[tokio::test(start_paused = true)]
async fn a_packet_that_comes_byte_by_byte_for_ever_is_given_up() {
    for version in [V4, V5] {
        let mut stage = Stage::new();
        let mut loris = stage.connect(version, "edge-1").await;
        let mut healthy = stage.connect(version, "edge-2").await;
        let packet = publish(version, BATCH, 1, 1, &[7; 10_000]);
        let mut sent = 0;
        // Never silent for long, and never done.
        while sent < 100 && loris.stream.write_all(&packet[sent..=sent]).await.is_ok() {
            sent += 1;
            tokio::time::sleep(Duration::from_secs(1)).await;
            healthy.send(&publish(version, "weir/1/default/edge-2/batch", 1, 1, b"healthy")).await;
            let message = stage.message().await;
            stage.decide(&message, Verdict::Stored);
            assert_eq!(healthy.answer().await, Answered::Acknowledged(1, 0));
        }
        loris.expect_end(0x83).await;
        assert!(sent < 40, "it could send for {sent} s");
        assert_eq!(stage.front.counters().refusals(Refusal::SlowPacket), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_packet_over_a_slow_line_is_waited_for() {
    let mut stage = Stage::new();
    let mut agent = stage.connect(V5, "edge-1").await;
    let packet = publish(V5, BATCH, 1, 1, &[7; 500_000]);
    // Two kilobytes a second, for four minutes.
    for part in packet.chunks(2048) {
        agent.send(part).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let message = stage.message().await;
    stage.decide(&message, Verdict::Stored);
    assert_eq!(agent.answer().await, Answered::Acknowledged(1, 0));
}

#[tokio::test]
async fn what_all_connections_buffer_is_bounded_and_comes_back() {
    let mut stage = Stage::new();
    let before = stage.front.waiting_and_room().1;
    // Each has all but the last byte of a packet of 1 MB on its way.
    let packet = publish(V5, BATCH, 1, 1, &[7; 1_000_000]);
    let mut hoarders = Vec::new();
    for number in 0..10 {
        let mut agent = stage.connect(V5, &format!("hoarder-{number}")).await;
        let mut packet = publish(V5, &format!("weir/1/default/hoarder-{number}/batch"), 1, 1, &[7; 1_000_000]);
        packet.pop();
        hoarders.push(tokio::spawn(async move {
            // What finds no room stays on the way.
            let sent = tokio::time::timeout(Duration::from_millis(300), agent.stream.write_all(&packet)).await;
            (agent, sent.is_ok())
        }));
    }
    let mut connected = Vec::new();
    let mut all_sent = 0;
    for hoarder in hoarders {
        let (agent, sent) = hoarder.await.unwrap();
        all_sent += usize::from(sent);
        connected.push(agent);
    }
    assert!(all_sent < 10, "10 MB were taken into 8 MiB of room");
    let held = stage.front.counters().snapshot().held;
    assert!(held < 20 << 20, "{held} bytes are held");
    drop(connected.drain(..5));
    // A small message needs no room beyond its own; one of 1 MB finds some once others are gone.
    let mut agent = stage.connect(V5, "edge-1").await;
    agent.send(&publish(V5, BATCH, 1, 2, b"small")).await;
    let message = stage.message().await;
    stage.decide(&message, Verdict::Stored);
    assert_eq!(agent.answer().await, Answered::Acknowledged(2, 0));
    drop(connected);
    agent.send(&packet).await;
    let message = stage.message().await;
    stage.decide(&message, Verdict::Stored);
    assert_eq!(agent.answer().await, Answered::Acknowledged(1, 0));
    agent.vanish().await;
    while stage.front.counters().snapshot().connected > 0 {
        tokio::task::yield_now().await;
    }
    tokio::task::yield_now().await;
    assert_eq!(stage.front.waiting_and_room().1, before);
    assert_eq!(stage.front.counters().snapshot().held, 0);
}

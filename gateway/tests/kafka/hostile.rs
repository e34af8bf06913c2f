//! What strangers send.

use std::time::Duration;

use kafka_protocol::messages::{ApiKey, MetadataRequest, MetadataResponse};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{Client, PATIENCE};
use crate::world::Gateway;

/// Waits for the gateway to close the connection.
async fn closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    // A reset closes it too.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it is closed");
    rest
}

async fn refusals(gateway: &Gateway, reason: &str) -> u64 {
    let (_, metrics) = gateway.get("/metrics").await;
    let name = format!("weir_gateway_kafka_refusals_total{{reason=\"{reason}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
}

async fn is_served(gateway: &Gateway) {
    let mut client = Client::new(gateway.at.kafka).await;
    let all = MetadataRequest::default().with_topics(None);
    let answer: MetadataResponse = client.ask(ApiKey::Metadata, 12, &all).await;
    assert_eq!(answer.brokers.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_cannot_be_close_their_connection_and_no_other() {
    let gateway = Gateway::start().await;
    // A Metadata request of 14 bytes whose array claims 2^31 - 1 topics.
    let mut fourteen = vec![0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xff];
    fourteen.extend(i32::MAX.to_be_bytes());
    let frames: [(&[u8], &str); 7] = [
        (&fourteen, "malformed"),
        (&[0x7f, 0xff, 0xff, 0xff], "oversized"),
        (&[0xff, 0xff, 0xff, 0xff], "oversized"),
        (&[0, 0, 0, 0], "oversized"),
        (b"GET / HTTP/1.1\r\n\r\n", "oversized"),
        // A version of Produce that is not there, and an API that nobody has.
        (&[0, 0, 0, 10, 0, 0, 0, 9, 0, 0, 0, 1, 0xff, 0xff], "unsupported"),
        (&[0, 0, 0, 10, 0x7f, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff], "unsupported"),
    ];
    for (frame, reason) in frames {
        let before = refusals(&gateway, reason).await;
        let mut stream = TcpStream::connect(gateway.at.kafka).await.unwrap();
        stream.write_all(frame).await.unwrap();
        assert_eq!(closed(&mut stream).await, b"", "{reason}: {frame:x?}");
        assert_eq!(refusals(&gateway, reason).await, before + 1, "{frame:x?}");
    }
    is_served(&gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_request_and_silence_are_closed_in_time() {
    let gateway = Gateway::start_with(
        tempfile::tempdir().unwrap(),
        &[("KAFKA__REQUEST_TIMEOUT", "200ms"), ("KAFKA__IDLE_TIMEOUT", "1s")],
    )
    .await;
    let mut silent = TcpStream::connect(gateway.at.kafka).await.unwrap();
    let mut half = TcpStream::connect(gateway.at.kafka).await.unwrap();
    half.write_all(&[0, 0, 0, 100, 0, 3]).await.unwrap();
    assert_eq!((closed(&mut silent).await, closed(&mut half).await), (vec![], vec![]));
    let mut idle = Client::new(gateway.at.kafka).await;
    let all = MetadataRequest::default().with_topics(None);
    let _: MetadataResponse = idle.ask(ApiKey::Metadata, 12, &all).await;
    assert!(idle.frame().await.is_none());
    assert_eq!(refusals(&gateway, "slow-request").await, 1);
    assert_eq!(refusals(&gateway, "idle").await, 2);
    is_served(&gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_silent_sockets_push_each_other_out_and_clients_get_in_beside_them() {
    let settings = [("KAFKA__LOBBY", "100"), ("KAFKA__LOBBY_PER_ADDRESS", "50")];
    let gateway = Gateway::start_with(tempfile::tempdir().unwrap(), &settings).await;
    let mut silent = std::collections::VecDeque::new();
    for number in 0..5000 {
        silent.push_back(TcpStream::connect(gateway.at.kafka).await.unwrap());
        if silent.len() > 500 {
            // Sent away long ago; this test has no use for so many descriptors.
            assert_eq!(closed(&mut silent.pop_front().unwrap()).await, b"");
        }
        if number % 1000 == 0 {
            is_served(&gateway).await;
        }
    }
    let (_, metrics) = gateway.get("/metrics").await;
    let waiting = metrics.lines().find_map(|line| line.strip_prefix("weir_gateway_kafka_waiting ")).unwrap();
    assert!(waiting.parse::<u64>().unwrap() <= 50, "{waiting}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_closed() {
    let gateway = Gateway::start_with(tempfile::tempdir().unwrap(), &[("KAFKA__CONNECTIONS", "2")]).await;
    let all = MetadataRequest::default().with_topics(None);
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = Client::new(gateway.at.kafka).await;
        let _: MetadataResponse = client.ask(ApiKey::Metadata, 12, &all).await;
        clients.push(client);
    }
    let mut third = Client::new(gateway.at.kafka).await;
    third.send(ApiKey::Metadata, 12, &all).await;
    assert!(third.frame().await.is_none());
    assert_eq!(refusals(&gateway, "full").await, 1);
    // A place that is given back is there for the next one.
    drop(clients.pop());
    while gateway.get("/metrics").await.1.contains("weir_gateway_kafka_connections 2\n") {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    is_served(&gateway).await;
}

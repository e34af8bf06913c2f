//! The network in the lab's hands: it carries MQTT, remembers PUBACKs, and can fail like a network.
#![allow(clippy::unwrap_used)] // the helpers of tests are tests

use std::time::Duration;

use bytes::BytesMut;
use rumqttc::mqttbytes::{QoS, v4};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use weir_lab::ledger::{Facts, Ledger};
use weir_lab::relay::tcp::TcpRelay;
use weir_protocol::batch::{Claim, EnvelopeBuilder, LossKind, Section};
use weir_protocol::{DeviceId, Restart, Sequence};

/// Generous: only a broken relay ever waits so long.
const PATIENCE: Duration = Duration::from_secs(20);
const RESTART: Restart = Restart(1 << 32 | 5);

/// A gateway's listener, the relay in front of it, and an agent that is connected to it.
async fn network(ledger: &Ledger) -> (TcpRelay, TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay = TcpRelay::new(listener.local_addr().unwrap(), ledger.clone()).await.unwrap();
    let agent = TcpStream::connect(relay.address).await.unwrap();
    let (gateway, _) = listener.accept().await.unwrap();
    (relay, agent, gateway)
}

fn packets(write: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut bytes = BytesMut::new();
    write(&mut bytes);
    bytes
}

/// CONNECT, and a batch with the sequences 3 to 8.
fn connect_and_publish() -> BytesMut {
    let device = DeviceId::new("pump").unwrap();
    let mut builder = EnvelopeBuilder::new();
    let (start, end) = (Sequence(3), Sequence(9));
    builder.push(&Section::Claim(Claim { device, restart: RESTART, kind: LossKind::Ring, start, end }));
    let mut publish = v4::Publish::new("weir/1/default/lab/batch", QoS::AtLeastOnce, builder.finish(false));
    publish.pkid = 9;
    packets(|out| {
        v4::Connect::new("lab").write(out).unwrap();
        publish.write(out).unwrap();
    })
}

fn puback() -> BytesMut {
    packets(|out| {
        v4::ConnAck::new(v4::ConnectReturnCode::Success, false).write(out).unwrap();
        v4::PubAck::new(9).write(out).unwrap();
    })
}

async fn receive(socket: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    tokio::time::timeout(PATIENCE, socket.read_exact(&mut bytes)).await.expect("bytes arrive").unwrap();
    bytes
}

fn facts(ledger: &Ledger) -> Facts {
    ledger.pages().get(&(DeviceId::new("pump").unwrap(), RESTART)).cloned().unwrap_or_default()
}

#[tokio::test]
async fn a_puback_is_in_the_ledger_before_the_agent_can_have_it() {
    let ledger = Ledger::new();
    let (_relay, mut agent, mut gateway) = network(&ledger).await;
    agent.write_all(&connect_and_publish()).await.unwrap();
    assert_eq!(receive(&mut gateway, connect_and_publish().len()).await, connect_and_publish());
    assert_eq!(facts(&ledger).gateway_acked.len(), 0);
    gateway.write_all(&puback()).await.unwrap();
    assert_eq!(receive(&mut agent, puback().len()).await, puback());
    assert!(facts(&ledger).gateway_acked.contains_all(3..9));
}

#[tokio::test]
async fn a_puback_counts_even_if_the_agent_never_gets_it() {
    let ledger = Ledger::new();
    let (relay, mut agent, mut gateway) = network(&ledger).await;
    agent.write_all(&connect_and_publish()).await.unwrap();
    receive(&mut gateway, connect_and_publish().len()).await;
    let mut promises = ledger.gateway_promises();
    relay.hold_answers();
    gateway.write_all(&puback()).await.unwrap();
    tokio::time::timeout(PATIENCE, promises.changed()).await.expect("the answer is seen").unwrap();
    assert!(facts(&ledger).gateway_acked.contains_all(3..9));
    relay.cut();
    assert_eq!(agent.read(&mut [0; 16]).await.unwrap(), 0, "the agent got nothing");
}

#[tokio::test]
async fn what_a_black_hole_swallowed_arrives_when_it_ends() {
    let ledger = Ledger::new();
    let (relay, mut agent, mut gateway) = network(&ledger).await;
    relay.black_hole();
    agent.write_all(b"lost?").await.unwrap();
    // Nothing can arrive now; the sockets stay open.
    assert_eq!(gateway.try_read(&mut [0; 16]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    relay.clear();
    assert_eq!(receive(&mut gateway, 5).await, b"lost?");
}

#[tokio::test]
async fn a_cut_closes_both_sides_and_a_new_connection_works() {
    let ledger = Ledger::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay = TcpRelay::new(listener.local_addr().unwrap(), ledger.clone()).await.unwrap();
    let mut agent = TcpStream::connect(relay.address).await.unwrap();
    let (mut gateway, _) = listener.accept().await.unwrap();
    relay.cut();
    assert_eq!(agent.read(&mut [0; 16]).await.unwrap(), 0);
    assert_eq!(gateway.read(&mut [0; 16]).await.unwrap(), 0);
    let mut agent = TcpStream::connect(relay.address).await.unwrap();
    let (mut gateway, _) = listener.accept().await.unwrap();
    agent.write_all(b"again").await.unwrap();
    assert_eq!(receive(&mut gateway, 5).await, b"again");
}

#[tokio::test]
async fn of_a_half_open_connection_the_gateway_knows_and_the_agent_does_not() {
    let ledger = Ledger::new();
    let (relay, mut agent, mut gateway) = network(&ledger).await;
    agent.write_all(b"hello").await.unwrap();
    receive(&mut gateway, 5).await;
    relay.half_open();
    assert_eq!(tokio::time::timeout(PATIENCE, gateway.read(&mut [0; 16])).await.expect("it ends").unwrap(), 0);
    agent.write_all(b"anybody there?").await.unwrap();
    let silence = agent.try_read(&mut [0; 16]).unwrap_err();
    assert_eq!(silence.kind(), std::io::ErrorKind::WouldBlock, "the agent's end is open, and nothing comes");
    relay.cut();
    // With an end or a reset: what it had sent was never read.
    assert!(matches!(agent.read(&mut [0; 16]).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn where_little_passes_all_arrives_and_unchanged() {
    let ledger = Ledger::new();
    let (relay, mut agent, mut gateway) = network(&ledger).await;
    relay.throttle(20_000);
    let sent: Vec<u8> = (0..5000_u32).map(|number| number as u8).collect();
    agent.write_all(&sent).await.unwrap();
    assert_eq!(receive(&mut gateway, sent.len()).await, sent);
}

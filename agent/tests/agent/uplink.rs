//! The way to the gateway, against one that follows a script.
#![allow(clippy::single_range_in_vec_init)] // a list of ranges may well have one

use std::sync::Arc;
use std::time::Duration;

use rumqttc::v5::mqttbytes::v5::PubAckReason;
use weir_agent::config::Mqtt;
use weir_agent::counters::Event;
use weir_agent::uplink::UplinkOptions;
use weir_protocol::batch::LossKind;
use weir_protocol::batch::command::{self, AgentCommand};
use weir_protocol::batch::describe::Description;
use weir_protocol::{Channel, ChannelId, Items, Restart, SchemaHash, ValueKind, items};

use crate::support::gateway::{Gateway, Peer};
use crate::support::kept::Kept;
use crate::support::shipping::{Shipping, board, options, readings};

const R: Restart = Restart::from_boot(1, 1);

/// Takes so many batches and answers none.
async fn take(peer: &mut Peer, count: usize) -> Vec<(u16, Vec<Kept>)> {
    let mut taken = Vec::new();
    for _ in 0..count {
        let came = peer.batch().await;
        taken.push((came.packet, came.sections));
    }
    taken
}

#[tokio::test]
async fn what_the_gateway_acknowledged_is_shipped_and_nothing_else_is() {
    let gateway = Gateway::open().await;
    let shipping = Shipping::start(options(gateway.port()), &[0..3, 3..5]);
    let mut peer = gateway.accept(4).await;
    let taken = take(&mut peer, 2).await;
    assert_eq!(taken[0].1, readings(0..3));
    assert_eq!(taken[1].1, readings(3..5));
    assert!(!shipping.is_shipped(0), "sent is not shipped");
    peer.answer(taken[0].0, PubAckReason::Success).await;
    shipping.put(&[5..6]);
    // With two in flight the third goes out after the first answer was taken in.
    let third = peer.batch().await;
    assert!(shipping.is_shipped(0) && !shipping.is_shipped(1));
    peer.answer(taken[1].0, PubAckReason::Success).await;
    peer.answer(third.packet, PubAckReason::Success).await;
    shipping.drains().await;
}

#[tokio::test]
async fn never_more_in_flight_than_the_gateway_takes_less_two() {
    let gateway = Gateway::open().await;
    let ranges: Vec<_> = (0..12).map(|at| at..at + 1).collect();
    let shipping = Shipping::start(options(gateway.port()), &ranges);
    let mut peer = gateway.accept(6).await;
    let mut taken = take(&mut peer, 4).await;
    assert!(peer.is_quiet(Duration::from_millis(200)).await, "a fifth batch in flight");
    for at in 0..12 {
        peer.answer(taken[at].0, PubAckReason::Success).await;
        if taken.len() < 12 {
            taken.extend(take(&mut peer, 1).await);
        }
    }
    let order: Vec<Kept> = taken.into_iter().flat_map(|(_, sections)| sections).collect();
    assert_eq!(order, (0..12).flat_map(|at| readings(at..at + 1)).collect::<Vec<_>>());
    shipping.drains().await;
}

#[tokio::test]
async fn a_lost_connection_sends_again_what_was_not_acknowledged() {
    let gateway = Gateway::open().await;
    let shipping = Shipping::start(options(gateway.port()), &[0..2, 2..4, 4..6]);
    let mut peer = gateway.accept(100).await;
    let taken = take(&mut peer, 3).await;
    peer.answer(taken[0].0, PubAckReason::Success).await;
    // Seen when the batch is there: acknowledgements and the end come in order.
    drop(peer);
    let mut peer = gateway.accept(100).await;
    let again = take(&mut peer, 2).await;
    let sections: Vec<_> = again.iter().flat_map(|(_, sections)| sections.clone()).collect();
    assert_eq!(sections, [readings(2..4), readings(4..6)].concat());
    for (packet, _) in again {
        peer.answer(packet, PubAckReason::Success).await;
    }
    shipping.drains().await;
}

#[tokio::test]
async fn after_a_refusal_everything_later_on_that_connection_is_refused_too() {
    let gateway = Gateway::open().await;
    let shipping = Shipping::start(options(gateway.port()), &[0..1, 1..2, 2..3]);
    let mut peer = gateway.accept(100).await;
    let taken = take(&mut peer, 3).await;
    peer.answer(taken[0].0, PubAckReason::QuotaExceeded).await;
    // A gateway that acknowledged these would break the order.
    peer.answer(taken[1].0, PubAckReason::Success).await;
    let mut peer = gateway.accept(100).await;
    let again = take(&mut peer, 3).await;
    assert_eq!(again[0].1, readings(0..1));
    assert_eq!(again[1].1, readings(1..2), "its acknowledgement came after the refusal");
    assert_eq!(shipping.counters.get(Event::BatchesRefused), 1);
    for (packet, _) in again {
        peer.answer(packet, PubAckReason::Success).await;
    }
    shipping.drains().await;
}

#[tokio::test]
async fn what_was_dead_lettered_is_not_sent_again() {
    let gateway = Gateway::open().await;
    let shipping = Shipping::start(options(gateway.port()), &[0..1]);
    let mut peer = gateway.accept(100).await;
    let came = peer.batch().await;
    peer.answer(came.packet, PubAckReason::PayloadFormatInvalid).await;
    shipping.put(&[1..2]);
    let next = peer.batch().await;
    assert_eq!(next.sections, readings(1..2));
    peer.answer(next.packet, PubAckReason::Success).await;
    let counters = Arc::clone(&shipping.counters);
    shipping.drains().await;
    assert_eq!(counters.get(Event::BatchesDeadLettered), 1);
}

#[tokio::test]
async fn an_unreadable_batch_is_halved_until_one_reading_is_claimed_as_rejected() {
    let gateway = Gateway::open().await;
    let options = UplinkOptions { batch_bytes: 4096, ..options(gateway.port()) };
    let shipping = Shipping::start(options, &[0..5, 5..16]);
    let poison = 6;
    let mut have: Vec<Kept> = Vec::new();
    let (mut refusals, mut single) = (0, None);
    let mut peer = gateway.accept(100).await;
    // Everything arrives, but whatever holds the poisoned reading is refused.
    while have.iter().filter_map(Kept::sequences).map(|(_, range)| range.end - range.start).sum::<u64>() < 16 {
        let came = peer.batch().await;
        let holds = |kept: &Kept| matches!(kept, Kept::Readings(_, _, range) if range.contains(&poison));
        if came.sections.iter().any(holds) {
            refusals += 1;
            let units: u64 = came.sections.iter().filter_map(Kept::sequences).map(|(_, r)| r.end - r.start).sum();
            single = Some(units);
            peer.answer(came.packet, PubAckReason::ImplementationSpecificError).await;
            peer = gateway.accept(100).await;
        } else {
            peer.answer(came.packet, PubAckReason::Success).await;
            have.extend(came.sections);
        }
    }
    assert_eq!(single, Some(1), "the last refusal was of the reading alone");
    assert!(refusals <= 8, "{refusals} refusals to find one among 16");
    let claims: Vec<_> = have.iter().filter(|kept| matches!(kept, Kept::Claim(..))).collect();
    assert_eq!(claims, [&Kept::Claim(board(), R, LossKind::Rejected, poison..poison + 1)]);
    let order: Vec<u64> = have.iter().filter_map(Kept::sequences).flat_map(|(_, range)| range).collect();
    assert_eq!(order, (0..16).collect::<Vec<_>>(), "each once, in order");
    let counters = Arc::clone(&shipping.counters);
    shipping.drains().await;
    assert_eq!(counters.get(Event::ReadingsRejected), 1);
}

#[tokio::test]
async fn a_connection_that_went_dead_is_dropped_and_the_batches_come_again() {
    let gateway = Gateway::open().await;
    let mut options = UplinkOptions { ack_timeout: Duration::from_millis(300), ..options(gateway.port()) };
    // So that it is not a missed ping that tells.
    options.connection.keep_alive = Duration::from_secs(3600);
    let shipping = Shipping::start(options, &[0..2]);
    let mut silent = gateway.accept(100).await;
    assert_eq!(silent.batch().await.sections, readings(0..2));
    // The socket stays open; nothing comes back on it.
    let mut peer = gateway.accept(100).await;
    let came = peer.batch().await;
    assert_eq!(came.sections, readings(0..2));
    peer.answer(came.packet, PubAckReason::Success).await;
    shipping.drains().await;
    drop(silent);
}

#[tokio::test]
async fn descriptions_go_first_and_are_sent_again_when_the_gateway_asks() {
    let gateway = Gateway::open().await;
    let shipping = Shipping::start(options(gateway.port()), &[]);
    let mut channels = Vec::new();
    let channel = Channel { id: ChannelId(0), name: "count", unit: "1", kind: ValueKind::Integer, resolution: 1.0 };
    items::push(&mut channels, &channel);
    let schema = SchemaHash::of(Items::new(&channels));
    let description = Description { device: board(), schema, channels: Items::new(&channels) };
    shipping.queue.state().lock().descriptions.insert(&description).expect("a good description");
    shipping.put(&[0..1]);
    let mut peer = gateway.accept(100).await;
    let first = peer.batch().await;
    assert_eq!(peer.described, 1, "before the first batch");
    peer.answer(first.packet, PubAckReason::Success).await;
    peer.command(b"random bytes".to_vec()).await;
    peer.command(command::encode(&AgentCommand::Describe { device: board(), schema })).await;
    shipping.put(&[1..2]);
    let second = peer.batch().await;
    peer.answer(second.packet, PubAckReason::Success).await;
    peer.hears_until(|peer| peer.described == 2).await;
    assert_eq!(shipping.counters.get(Event::BadCommands), 1);
    shipping.drains().await;
}

/// MQTT 3.1.1 has another packet layout and no reasons; the rest is the same.
#[tokio::test]
async fn a_gateway_of_mqtt_3_is_served_too() {
    use rumqttc::mqttbytes::v4::{ConnAck, ConnectReturnCode, Packet, PubAck};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut options = options(listener.local_addr().expect("an address").port());
    options.gateways[0].endpoint.version = Mqtt::V3;
    let shipping = Shipping::start(options, &[0..2, 2..4]);
    let serve = async {
        // The first connection ends without an answer, which is how 3.1.1 refuses.
        for answers in [false, true] {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let (mut read, mut batches) = (bytes::BytesMut::new(), 0);
            while batches < 2 {
                let Ok(packet) = Packet::read(&mut read, 1 << 20) else {
                    stream.read_buf(&mut read).await.expect("an open connection");
                    continue;
                };
                let mut out = bytes::BytesMut::new();
                match packet {
                    Packet::Connect(connect) => {
                        assert_eq!((connect.client_id.as_str(), connect.clean_session), ("edge-1", true));
                        ConnAck::new(ConnectReturnCode::Success, false).write(&mut out).expect("a packet");
                    }
                    Packet::Publish(publish) => {
                        let batch = publish.topic.ends_with("/batch");
                        batches += usize::from(batch);
                        if answers || !batch {
                            PubAck::new(publish.pkid).write(&mut out).expect("a packet");
                        }
                    }
                    _ => {}
                }
                stream.write_all(&out).await.expect("an open connection");
            }
            if answers {
                return stream;
            }
        }
        unreachable!("the second connection answers")
    };
    let stream = tokio::time::timeout(Duration::from_secs(20), serve).await.expect("two batches, twice");
    shipping.drains().await;
    drop(stream);
}

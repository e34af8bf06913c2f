//! Where patience, trust and batches end, against a gateway that follows a script.
#![allow(clippy::single_range_in_vec_init)] // a list of ranges may well have one

use std::sync::Arc;
use std::time::Duration;

use rumqttc::v5::mqttbytes::v5::PubAckReason;
use weir_agent::counters::Event;
use weir_agent::queue::ClassId;
use weir_agent::uplink::UplinkOptions;
use weir_agent::uplink::spool::{LaneId, Spool};
use weir_protocol::SchemaHash;
use weir_protocol::batch::command::{self, AgentCommand};
use weir_protocol::batch::{MAX_PAYLOAD, MAX_READINGS};

use crate::support::gateway::Gateway;
use crate::support::shipping::{Shipping, board, options, readings};

const LIVE: LaneId = LaneId { class: ClassId::DEFAULT, backlog: false };

/// A gateway keeps a batch for ten seconds while it waits for a description that nobody has, and then goes on without
/// it. An agent that lost patience before that came back with the same batch, was asked again, and so for ever.
#[tokio::test]
async fn a_gateway_that_waits_for_a_description_which_nobody_has_is_given_time() {
    let gateway = Gateway::open().await;
    let ack_timeout = Duration::from_millis(100);
    let shipping = Shipping::start(UplinkOptions { ack_timeout, ..options(gateway.port()) }, &[0..1]);
    let mut peer = gateway.accept(100).await;
    let came = peer.batch().await;
    peer.command(command::encode(&AgentCommand::Describe { device: board(), schema: SchemaHash(1) })).await;
    assert!(peer.is_quiet(5 * ack_timeout).await, "the agent is still on this connection");
    peer.answer(came.packet, PubAckReason::PayloadFormatInvalid).await;
    let counters = Arc::clone(&shipping.counters);
    shipping.drains().await;
    assert_eq!(counters.get(Event::Connections), 1);
}

/// A gateway that reads nothing at all, not even a claim alone, is no judge of a reading: nothing is given up for it,
/// and a gateway that can read gets what was sampled.
#[tokio::test]
async fn a_reading_is_not_given_up_for_a_gateway_that_reads_nothing() {
    let gateway = Gateway::open().await;
    let shipping = Shipping::start(options(gateway.port()), &[0..1]);
    for _ in 0..2 {
        let mut peer = gateway.accept(100).await;
        let came = peer.batch().await;
        peer.answer(came.packet, PubAckReason::ImplementationSpecificError).await;
    }
    let mut peer = gateway.accept(100).await;
    let came = peer.batch().await;
    assert_eq!(came.sections, readings(0..1));
    peer.answer(came.packet, PubAckReason::Success).await;
    shipping.drains().await;
}

/// A batch of the largest size holds more readings of a few bytes than a gateway takes at once, and that gateway
/// dead-letters a batch with too many.
#[tokio::test]
async fn small_readings_do_not_make_a_batch_of_more_than_a_gateway_takes() {
    let ranges: Vec<_> = (0..80_000).step_by(1000).map(|at| at..at + 1000).collect();
    let shipping = Shipping::start(options(1), &ranges);
    let mut spool = Spool::new(&shipping.queue, MAX_PAYLOAD / 2, false);
    let mut units = 0;
    while spool.fill(LIVE, usize::MAX).expect("a good disk") || spool.is_forming(LIVE) {
        let batch = spool.take(LIVE).expect("a batch");
        assert!(u64::from(batch.units) <= MAX_READINGS, "{} readings", batch.units);
        units += batch.units;
    }
    assert_eq!(units, 80_000);
}

/// A gateway reads a connection no further than its budget. A description that came behind more bytes than that was
/// not read while the batches in front waited for it, and good readings went to the dead letters.
#[tokio::test]
async fn the_bytes_in_flight_are_bounded_however_large_the_window() {
    let gateway = Gateway::open().await;
    let ranges: Vec<_> = (0..250_000).step_by(1000).map(|at| at..at + 1000).collect();
    let mut large = UplinkOptions { compress: false, ..options(gateway.port()) };
    large.connection.window = 1000;
    let shipping = Shipping::start(large, &ranges);
    let mut peer = gateway.accept(1000).await;
    let mut packets = Vec::new();
    while let Ok(came) = tokio::time::timeout(Duration::from_millis(500), peer.batch()).await {
        packets.push(came.packet);
    }
    assert!((100..200).contains(&packets.len()), "{} batches of some 7 kB in flight", packets.len());
    for answered in 0..ranges.len() {
        if answered == packets.len() {
            packets.push(peer.batch().await.packet);
        }
        peer.answer(packets[answered], PubAckReason::Success).await;
    }
    shipping.drains().await;
}

/// MQTT 3.1.1 has no reason for a refusal: a batch that a gateway could not read closed connection after connection,
/// for ever.
#[tokio::test]
async fn a_batch_that_closes_connection_after_connection_goes_in_halves() {
    let shipping = Shipping::start(options(1), &[0..8]);
    let mut spool = Spool::new(&shipping.queue, MAX_PAYLOAD / 2, false);
    let again = |spool: &mut Spool| {
        spool.rewind();
        spool.fill(LIVE, usize::MAX).expect("a good disk");
        spool.take(LIVE).expect("a batch")
    };
    for units in [8, 4, 2] {
        for _ in 0..2 {
            let batch = again(&mut spool);
            assert_eq!(batch.units, units);
            assert!(!spool.closed_on(&batch), "once or twice may be anything");
        }
        let batch = again(&mut spool);
        assert!(spool.closed_on(&batch));
    }
    for _ in 0..10 {
        let batch = again(&mut spool);
        assert!(batch.units == 1 && !spool.closed_on(&batch), "a reading is not given up for it");
    }
    let batch = again(&mut spool);
    spool.shipped(&batch);
    assert_eq!(again(&mut spool).units, 2, "what can be read goes faster again");
}

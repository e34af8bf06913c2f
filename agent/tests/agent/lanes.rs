//! What is fresh and what waited longer, on their way to the gateway.
#![allow(clippy::single_range_in_vec_init)] // a list of ranges may well have one

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rumqttc::v5::mqttbytes::v5::PubAckReason;
use weir_agent::queue::ClassId;
use weir_agent::uplink::spool::{LaneId, Outgoing, Spool};
use weir_protocol::RangeSet;

use crate::seeds::for_each_seed;
use crate::support::gateway::Gateway;
use crate::support::shipping::{Shipping, options, readings};

const LIVE: LaneId = LaneId { class: ClassId::DEFAULT, backlog: false };
const BACKLOG: LaneId = LaneId { class: ClassId::DEFAULT, backlog: true };

/// So many records of one reading each.
fn singles(from: u64, count: u64) -> Vec<std::ops::Range<u64>> {
    (from..from + count).map(|at| at..at + 1).collect()
}

fn next(spool: &mut Spool, lane: LaneId) -> Option<Outgoing> {
    spool.fill(lane, usize::MAX).expect("a good disk");
    spool.take(lane)
}

fn offsets(batch: &Outgoing) -> Vec<u64> {
    batch.parts.iter().map(|part| part.offset).collect()
}

#[tokio::test]
async fn after_an_outage_what_is_fresh_goes_at_once_and_what_waited_goes_in_its_order_until_all_is_live_again() {
    let shipping = Shipping::start(options(1), &singles(0, 600));
    let mut spool = Spool::new(&shipping.queue, 1, false);
    shipping.put(&[600..601]);
    // What came in the moment before the connection is as fresh as what comes on it.
    for at in 344..601 {
        let batch = next(&mut spool, LIVE).expect("it is fresh");
        assert_eq!(offsets(&batch), [at]);
        if at < 600 {
            spool.shipped(&batch);
        }
    }
    for at in 0..344 {
        let batch = next(&mut spool, BACKLOG).expect("it waited");
        assert_eq!(offsets(&batch), [at]);
        spool.shipped(&batch);
    }
    assert!(next(&mut spool, BACKLOG).is_none() && !spool.has_backlog(ClassId::DEFAULT));
    spool.rewind();
    assert_eq!(next(&mut spool, LIVE).map(|batch| offsets(&batch)), Some(vec![600]), "it was not acknowledged");
}

#[tokio::test]
async fn a_short_interruption_makes_no_backlog() {
    let shipping = Shipping::start(options(1), &singles(0, 200));
    let mut spool = Spool::new(&shipping.queue, 1, false);
    assert!(next(&mut spool, BACKLOG).is_none());
    assert_eq!(next(&mut spool, LIVE).map(|batch| offsets(&batch)), Some(vec![0]));
}

/// More comes in than the link takes: a live lane that only grows behind would soon be as late as any backlog.
#[tokio::test]
async fn a_live_lane_that_cannot_follow_starts_at_what_is_fresh_and_nothing_is_sent_twice_or_left_out() {
    let shipping = Shipping::start(options(1), &singles(0, 100));
    let mut spool = Spool::new(&shipping.queue, 1, false);
    let mut came = BTreeSet::new();
    for _ in 0..10 {
        came.extend(offsets(&next(&mut spool, LIVE).expect("live")));
    }
    shipping.put(&singles(100, 2000));
    let fresh = next(&mut spool, LIVE).expect("the last of it is fresh");
    assert_eq!(offsets(&fresh), [1844], "what is older is not");
    came.extend(offsets(&fresh));
    shipping.put(&[2100..2101]);
    while let Some(batch) = next(&mut spool, LIVE).or_else(|| next(&mut spool, BACKLOG)) {
        for offset in offsets(&batch) {
            assert!(came.insert(offset), "offset {offset} twice");
        }
    }
    assert_eq!(came.len(), 2101);
}

/// The same while there is a backlog already, which comes by what is still in flight.
#[tokio::test]
async fn what_is_in_flight_when_the_live_lane_starts_anew_is_not_sent_by_the_other() {
    let shipping = Shipping::start(options(1), &singles(0, 600));
    let mut spool = Spool::new(&shipping.queue, 1, false);
    shipping.put(&singles(600, 10));
    let mut came = BTreeSet::new();
    while let Some(batch) = next(&mut spool, LIVE) {
        came.extend(offsets(&batch));
    }
    assert_eq!(came, (344..610).collect());
    shipping.put(&singles(610, 2000));
    let fresh = next(&mut spool, LIVE).expect("the last of it is fresh");
    assert_eq!(offsets(&fresh), [2354], "what is older is not");
    came.extend(offsets(&fresh));
    while let Some(batch) = next(&mut spool, BACKLOG).or_else(|| next(&mut spool, LIVE)) {
        for offset in offsets(&batch) {
            assert!(came.insert(offset), "offset {offset} twice");
        }
    }
    assert_eq!(came.len(), 2610);
}

/// Everything arrives whatever the connections do, each lane in its order, and nothing twice on one connection.
#[tokio::test]
async fn whatever_connections_do_each_lane_keeps_its_order_and_everything_arrives() {
    for_each_seed("whatever_connections_do", 10, |seed| {
        let mut random = StdRng::seed_from_u64(seed);
        let shipping = Shipping::start(options(1), &[]);
        let mut spool = Spool::new(&shipping.queue, 256, false);
        let mut written = 0;
        let mut arrived = RangeSet::new();
        let mut in_flight: Vec<Outgoing> = Vec::new();
        let mut on_connection = RangeSet::new();
        let mut reached: std::collections::BTreeMap<LaneId, u64> = Default::default();
        for step in 0..400 {
            let is_last = step > 300;
            match random.random_range(0..20) {
                0..4 if !is_last => {
                    let most = if random.random_bool(0.1) { 1500 } else { 40 };
                    let count = random.random_range(1..most);
                    shipping.put(&singles(written, count));
                    written += count;
                }
                4 if !is_last => {
                    spool.rewind();
                    (in_flight, on_connection, reached) = Default::default();
                }
                5..12 if !in_flight.is_empty() => {
                    let batch = in_flight.swap_remove(random.random_range(0..in_flight.len()));
                    offsets(&batch).into_iter().for_each(|offset| arrived.insert(offset..offset + 1));
                    spool.shipped(&batch);
                }
                _ => {
                    let lane = if random.random_bool(0.5) { LIVE } else { BACKLOG };
                    let Some(batch) = next(&mut spool, lane) else { continue };
                    for offset in offsets(&batch) {
                        assert!(!on_connection.contains(offset), "offset {offset} twice on a connection");
                        on_connection.insert(offset..offset + 1);
                        let before = reached.insert(lane, offset);
                        assert!(before.is_none_or(|before| before < offset), "{lane:?}: {offset} after {before:?}");
                    }
                    in_flight.push(batch);
                }
            }
        }
        in_flight.iter().for_each(|batch| spool.shipped(batch));
        while let Some(batch) = next(&mut spool, LIVE).or_else(|| next(&mut spool, BACKLOG)) {
            spool.shipped(&batch);
        }
        assert!(shipping.queue.is_empty(), "something never went");
    });
}

/// The window is full of backlog that nobody answers, and still there is a place for what is fresh.
#[tokio::test]
async fn a_backlog_leaves_places_for_what_is_fresh() {
    let gateway = Gateway::open().await;
    let shipping = Shipping::start(options(gateway.port()), &singles(0, 856));
    let mut peer = gateway.accept(16).await;
    let mut packets = Vec::new();
    // What came in the moment before goes first.
    for at in 600..856 {
        let came = peer.batch().await;
        assert_eq!(came.sections, readings(at..at + 1));
        peer.answer(came.packet, PubAckReason::Success).await;
    }
    // 14 places for batches, a quarter of them and never less than one for what is fresh.
    for at in 0..11 {
        let came = peer.batch().await;
        assert_eq!(came.sections, readings(at..at + 1));
        packets.push(came.packet);
    }
    shipping.put(&[856..857]);
    let fresh = peer.batch().await;
    assert_eq!(fresh.sections, readings(856..857));
    packets.push(fresh.packet);
    let mut at = 11;
    for answered in 0..601 {
        peer.answer(packets[answered], PubAckReason::Success).await;
        // The place of what was fresh is not for the backlog.
        if at < 600 && answered != 11 {
            let came = peer.batch().await;
            assert_eq!(came.sections, readings(at..at + 1));
            packets.push(came.packet);
            at += 1;
        }
    }
    shipping.drains().await;
}

/// A reading that the gateway cannot read, somewhere in what waited, holds up neither what is fresh nor the rest.
#[tokio::test]
async fn what_cannot_be_read_is_searched_in_its_lane_while_the_other_goes_on() {
    let shipping = Shipping::start(options(1), &singles(0, 600));
    let mut spool = Spool::new(&shipping.queue, 16 << 10, false);
    shipping.put(&[600..601]);
    let bad = 77;
    let mut rejected = false;
    for _ in 0..2000 {
        let Some(batch) = spool.lanes().find_map(|lane| next(&mut spool, lane)) else { break };
        let is_claim = rejected && batch.units == 1 && offsets(&batch) == [bad];
        if offsets(&batch).contains(&bad) && !is_claim {
            assert!(batch.lane.backlog);
            assert!(shipping.is_shipped(600), "what was fresh is there already");
            rejected |= matches!(spool.unreadable(&batch), weir_agent::uplink::spool::Unreadable::Reading(77, 0));
            spool.rewind();
        } else {
            spool.shipped(&batch);
        }
    }
    assert!(rejected && shipping.queue.is_empty());
}

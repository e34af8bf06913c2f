//! Several gateways: going on with the next one, and coming back.
#![allow(clippy::single_range_in_vec_init)] // a list of ranges may well have one

use std::sync::Arc;
use std::time::Duration;

use rumqttc::v5::mqttbytes::v5::PubAckReason;
use weir_agent::counters::Event;
use weir_agent::uplink::gateways::Order;
use weir_agent::uplink::health::UplinkState;
use weir_agent::uplink::{BreakerState, UplinkOptions};

use crate::support::gateway::{Gateway, Peer};
use crate::support::nowhere::Nowhere;
use crate::support::shipping::{Shipping, options, plain, readings};

/// Both, the first one preferred; how often the preferred one is tried again is the test's.
fn two(preferred: &Gateway, other: &Gateway, return_after: Duration) -> UplinkOptions {
    let alone = options(preferred.port());
    let order = Order { return_after, ..alone.order };
    UplinkOptions { gateways: vec![plain(preferred.port()), plain(other.port())], order, ..alone }
}

const LATER: Duration = Duration::from_secs(3600);

/// Two gateways, of which the preferred one drops three connections: what ships uses the other one.
async fn moved(return_after: Duration) -> (Gateway, Peer, Shipping) {
    let (preferred, other) = (Gateway::open().await, Gateway::open().await);
    let shipping = Shipping::start(two(&preferred, &other, return_after), &[0..1]);
    for _ in 0..3 {
        drop(preferred.accept(100).await);
    }
    (preferred, other.accept(100).await, shipping)
}

/// Answers everything until the other side has nothing more to say for a moment.
async fn answers(peer: &mut Peer, batches: usize) {
    for _ in 0..batches {
        let came = peer.batch().await;
        peer.answer(came.packet, PubAckReason::Success).await;
    }
}

#[tokio::test]
async fn after_failures_in_a_row_the_next_gateway_gets_what_was_not_acknowledged() {
    let (preferred, other) = (Gateway::open().await, Gateway::open().await);
    let shipping = Shipping::start(two(&preferred, &other, LATER), &[0..2, 2..4]);
    // One of two batches is acknowledged, and then the connection breaks, three times in a row.
    let mut peer = preferred.accept(100).await;
    let came = peer.batch().await;
    assert_eq!((came.sections, peer.batch().await.sections), (readings(0..2), readings(2..4)));
    peer.answer(came.packet, PubAckReason::Success).await;
    peer.answer(came.packet + 1, PubAckReason::QuotaExceeded).await;
    drop(peer);
    for _ in 0..2 {
        drop(preferred.accept(100).await);
    }
    let mut peer = other.accept(100).await;
    let came = peer.batch().await;
    assert_eq!(came.sections, readings(2..4), "formed again from the queue, without what is there");
    let seen = shipping.is_seen(|view| view.state == UplinkState::Connected).await;
    assert_eq!(seen.gateway, Some(format!("127.0.0.1:{}", other.port())));
    assert_eq!(
        seen.gateways.iter().map(|gateway| gateway.breaker).collect::<Vec<_>>(),
        [BreakerState::Open, BreakerState::Closed]
    );
    peer.answer(came.packet, PubAckReason::Success).await;
    let seen = shipping.is_seen(|view| view.last_acked.as_ref().is_some_and(|last| last.sequence.0 == 3)).await;
    assert_eq!(seen.last_error, None);
    let counters = Arc::clone(&shipping.counters);
    shipping.drains().await;
    assert_eq!(counters.get(Event::GatewayChanges), 1);
}

#[tokio::test]
async fn the_preferred_gateway_is_gone_back_to_between_batches() {
    let (preferred, mut peer, shipping) = moved(Duration::from_millis(300)).await;
    let first = peer.batch().await;
    // The preferred one is back, and connected to while a batch is in flight at the other one.
    let mut back = preferred.accept(100).await;
    assert!(back.is_quiet(Duration::from_millis(100)).await, "nothing goes there while something is in flight here");
    peer.answer(first.packet, PubAckReason::Success).await;
    assert_eq!(peer.farewell().await, Some("moved".to_owned()), "what the other one says of this agent is true");
    drop(peer);
    shipping.put(&[1..2]);
    let came = back.batch().await;
    assert_eq!(came.sections, readings(1..2), "in order, and nothing twice");
    back.answer(came.packet, PubAckReason::Success).await;
    shipping.is_seen(|view| view.gateways[0].breaker == BreakerState::Closed).await;
    let counters = Arc::clone(&shipping.counters);
    shipping.drains().await;
    assert_eq!((counters.get(Event::GatewayChanges), counters.get(Event::Connections)), (2, 5));
}

/// One gateway behind two addresses: it ends the first connection of a client id when the second one says CONNECT. The
/// agent took that for a failure, dropped the new connection, and never came back to the address that is preferred.
#[tokio::test]
async fn a_gateway_with_two_addresses_is_gone_back_to_although_it_ends_the_old_connection_first() {
    let (preferred, mut peer, shipping) = moved(Duration::from_millis(300)).await;
    let first = peer.batch().await;
    let mut back = preferred.knock().await;
    peer.ends().await;
    back.greet(100).await;
    let again = back.batch().await;
    assert_eq!(again.sections, first.sections, "what was in flight there");
    back.answer(again.packet, PubAckReason::Success).await;
    let counters = Arc::clone(&shipping.counters);
    shipping.drains().await;
    assert_eq!((counters.get(Event::ReturnsFailed), counters.get(Event::ConnectionsLost)), (0, 3));
}

/// A preferred gateway whose packets vanish would cost ten seconds of silence each time it is tried.
#[tokio::test]
async fn trying_a_preferred_gateway_that_does_not_answer_holds_nothing_up() {
    let (preferred, mut peer, shipping) = moved(Duration::from_millis(50)).await;
    answers(&mut peer, 1).await;
    // It takes the connection and says nothing.
    let silent = preferred.connection().await;
    for at in 1..20 {
        shipping.put(&[at..at + 1]);
        let came = peer.batch().await;
        assert_eq!(came.sections, readings(at..at + 1));
        peer.answer(came.packet, PubAckReason::Success).await;
    }
    shipping.is_seen(|view| view.gateways[0].breaker == BreakerState::HalfOpen).await;
    drop(silent);
    shipping.is_seen(|view| view.gateways[0].breaker == BreakerState::Open).await;
    let counters = Arc::clone(&shipping.counters);
    shipping.drains().await;
    assert_eq!(counters.get(Event::ReturnsFailed), 1);
}

/// A gateway that takes batches, acknowledges the status and never a batch: "connected" that is not.
#[tokio::test]
async fn a_gateway_that_acknowledges_no_batch_is_left_and_it_is_said_why() {
    let (preferred, other) = (Gateway::open().await, Gateway::open().await);
    let mut stalling = two(&preferred, &other, LATER);
    // What is acknowledged beside the batches keeps the connection alive.
    (stalling.status_interval, stalling.ack_timeout) = (Duration::from_millis(20), Duration::from_secs(10));
    stalling.progress_timeout = Duration::from_millis(300);
    let shipping = Shipping::start(stalling, &[0..1]);
    let black_hole = async {
        for _ in 0..2 {
            let mut peer = preferred.accept(100).await;
            assert_eq!(peer.batch().await.sections, readings(0..1));
            assert!(peer.is_over().await, "nothing was acknowledged");
        }
    };
    let next = async { other.accept(100).await };
    let ((), mut peer) = tokio::join!(black_hole, next);
    let seen = shipping.is_seen(|view| view.state == UplinkState::Connected).await;
    assert_eq!(seen.last_error.as_deref(), Some("connected, but nothing acknowledged for 0 s"));
    answers(&mut peer, 1).await;
    let counters = Arc::clone(&shipping.counters);
    shipping.drains().await;
    assert_eq!((counters.get(Event::UplinkStalled), counters.get(Event::GatewayChanges)), (2, 1));
}

/// Against a gateway that is away every try costs something, the more the more agents there are.
#[tokio::test(start_paused = true)]
async fn a_gateway_that_is_away_is_not_asked_again_before_its_wait_is_over() {
    // No time passes here but what somebody waits for.
    let nowhere = Nowhere::open();
    let alone = options(nowhere.port());
    let order = Order { backoff: (Duration::from_millis(100), Duration::from_secs(1)), ..alone.order };
    let before = tokio::time::Instant::now();
    let shipping = Shipping::start(UplinkOptions { order, ..alone }, &[0..1]);
    shipping.is_seen(|view| view.gateways.first().is_some_and(|gateway| gateway.failures == 8)).await;
    // Seven waits that double from 100 ms to a second, each of which is half of that at least.
    assert!(before.elapsed() >= Duration::from_millis(2250), "{:?}", before.elapsed());
}

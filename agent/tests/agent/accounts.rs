//! What is told beside the queue: where restarts stand, and claims that wait, against a gateway that follows a script.
#![allow(clippy::single_range_in_vec_init)] // a list of ranges may well have one

use std::time::Duration;

use rumqttc::v5::mqttbytes::v5::PubAckReason;
use weir_agent::counters::Event;
use weir_agent::queue::{Claims, ClassId, Key};
use weir_agent::uplink::UplinkOptions;
use weir_protocol::Restart;
use weir_protocol::batch::LossKind;

use crate::support::gateway::{Gateway, Peer};
use crate::support::kept::Kept;
use crate::support::shipping::{Shipping, board, options, readings};

const R: Restart = Restart::from_boot(1, 1);

fn key() -> Key {
    (board(), R)
}

/// Says that the readings of the board are accepted, as the intake would have.
fn accepts(shipping: &Shipping, ranges: &[std::ops::Range<u64>]) {
    let state = shipping.queue.state();
    let mut state = state.lock();
    for (offset, range) in (0..).zip(ranges) {
        let named = [(key(), [range.clone()].into_iter().collect())].into();
        state.of_mut(ClassId::DEFAULT).note(&(offset..offset + 1), None, &named);
        state.restarts.accept(key(), weir_protocol::Sequence(0), weir_protocol::Sequence(range.end), false);
    }
}

/// Reads on until positions were said so often.
async fn is_told(peer: &mut Peer, times: usize) {
    peer.hears_until(|peer| peer.positions.len() >= times).await;
}

#[tokio::test]
async fn on_a_connection_the_gateway_is_told_what_is_held_and_again_when_nothing_is() {
    let gateway = Gateway::open().await;
    let shipping = Shipping::start(options(gateway.port()), &[0..3, 3..5]);
    accepts(&shipping, &[0..3, 3..5]);
    let mut peer = gateway.accept(100).await;
    let (first, second) = (peer.batch().await, peer.batch().await);
    assert_eq!(peer.positions, [(key(), 0..5, vec![0..5])]);
    peer.answer(first.packet, PubAckReason::Success).await;
    peer.answer(second.packet, PubAckReason::Success).await;
    is_told(&mut peer, 2).await;
    assert_eq!(peer.positions[1], (key(), 0..5, vec![]));
    shipping.drains().await;
}

#[tokio::test]
async fn positions_are_said_again_after_a_while_but_not_of_what_is_settled() {
    let gateway = Gateway::open().await;
    let often = UplinkOptions { position_interval: Duration::from_millis(50), ..options(gateway.port()) };
    let shipping = Shipping::start(often, &[0..3]);
    accepts(&shipping, &[0..3]);
    let mut peer = gateway.accept(100).await;
    let came = peer.batch().await;
    is_told(&mut peer, 3).await;
    assert!(peer.positions.iter().all(|stands| *stands == (key(), 0..3, vec![0..3])));
    peer.answer(came.packet, PubAckReason::Success).await;
    peer.hears_until(|peer| peer.positions.last() == Some(&(key(), 0..3, vec![]))).await;
    let said = peer.positions.len();
    assert!(peer.is_quiet(Duration::from_millis(300)).await);
    assert_eq!(peer.positions.len(), said, "the gateway knows");
    shipping.drains().await;
}

#[tokio::test]
async fn a_position_accounts_for_what_was_claimed_as_unknown_history_too() {
    let gateway = Gateway::open().await;
    let shipping = Shipping::start(options(gateway.port()), &[3..5]);
    accepts(&shipping, &[3..5]);
    let from = weir_protocol::Sequence(3);
    shipping.queue.state().lock().restarts.accept(key(), from, weir_protocol::Sequence(5), false);
    let mut peer = gateway.accept(100).await;
    let came = peer.batch().await;
    peer.answer(came.packet, PubAckReason::Success).await;
    is_told(&mut peer, 2).await;
    assert_eq!(peer.positions.last(), Some(&(key(), 0..5, vec![])));
    shipping.drains().await;
}

#[tokio::test]
async fn a_gateway_that_cannot_read_positions_gets_its_readings_all_the_same() {
    let gateway = Gateway::open().await;
    let shipping = Shipping::start(options(gateway.port()), &[0..3]);
    accepts(&shipping, &[0..3]);
    let mut peer = gateway.accept(100).await;
    peer.about_positions = PubAckReason::ImplementationSpecificError;
    let _ = peer.batch().await;
    let mut peer = gateway.accept(100).await;
    let came = peer.batch().await;
    assert_eq!((came.sections, peer.positions.len()), (readings(0..3), 0));
    peer.answer(came.packet, PubAckReason::Success).await;
    let counters = shipping.counters.clone();
    shipping.drains().await;
    assert_eq!(counters.get(Event::PositionsRefused), 1);
}

#[tokio::test]
async fn claims_beside_the_log_go_out_and_stay_until_the_gateway_has_them() {
    let gateway = Gateway::open().await;
    let shipping = Shipping::start(options(gateway.port()), &[]);
    let mut claims = Claims::default();
    claims.add(key(), LossKind::Queue, 10..20);
    shipping.queue.claim(&claims).expect("a good disk");
    let lost = vec![Kept::Claim(board(), R, LossKind::Queue, 10..20)];
    let mut peer = gateway.accept(100).await;
    assert_eq!(peer.batch().await.sections, lost);
    drop(peer);
    let mut peer = gateway.accept(100).await;
    let came = peer.batch().await;
    assert_eq!(came.sections, lost);
    peer.answer(came.packet, PubAckReason::Success).await;
    let queue = shipping.queue.clone();
    shipping.drains().await;
    assert!(queue.state().lock().claims.is_empty());
}

/// One claim that a gateway could not read held up everything behind it, for ever.
#[tokio::test]
async fn a_claim_that_is_refused_alone_is_given_up_and_the_rest_goes_on() {
    let gateway = Gateway::open().await;
    let shipping = Shipping::start(options(gateway.port()), &[]);
    let mut claims = Claims::default();
    claims.add(key(), LossKind::Queue, 10..20);
    claims.add(key(), LossKind::Queue, 30..40);
    shipping.queue.claim(&claims).expect("a good disk");
    let bad = Kept::Claim(board(), R, LossKind::Queue, 10..20);
    let mut taken = Vec::new();
    while taken.is_empty() {
        let mut peer = gateway.accept(100).await;
        let came = peer.batch().await;
        if came.sections.contains(&bad) {
            peer.answer(came.packet, PubAckReason::ImplementationSpecificError).await;
        } else {
            taken = came.sections;
            peer.answer(came.packet, PubAckReason::Success).await;
            let counters = shipping.counters.clone();
            shipping.queue.state().lock().restarts.accept(
                key(),
                weir_protocol::Sequence(0),
                weir_protocol::Sequence(40),
                false,
            );
            is_told(&mut peer, 1).await;
            assert_eq!(peer.positions, [(key(), 0..40, vec![])], "what it named is unaccounted");
            assert_eq!(counters.get(Event::ClaimsRefused), 1);
        }
    }
    assert_eq!(taken, [Kept::Claim(board(), R, LossKind::Queue, 30..40)]);
    shipping.drains().await;
}

//! What waited longer, at its pace: beside what is fresh, and when nothing else happens.
#![allow(clippy::single_range_in_vec_init)] // a list of ranges may well have one

use std::ops::Range;
use std::time::Duration;

use rumqttc::v5::mqttbytes::v5::PubAckReason;
use weir_agent::uplink::{PaceOptions, UplinkOptions};

use crate::support::gateway::{Gateway, Peer};
use crate::support::kept::Kept;
use crate::support::shipping::{Shipping, options};

/// So many records of what came before a connection are as fresh as what comes on it.
const MOMENT: u64 = 256;
const HOUR: Duration = Duration::from_secs(3600);
/// Long enough for what must not come, and comes at once when a rule is broken.
const A_WHILE: Duration = Duration::from_millis(200);

/// So many records of so many readings each.
fn records(count: u64, readings: u64) -> Vec<Range<u64>> {
    (0..count).map(|at| at * readings..(at + 1) * readings).collect()
}

/// For a gateway, with this pace and a link on which nothing else happens.
fn paced(gateway: &Gateway, pace: PaceOptions) -> UplinkOptions {
    let mut options = UplinkOptions { pace, ..options(gateway.port()) };
    options.connection.keep_alive = HOUR;
    options
}

/// Takes a batch, which has readings alone: their sequences, and its bytes.
async fn takes(peer: &mut Peer) -> (Range<u64>, usize) {
    let (came, bytes) = peer.batch_with_size().await;
    peer.answer(came.packet, PubAckReason::Success).await;
    let mut all = came.sections.iter().filter_map(Kept::sequences).map(|(_, range)| range);
    let first = all.next().expect("readings");
    (first.start..all.next_back().map_or(first.end, |last| last.end), bytes)
}

#[tokio::test]
async fn a_backlog_keeps_its_rate_of_which_what_is_fresh_takes_nothing() {
    const WAITED: u64 = 10;
    let gateway = Gateway::open().await;
    // A batch takes a minute of it.
    let pace = PaceOptions { rate: Some(1), delay: Duration::ZERO };
    let shipping = Shipping::start(paced(&gateway, pace), &records(WAITED + MOMENT, 1));
    let mut peer = gateway.accept(100).await;
    let mut waited = 0;
    for _ in 0..MOMENT + 1 {
        waited += u64::from(takes(&mut peer).await.0.start < WAITED);
    }
    assert_eq!(waited, 1, "all that is fresh, and one of the others");
    assert!(peer.is_quiet(A_WHILE).await, "the minute is not over");
    let fresh = WAITED + MOMENT;
    shipping.put(&[fresh..fresh + 1]);
    assert_eq!(takes(&mut peer).await.0, fresh..fresh + 1);
    // A stop does not wait for it.
    let rest = async {
        for at in 1..WAITED {
            assert_eq!(takes(&mut peer).await.0, at..at + 1);
        }
    };
    tokio::join!(shipping.drains(), rest);
}

#[tokio::test]
async fn a_backlog_that_waits_for_its_turn_keeps_what_is_fresh_from_nothing() {
    let gateway = Gateway::open().await;
    let pace = PaceOptions { rate: None, delay: HOUR };
    let options =
        UplinkOptions { batch_interval: Duration::from_millis(20), batch_bytes: 1 << 16, ..paced(&gateway, pace) };
    let shipping = Shipping::start(options, &records(300, 1));
    let mut peer = gateway.accept(100).await;
    assert_eq!(takes(&mut peer).await.0, 300 - MOMENT..300, "what is fresh");
    assert!(peer.is_quiet(A_WHILE).await, "the hour is not over");
    let ((), (waited, _)) = tokio::join!(shipping.drains(), takes(&mut peer));
    assert_eq!(waited, 0..300 - MOMENT);
}

#[tokio::test]
async fn a_backlog_begins_by_itself_once_its_wait_is_over() {
    let gateway = Gateway::open().await;
    let pace = PaceOptions { rate: None, delay: A_WHILE };
    let options = UplinkOptions { batch_bytes: 1 << 16, ..paced(&gateway, pace) };
    let shipping = Shipping::start(options, &records(300, 1));
    let mut peer = gateway.accept(100).await;
    let mut came = [takes(&mut peer).await.0, takes(&mut peer).await.0];
    came.sort_by_key(|range| range.start);
    assert_eq!(came, [0..300 - MOMENT, 300 - MOMENT..300]);
    shipping.drains().await;
}

#[tokio::test]
async fn the_first_batches_of_a_backlog_are_small_and_its_last_one_waits_for_nothing() {
    const WAITED: u64 = 30;
    const RUN: u64 = 1000;
    let gateway = Gateway::open().await;
    let pace = PaceOptions { rate: None, delay: Duration::ZERO };
    let options =
        UplinkOptions { batch_bytes: 512 << 10, batch_interval: HOUR, compress: false, ..paced(&gateway, pace) };
    let shipping = Shipping::start(options, &records(WAITED + MOMENT, RUN));
    let mut peer = gateway.accept(100).await;
    let (mut next, mut largest_fresh, mut first) = (0, 0, None);
    // What is fresh and fills no batch waits an hour for more.
    while next < WAITED * RUN {
        let (came, bytes) = takes(&mut peer).await;
        if came.start < WAITED * RUN {
            assert_eq!(came.start, next, "in its order");
            next = came.end;
            first.get_or_insert(bytes);
        } else {
            largest_fresh = largest_fresh.max(bytes);
        }
    }
    // Half of what may be in flight on a link of which nothing is known, and a record more.
    assert!(first.is_some_and(|bytes| bytes < 40 << 10), "{first:?}");
    assert!(largest_fresh > 100 << 10, "{largest_fresh}");
    let rest = async { while takes(&mut peer).await.0.end < (WAITED + MOMENT) * RUN {} };
    tokio::join!(shipping.drains(), rest);
}

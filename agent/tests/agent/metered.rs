//! A metered link: hours of the queue's classes, and bytes of a day.
#![allow(clippy::single_range_in_vec_init)] // a list of ranges may well have one

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rumqttc::v5::mqttbytes::v5::PubAckReason;
use weir_agent::config::Hours;
use weir_agent::queue::ClassId;
use weir_agent::uplink::OpenClasses;
use weir_agent::uplink::budget::{Budget, BudgetOptions};
use weir_protocol::Timestamp;
use weir_protocol::time::WallClock;
use weir_storage::{FaultyFs, Fs};

use crate::support::NOON;
use crate::support::gateway::Gateway;
use crate::support::shipping::{Shipping, options, readings};

/// A clock that the test moves, in hours from noon.
#[derive(Default)]
struct Hand(AtomicI64);

impl Hand {
    fn moves_to(&self, hours: i64) {
        self.0.store(hours, Ordering::Relaxed);
    }
}

impl WallClock for Hand {
    fn now(&self) -> Timestamp {
        NOON.plus_micros(self.0.load(Ordering::Relaxed) * 3_600_000_000)
    }
}

fn budget(options: BudgetOptions) -> Budget {
    let fs: Arc<dyn Fs> = Arc::new(FaultyFs::new(1));
    fs.create_dir(Path::new("/agent")).expect("a directory");
    Budget::open(&fs, Path::new("/agent"), options, NOON).expect("a good disk")
}

fn at_night() -> BudgetOptions {
    let night = Hours::parse("22:00-06:00").expect("hours");
    BudgetOptions { hours: vec![(OpenClasses::one(ClassId::DEFAULT), night)], ..BudgetOptions::default() }
}

const MOMENT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_class_waits_for_its_hours() {
    let (gateway, clock) = (Gateway::open().await, Arc::new(Hand::default()));
    let shipping = Shipping::metered(options(gateway.port()), &[0..1], budget(at_night()), clock.clone());
    let mut peer = gateway.accept(100).await;
    assert!(peer.is_quiet(MOMENT).await, "noon is not its time");
    assert!(shipping.health.view().held_back);
    clock.moves_to(10);
    shipping.put(&[1..2]);
    for expected in [0..1, 1..2] {
        let came = peer.batch().await;
        assert_eq!(came.sections, readings(expected));
        peer.answer(came.packet, PubAckReason::Success).await;
    }
    assert!(!shipping.health.view().held_back);
    shipping.drains().await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_what_is_held_back() {
    let gateway = Gateway::open().await;
    let shipping = Shipping::metered(options(gateway.port()), &[0..1], budget(at_night()), Arc::new(Hand::default()));
    let mut peer = gateway.accept(100).await;
    assert!(peer.is_quiet(MOMENT).await);
    let queue = Arc::clone(&shipping.queue);
    let (kept, farewell) = tokio::join!(shipping.stops(), peer.farewell());
    assert_eq!(farewell.as_deref(), Some("stopped"));
    assert!(!queue.is_empty() && kept == 1, "it stays in the queue");
}

#[tokio::test]
async fn a_day_carries_no_more_than_its_bytes_and_the_next_one_goes_on() {
    const LIMIT: u64 = 20_000;
    let (gateway, clock) = (Gateway::open().await, Arc::new(Hand::default()));
    let ranges: Vec<_> = (0..100).map(|at| at * 10..at * 10 + 10).collect();
    let limited = BudgetOptions { bytes_per_day: Some(LIMIT), ..BudgetOptions::default() };
    let shipping = Shipping::metered(options(gateway.port()), &ranges, budget(limited), clock.clone());
    let mut peer = gateway.accept(100).await;
    let mut came = Vec::new();
    while let Ok(batch) = tokio::time::timeout(MOMENT, peer.batch()).await {
        peer.answer(batch.packet, PubAckReason::Success).await;
        came.extend(batch.sections);
    }
    assert!((10..90).contains(&came.len()), "{} batches in the first day", came.len());
    let view = shipping.health.view();
    let usage = view.budget.expect("a limit");
    assert!(view.held_back && usage.used >= LIMIT && usage.used < LIMIT + 4000, "{usage:?}");
    // What the test sees has no TCP and no TLS below it.
    assert!(peer.taken as u64 * 2 < usage.used, "{} bytes came, {} were counted", peer.taken, usage.used);
    let mut days = 1;
    while came.len() < ranges.len() {
        clock.moves_to(24 * days);
        days += 1;
        shipping.put(&[]);
        while let Ok(batch) = tokio::time::timeout(MOMENT, peer.batch()).await {
            peer.answer(batch.packet, PubAckReason::Success).await;
            came.extend(batch.sections);
        }
        assert!(days < 12, "{} batches in {days} days", came.len());
    }
    assert_eq!(came, ranges.into_iter().flat_map(readings).collect::<Vec<_>>(), "each once, in order");
    shipping.drains().await;
}

//! Brokers that are no Weir gateway: a real mosquitto, unchanged, with a consumer that reads the batches there.
#![allow(clippy::single_range_in_vec_init)] // a list of ranges may well have one

use std::sync::Arc;

use weir_agent::config::Mqtt;
use weir_agent::counters::Event;
use weir_agent::uplink::UplinkOptions;

use crate::support::mosquitto::{Consumer, Mosquitto};
use crate::support::shipping::{Shipping, options, readings};

const VERSIONS: [(Mqtt, &str); 2] = [(Mqtt::V5, "another broker"), (Mqtt::V3, "unknown")];

fn speaking(version: Mqtt, port: u16) -> UplinkOptions {
    let mut options = options(port);
    options.gateways[0].endpoint.version = version;
    options
}

#[tokio::test]
async fn a_consumer_at_mosquitto_gets_every_reading_in_order() {
    let Some(broker) = Mosquitto::start("max_inflight_messages 3", None).await else { return };
    for (version, name) in VERSIONS {
        let mut consumer = Consumer::at(&broker).await;
        let ranges: Vec<_> = (0..50).map(|at| at * 20..at * 20 + 20).collect();
        let shipping = Shipping::start(speaking(version, broker.port), &ranges);
        for range in ranges {
            assert_eq!(consumer.batch().await, readings(range), "{name}");
        }
        let view = shipping.is_seen(|view| view.last_acked.as_ref().is_some_and(|last| last.sequence.0 == 999)).await;
        assert_eq!(view.broker.as_deref(), Some(name));
        let counters = Arc::clone(&shipping.counters);
        shipping.drains().await;
        assert_eq!((counters.get(Event::Connections), counters.get(Event::NoSubscribers)), (1, 0));
    }
}

/// It acknowledges what nobody gets, and then has it no more.
#[tokio::test]
async fn it_is_said_when_nobody_is_there_to_read() {
    let Some(broker) = Mosquitto::start("", None).await else { return };
    let shipping = Shipping::start(options(broker.port), &[0..1]);
    let counters = Arc::clone(&shipping.counters);
    shipping.drains().await;
    assert_eq!(counters.get(Event::NoSubscribers), 1);
}

#[tokio::test]
async fn a_topic_that_is_forbidden_stays_in_the_queue_and_what_to_allow_is_said() {
    let Some(broker) = Mosquitto::start("", Some("topic read #\n")).await else { return };
    let shipping = Shipping::start(options(broker.port), &[0..1]);
    let view = shipping.is_seen(|view| view.last_error.is_some()).await;
    let error = view.last_error.unwrap_or_default();
    assert!(error.contains("0x87") && error.contains("publish weir/1/default/edge-1/#"), "{error}");
    assert!(shipping.counters.get(Event::BatchesRefused) > 0 && !shipping.queue.is_empty());
}

#[tokio::test]
async fn a_broker_that_retains_nothing_is_connected_to_without() {
    let Some(broker) = Mosquitto::start("retain_available false", None).await else { return };
    let mut consumer = Consumer::at(&broker).await;
    let shipping = Shipping::start(options(broker.port), &[0..3]);
    assert_eq!(consumer.batch().await, readings(0..3));
    assert_eq!(consumer.state.as_deref(), Some("running"), "the status goes, too");
    let counters = Arc::clone(&shipping.counters);
    shipping.drains().await;
    assert_eq!((counters.get(Event::Connections), counters.get(Event::ConnectionsLost)), (1, 0));
}

#[tokio::test]
async fn batches_keep_to_the_largest_packet_of_the_broker() {
    let Some(broker) = Mosquitto::start("max_packet_size 4000", None).await else { return };
    let mut consumer = Consumer::at(&broker).await;
    let ranges: Vec<_> = (0..20).map(|at| at * 100..at * 100 + 100).collect();
    let large = UplinkOptions { batch_bytes: 64 << 10, compress: false, ..options(broker.port) };
    // One record alone is larger than a packet.
    let ranges = [ranges, vec![2000..4000]].concat();
    let shipping = Shipping::start(large, &ranges);
    let mut next = 0;
    while next < 4000 {
        for (_, range) in consumer.batch().await.iter().filter_map(|kept| kept.sequences()) {
            assert_eq!(range.start, next, "in order, each once");
            next = range.end;
        }
    }
    let counters = Arc::clone(&shipping.counters);
    shipping.drains().await;
    assert!(counters.get(Event::TooLarge) > 0);
    assert_eq!((counters.get(Event::ConnectionsLost), counters.get(Event::ReadingsRejected)), (0, 0));
}

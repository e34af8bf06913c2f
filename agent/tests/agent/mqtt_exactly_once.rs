//! A local broker that gives messages with QoS 2, which nobody asked for here: a subscription that another program made
//! in the same session.

use weir_agent::counters::Event;
use weir_storage::FaultyFs;

use crate::mqtt_source::{COUNTER, connected, section, supervised};
use crate::support::broker::Broker;
use crate::support::office::Office;
use crate::support::sources::Bench;

const VERSIONS: [(bool, &str); 2] = [(true, "mqtt = \"5\"\n"), (false, "mqtt = \"3.1.1\"\n")];

#[tokio::test]
async fn a_message_is_received_once_its_readings_are_on_disk_and_released_after_that() {
    for (is_v5, version) in VERSIONS {
        let disk = FaultyFs::new(1);
        let (office, handle) = Office::open(&disk);
        let bench = Bench::feeding(handle, &office.counters);
        let (_broker, mut subscriber, life) = connected(&bench, &format!("{version}{COUNTER}"), is_v5).await;
        disk.set_capacity(Some(0));
        subscriber.publishes_once(7, "plant/1", b"{\"on\":true}").await;
        // A message with QoS 1 behind it has its turn behind it.
        subscriber.publishes(8, "plant/1", b"{\"on\":false}", false).await;
        tokio::select! {
            packet = subscriber.receives() => panic!("{packet} is received, and the disk has nothing"),
            () = bench.counts(Event::CommitsFailed, 3) => {}
        }
        disk.set_capacity(None);
        assert_eq!((subscriber.receives().await, subscriber.acknowledges().await), (7, 8));
        assert_eq!(office.counters.get(Event::ReadingsAccepted), 2);
        subscriber.releases(7).await;
        assert_eq!(subscriber.completes().await, 7);
        // The number may be used again.
        subscriber.publishes_once(7, "plant/1", b"{\"on\":true}").await;
        assert_eq!(subscriber.receives().await, 7);
        subscriber.releases(7).await;
        assert_eq!(subscriber.completes().await, 7);
        assert_eq!(office.counters.get(Event::ReadingsAccepted), 3);
        bench.stops();
        assert!(subscriber.leaves().await);
        life.await.expect("no panic").expect("a good end");
    }
}

/// The connection broke between the two halves, or another client took the first one: a broker that keeps the session
/// releases the message again on every connection, for ever.
#[tokio::test]
async fn the_release_of_a_message_that_this_connection_did_not_get_costs_the_session_and_says_so() {
    for (is_v5, version) in VERSIONS {
        let (office, handle) = Office::open(&FaultyFs::new(1));
        let bench = Bench::feeding(handle, &office.counters);
        let broker = Broker::open().await;
        let life = supervised(&bench, &section(broker.port(), &format!("{version}{COUNTER}")));
        let mut subscriber = broker.accept(is_v5).await;
        subscriber.subscribes(|_| true).await;
        subscriber.publishes_once(7, "plant/1", b"{\"on\":true}").await;
        assert_eq!(subscriber.receives().await, 7);
        drop(subscriber);
        let mut subscriber = broker.accept(is_v5).await;
        assert!(!subscriber.clean, "the session is taken up again");
        subscriber.subscribes(|_| true).await;
        subscriber.releases(7).await;
        let health = bench.looks(|health| health.failures == 2).await;
        let error = health.last_error.unwrap_or_default();
        assert!(error.contains("releases message 7 with QoS 2") && error.contains("session is given up"), "{error}");
        let mut forgetting = broker.accept(is_v5).await;
        assert!(forgetting.clean && forgetting.leaves().await);
        let mut subscriber = broker.accept(is_v5).await;
        assert!(!subscriber.clean, "the next session is kept");
        subscriber.subscribes(|_| true).await;
        subscriber.publishes(1, "plant/1", b"{\"on\":true}", false).await;
        assert_eq!(subscriber.acknowledges().await, 1);
        assert_eq!((office.counters.get(Event::SessionsGivenUp), office.counters.get(Event::ReadingsAccepted)), (1, 2));
        bench.stops();
        life.await.expect("no panic");
    }
}

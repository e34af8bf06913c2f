//! Stories of live subscriptions over a real ingest in memory: what arrives, and what happens when the router dies.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value as Json;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use weir_protocol::batch::describe::{self, Description};
use weir_protocol::batch::{EnvelopeBuilder, RunBuilder};
use weir_protocol::items::{self, Items};
use weir_protocol::time::{SystemClock, WallClock};
use weir_protocol::{
    AgentId, Channel, ChannelId, Clock, DeviceId, Reading, Restart, SchemaHash, Sequence, Tenant, Value, ValueKind,
};
use weir_storage::FaultyFs;

use super::registry::{MAX_FILTERS, MAX_SUBSCRIBERS};
use super::{Live, Message, Subscriber};
use crate::ingest::{Body, Connection, Event, Ingest, IngestOptions, Message as Batch, Sender, Verdict};

/// Far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
const LEVEL: Channel<'static> =
    Channel { id: ChannelId(0), name: "level/now", unit: "m", kind: ValueKind::Float, resolution: 0.5 };

/// An ingest with one agent, and live subscriptions to what it stores.
struct World {
    live: Live,
    ingest: Ingest,
    agent: Connection,
    told: mpsc::UnboundedReceiver<Event>,
    next: u64,
    _stop: watch::Sender<bool>,
}

impl World {
    async fn start() -> Self {
        let fs = Arc::new(FaultyFs::new(1));
        let (ingest, topics, _) =
            Ingest::start(fs, Path::new("/data"), IngestOptions::default(), Arc::new(SystemClock)).unwrap();
        let live = Live::new(topics);
        let (stop, stopping) = watch::channel(false);
        tokio::spawn(live.clone().run(stopping));
        let (events, told) = mpsc::unbounded_channel();
        let sender = Sender::from((Tenant::DEFAULT, AgentId::new("edge-1").unwrap()));
        let agent = ingest.connect(sender, events);
        Self { live, ingest, agent, told, next: 0, _stop: stop }
    }

    /// Stores readings of a device, one for each of `sequences`, and waits until they are committed.
    async fn store(&mut self, device: &str, sequences: std::ops::Range<u64>) {
        let device = DeviceId::new(device).unwrap();
        let mut channels = Vec::new();
        items::push(&mut channels, &LEVEL);
        let schema = SchemaHash::of(Items::new(&channels));
        let described = describe::encode(&Description { device, schema, channels: Items::new(&channels) });
        let mut run = RunBuilder::new(device, Restart(7), schema, Sequence(sequences.start));
        for sequence in sequences {
            let value = Value::Float(sequence as f32);
            run.push(&Reading { channel: LEVEL.id, time: SystemClock.now(), clock: Clock::Synchronised, value });
        }
        let mut envelope = EnvelopeBuilder::new();
        envelope.push(&run.section());
        for (body, payload) in [(Body::Describe, described), (Body::Batch, envelope.finish(false))] {
            self.next += 1;
            let payload = Bytes::from(payload);
            self.agent.submit(vec![Batch { ticket: self.next, body, payload }]).await;
            loop {
                match timeout(PATIENCE, self.told.recv()).await.unwrap().unwrap() {
                    Event::Outcomes(outcomes) => break assert_eq!(outcomes[0].verdict, Verdict::Stored),
                    Event::Ask(_) => (),
                }
            }
        }
    }

    fn subscribe(&self, filter: &str) -> Subscriber {
        let subscriber = self.live.subscriber().unwrap();
        subscriber.subscribe(&format!("weir/1/default/live/{filter}")).unwrap();
        subscriber
    }
}

async fn next(subscriber: &mut Subscriber) -> Message {
    timeout(PATIENCE, subscriber.next()).await.expect("a message")
}

/// Topic and sequence of the next message.
async fn heard(subscriber: &mut Subscriber) -> (String, u64) {
    let message = next(subscriber).await;
    let (topic, payload) = message.parts();
    let record: Json = serde_json::from_slice(payload).unwrap();
    (topic.to_owned(), record["value"]["sequence"].as_u64().unwrap())
}

/// What was committed right behind a subscription used to be published before its link was made, and nobody heard it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_after_subscribing_is_heard_once_and_nothing_else_is() {
    let mut world = World::start().await;
    world.store("pump-1", 0..10).await;
    let mut all = world.subscribe("#");
    let mut one = world.subscribe("pump-2/+");
    world.store("pump-1", 10..20).await;
    world.store("pump-2", 0..5).await;
    // A repeat is not committed, so it is not heard.
    world.store("pump-1", 10..20).await;
    world.store("pump-1", 20..21).await;
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for _ in 0..16 {
        let (topic, sequence) = heard(&mut all).await;
        let of = if topic == "weir/1/default/live/pump-1/level%2Fnow" { &mut first } else { &mut second };
        of.push(sequence);
    }
    assert_eq!(first, (10..21).collect::<Vec<_>>());
    assert_eq!(second, (0..5).collect::<Vec<_>>());
    for sequence in 0..5 {
        assert_eq!(heard(&mut one).await, ("weir/1/default/live/pump-2/level%2Fnow".to_owned(), sequence));
    }
    assert!(one.try_next().is_none() && all.try_next().is_none());
    assert_eq!(world.live.stats().dropped, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_runs_while_nobody_subscribes() {
    let mut world = World::start().await;
    world.store("pump-1", 0..10).await;
    assert!(!world.live.stats().up);
    let mut subscriber = world.subscribe("#");
    world.store("pump-1", 10..11).await;
    assert_eq!(heard(&mut subscriber).await.1, 10);
    assert!(world.live.stats().up);
    drop(subscriber);
    world.store("pump-1", 11..20).await;
    // Who comes later hears what comes later.
    let mut subscriber = world.subscribe("#");
    world.store("pump-1", 20..21).await;
    assert_eq!(heard(&mut subscriber).await.1, 20);
}

/// rumqttd panics on an event of a link that is gone. Its thread is then gone with all subscriptions; they are made
/// again, and ingest does not notice.
#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_panics_is_replaced_and_nothing_stored_depends_on_it() {
    let mut world = World::start().await;
    let (mut all, mut one) = (world.subscribe("#"), world.subscribe("pump-1/#"));
    world.store("pump-1", 0..1).await;
    assert_eq!((heard(&mut all).await.1, heard(&mut one).await.1), (0, 0));
    for round in 1..=3 {
        world.live.plant_panic();
        // Stored while the router dies: live it may be lost.
        world.store("pump-1", round * 100..round * 100 + 50).await;
        while world.live.stats().restarts < round {
            tokio::task::yield_now().await;
        }
        world.store("pump-1", round * 100 + 50..round * 100 + 51).await;
        for subscriber in [&mut all, &mut one] {
            while heard(subscriber).await.1 != round * 100 + 50 {}
        }
    }
    assert_eq!(world.ingest.stats().readings, 1 + 3 * 51);
    assert_eq!(world.live.stats().subscribers, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_subscriber_loses_the_oldest_counted_and_slows_nobody() {
    const ALL: u64 = 20_000;
    let mut world = World::start().await;
    let mut slow = world.subscribe("#");
    let mut quick = world.subscribe("pump-1/+");
    let reader = tokio::spawn(async move {
        let mut last = 0;
        let mut count = 0;
        while last + 1 < ALL {
            last = heard(&mut quick).await.1;
            count += 1;
        }
        (quick, count)
    });
    for first in (0..ALL).step_by(500) {
        world.store("pump-1", first..first + 500).await;
    }
    // The slow one took nothing so far, and the quick one has reached the end.
    let (_quick, _) = timeout(PATIENCE, reader).await.unwrap().unwrap();
    assert_eq!(world.ingest.stats().readings, ALL);
    let quick_lost = world.live.stats().dropped;
    let mut heard_slowly = 0;
    loop {
        heard_slowly += 1;
        if heard(&mut slow).await.1 + 1 == ALL {
            break;
        }
    }
    assert!(heard_slowly < ALL, "a bounded queue cannot hold all of them");
    let lost = world.live.stats().dropped - quick_lost;
    assert_eq!(heard_slowly + lost + world.live.stats().skipped, ALL, "every message is heard or counted lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_only_so_many_filters_and_subscribers_and_their_places_are_used_again() {
    let mut world = World::start().await;
    let mut first = world.live.subscriber().unwrap();
    let slots: Vec<_> = (0..MAX_FILTERS).map(|n| first.subscribe(&format!("filter/{n}")).unwrap()).collect();
    assert!(first.subscribe("one/more").is_err());
    assert_eq!(first.subscribe("filter/0"), Ok(slots[0]), "a filter that is there needs no place");
    for slot in slots {
        first.unsubscribe(slot);
    }
    assert_eq!(world.live.stats().filters, 0);
    first.subscribe("weir/1/default/live/#").unwrap();
    let others: Vec<_> = (1..MAX_SUBSCRIBERS).map(|_| world.subscribe("#")).collect();
    assert!(world.live.subscriber().is_err());
    world.store("pump-1", 0..1).await;
    assert_eq!(heard(&mut first).await.1, 0);
    for mut other in others {
        assert_eq!(heard(&mut other).await.1, 0);
    }
    assert_eq!(world.live.stats().subscribers, 1);
    let mut again = world.subscribe("#");
    world.store("pump-1", 1..2).await;
    assert_eq!((heard(&mut first).await.1, heard(&mut again).await.1), (1, 1));
}

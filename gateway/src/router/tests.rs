//! Stories of live subscriptions over a real ingest in memory: what arrives, and what happens when the router dies.

mod property;

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

use super::registry::Full;
use super::{Delivered, Live, LiveOptions, Subscriber};
use crate::delivery::Message;
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
        Self::with(LiveOptions::default()).await
    }

    async fn with(options: LiveOptions) -> Self {
        let fs = Arc::new(FaultyFs::new(1));
        let (ingest, topics, _) =
            Ingest::start(fs, Path::new("/data"), IngestOptions::default(), Arc::new(SystemClock)).unwrap();
        let live = Live::new(topics, options);
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
        let subscriber = self.live.subscriber(Tenant::DEFAULT).unwrap();
        subscriber.subscribe(&format!("weir/1/default/live/{filter}")).unwrap();
        subscriber
    }
}

/// The next message; gaps are passed over.
async fn next(subscriber: &mut Subscriber) -> Arc<Message> {
    loop {
        if let Delivered::Message(message) = timeout(PATIENCE, subscriber.next()).await.expect("a message") {
            return message;
        }
    }
}

/// Topic and sequence of the next message.
async fn heard(subscriber: &mut Subscriber) -> (String, u64) {
    said(&*next(subscriber).await)
}

fn said(message: &Message) -> (String, u64) {
    let record: Json = serde_json::from_slice(&message.payload).unwrap();
    let topic = String::from_utf8(message.topic.to_vec()).unwrap();
    (topic, record["value"]["sequence"].as_u64().unwrap())
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

/// rumqttd panics on an event of a link that is gone. Its thread is then gone with all that was on its way; that goes
/// through the next one, and ingest does not notice.
#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_panics_is_replaced_and_nothing_is_missing() {
    let mut world = World::start().await;
    let (mut all, mut one) = (world.subscribe("#"), world.subscribe("pump-1/#"));
    for subscriber in [&mut all, &mut one] {
        assert_eq!(timeout(PATIENCE, subscriber.next()).await, Ok(Delivered::Gap));
    }
    let mut stored = 0;
    for round in 1..=3 {
        world.live.plant_panic();
        world.store("pump-1", stored..stored + 50).await;
        while world.live.stats().restarts < round {
            tokio::task::yield_now().await;
        }
        world.store("pump-1", stored + 50..stored + 51).await;
        for subscriber in [&mut all, &mut one] {
            for sequence in stored..stored + 51 {
                let Delivered::Message(message) = timeout(PATIENCE, subscriber.next()).await.unwrap() else {
                    panic!("a gap where nothing is missing")
                };
                assert_eq!(said(&message).1, sequence);
            }
        }
        stored += 51;
    }
    assert_eq!(world.ingest.stats().readings, stored);
    assert_eq!((world.live.stats().subscribers, world.live.stats().dropped), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_subscriber_loses_the_oldest_counted_and_slows_nobody() {
    const ALL: u64 = 20_000;
    // Room for some thousand messages.
    let mut world = World::with(LiveOptions { buffer: 2 << 20, ..LiveOptions::default() }).await;
    let mut slow = world.subscribe("#");
    let mut quick = world.subscribe("pump-1/+");
    let reader = tokio::spawn(async move {
        let mut last = 0;
        while last + 1 < ALL {
            last = heard(&mut quick).await.1;
        }
        quick
    });
    for first in (0..ALL).step_by(500) {
        world.store("pump-1", first..first + 500).await;
    }
    // The slow one took nothing so far, and the quick one has reached the end.
    let _quick = timeout(PATIENCE, reader).await.unwrap().unwrap();
    assert_eq!(world.ingest.stats().readings, ALL);
    let quick_lost = world.live.stats().dropped;
    let (mut heard_slowly, mut gaps) = (0, 0);
    loop {
        match timeout(PATIENCE, slow.next()).await.unwrap() {
            Delivered::Gap => gaps += 1,
            Delivered::Message(message) => {
                heard_slowly += 1;
                if said(&message).1 + 1 == ALL {
                    break;
                }
            }
        }
    }
    assert!(heard_slowly < ALL, "a bounded buffer cannot hold all of them");
    assert_eq!(gaps, 2, "the one that every subscriber begins with, and one for all that went");
    let lost = world.live.stats().dropped - quick_lost;
    assert_eq!(heard_slowly + lost + world.live.stats().skipped, ALL, "every message is heard or counted lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_only_so_many_filters_and_subscribers_and_their_places_are_used_again() {
    const FILTERS: usize = 100;
    const SUBSCRIBERS: usize = 50;
    let mut world =
        World::with(LiveOptions { subscribers: SUBSCRIBERS, filters: FILTERS, ..LiveOptions::default() }).await;
    let mut first = world.live.subscriber(Tenant::DEFAULT).unwrap();
    (0..FILTERS).for_each(|n| first.subscribe(&format!("filter/{n}")).unwrap());
    assert_eq!(first.subscribe("one/more"), Err(Full));
    assert_eq!(first.subscribe("filter/0"), Ok(()), "a filter that is there needs no place");
    assert_eq!(world.live.stats().filters, FILTERS as u64);
    (0..FILTERS).for_each(|n| assert!(first.unsubscribe(&format!("filter/{n}"))));
    assert!(!first.unsubscribe("filter/0"));
    assert_eq!(world.live.stats().filters, 0);
    first.subscribe("weir/1/default/live/#").unwrap();
    let others: Vec<_> = (1..SUBSCRIBERS).map(|_| world.subscribe("#")).collect();
    assert!(world.live.subscriber(Tenant::DEFAULT).is_err());
    assert_eq!(world.live.stats().filters, 1);
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

#[tokio::test(flavor = "multi_thread")]
async fn filters_take_only_so_much_memory_and_another_tenants_messages_are_for_none_of_them() {
    let mut world = World::with(LiveOptions { filter_bytes: 16 << 10, ..LiveOptions::default() }).await;
    let mut stranger = world.live.subscriber(Tenant::new("other").unwrap()).unwrap();
    stranger.subscribe("#").unwrap();
    let deep = vec!["a"; 100].join("/");
    assert_eq!(stranger.subscribe(&deep), Err(Full), "each level takes memory");
    let mut own = world.subscribe("#");
    world.store("pump-1", 0..3).await;
    for sequence in 0..3 {
        assert_eq!(heard(&mut own).await.1, sequence);
    }
    assert_eq!(stranger.try_next(), Some(Delivered::Gap));
    assert_eq!(stranger.try_next(), None);
}

/// A message used to come once for each filter.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_comes_once_however_many_filters_match_and_says_how_far_the_log_was_read() {
    let mut world = World::start().await;
    let mut subscriber = world.subscribe("#");
    subscriber.subscribe("weir/1/default/live/pump-1/#").unwrap();
    subscriber.subscribe("weir/1/default/live/+/level%2Fnow").unwrap();
    let mut idle = world.subscribe("pump-2/#");
    assert_eq!(idle.try_next(), Some(Delivered::Gap));
    world.store("pump-1", 0..5).await;
    for sequence in 0..5 {
        assert_eq!(heard(&mut subscriber).await.1, sequence);
    }
    assert_eq!(subscriber.try_next(), None);
    // Nothing is for the idle one; the log was read all the same.
    for subscriber in [&subscriber, &idle] {
        let reached = loop {
            match subscriber.reached() {
                Some(reached) if reached.iter().any(|reached| reached.next > 0) => break reached,
                _ => tokio::task::yield_now().await,
            }
        };
        assert_eq!(reached.iter().map(|reached| reached.next).sum::<u64>(), 5);
    }
    world.store("pump-1", 5..6).await;
    // Something waits.
    while subscriber.reached().is_some() {
        tokio::task::yield_now().await;
    }
    assert_eq!(heard(&mut subscriber).await.1, 5);
}

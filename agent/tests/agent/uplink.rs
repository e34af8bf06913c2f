//! The way to the gateway, against one that follows a script.
#![allow(clippy::single_range_in_vec_init)] // a list of ranges may well have one

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rumqttc::v5::mqttbytes::v5::PubAckReason;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use weir_agent::config::{Address, Mqtt};
use weir_agent::counters::{Counters, Event};
use weir_agent::queue::{ClassId, Entries, Incarnation, Policy, Queue, QueueOptions};
use weir_agent::uplink::budget::Budget;
use weir_agent::uplink::connection::{Endpoint, Options};
use weir_agent::uplink::credentials::Credentials;
use weir_agent::uplink::gateways::{Gateway as To, Order};
use weir_agent::uplink::health::{UplinkHealth, UplinkView};
use weir_agent::uplink::orders::Orders;
use weir_agent::uplink::{Drain, PaceOptions, Uplink, UplinkOptions};
use weir_protocol::batch::command::{self, AgentCommand};
use weir_protocol::batch::describe::Description;
use weir_protocol::batch::{LossKind, RunBuilder};
use weir_protocol::time::WallClock;
use weir_protocol::{
    AgentId, Channel, ChannelId, Clock, DeviceId, Items, Reading, Restart, SchemaHash, Sequence, Value, ValueKind,
    items,
};
use weir_storage::{Batch, FaultyFs, Fs};

use crate::support::gateway::{Gateway, Peer};
use crate::support::kept::Kept;
use crate::support::{NOON, StoppedClock, device};

const R: Restart = Restart::from_boot(1, 1);

/// Longer than anything here takes; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// An uplink with a queue in memory.
pub(crate) struct Shipping {
    pub(crate) queue: Arc<Queue>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) health: Arc<UplinkHealth>,
    committed: watch::Sender<u64>,
    drain: watch::Sender<Drain>,
    task: JoinHandle<()>,
}

fn agent() -> AgentId {
    AgentId::new("edge-1").expect("a name")
}

/// A gateway at a port of this machine, without TLS.
pub(crate) fn plain(port: u16) -> To {
    let address = Address { port, ..Address::default() };
    let endpoint = Endpoint { address, version: Mqtt::V5, proxy: None };
    To { endpoint, credentials: Credentials::none(agent()), retain: true }
}

pub(crate) fn options(port: u16) -> UplinkOptions {
    UplinkOptions {
        agent: agent(),
        gateways: vec![plain(port)],
        connection: Options {
            client_id: "edge-1".to_owned(),
            keep_alive: Duration::from_secs(5),
            window: 16,
            will: Default::default(),
        },
        // One record fills a batch, so that the tests can count batches.
        batch_bytes: 1,
        batch_interval: Duration::ZERO,
        compress: true,
        ack_timeout: Duration::from_secs(10),
        progress_timeout: Duration::from_secs(60),
        status_interval: Duration::from_secs(3600),
        position_interval: Duration::from_secs(3600),
        pace: PaceOptions { rate: None, delay: Duration::ZERO },
        order: Order {
            failures: 3,
            return_after: Duration::from_secs(600),
            backoff: (Duration::from_millis(1), Duration::from_millis(2)),
        },
    }
}

impl Shipping {
    /// Starts with one record for each range of sequences.
    pub(crate) fn start(options: UplinkOptions, ranges: &[std::ops::Range<u64>]) -> Self {
        Self::metered(options, ranges, Budget::unlimited(), Arc::new(StoppedClock))
    }

    /// What others see of it, once that is as wanted.
    pub(crate) async fn is_seen(&self, wanted: impl Fn(&UplinkView) -> bool) -> UplinkView {
        let mut changes = self.health.changes();
        let seen = tokio::time::timeout(PATIENCE, changes.wait_for(|view| wanted(view))).await;
        let seen = seen.unwrap_or_else(|_| panic!("it stayed at {:?}", self.health.view()));
        seen.expect("whoever ships is there").clone()
    }

    /// Starts with a budget and a clock for it.
    pub(crate) fn metered(
        options: UplinkOptions,
        ranges: &[std::ops::Range<u64>],
        budget: Budget,
        clock: Arc<dyn WallClock>,
    ) -> Self {
        let fs: Arc<dyn Fs> = Arc::new(FaultyFs::new(1));
        let queue_options = QueueOptions { cap: 4 << 20, policy: Policy::Block, ..QueueOptions::default() };
        let (queue, _) = Queue::open(&fs, Path::new("/agent"), queue_options, Incarnation(1)).expect("it opens");
        let (queue, counters) = (Arc::new(queue), Arc::new(Counters::default()));
        let health = Arc::new(UplinkHealth::default());
        put(&queue, ranges);
        let (committed, committed_seen) = watch::channel(0);
        let (drain, draining) = watch::channel(Drain::No);
        let uplink = Uplink {
            budget,
            health: Arc::clone(&health),
            renewed: watch::channel(0).1,
            options,
            queue: Arc::clone(&queue),
            committed: committed_seen,
            shipped: Arc::new(Notify::new()),
            drain: draining,
            clock,
            random: StdRng::seed_from_u64(1),
            counters: Arc::clone(&counters),
            orders: Orders::none(Arc::clone(&counters)),
        };
        Self { queue, counters, health, committed, drain, task: tokio::spawn(uplink.run()) }
    }

    pub(crate) fn put(&self, ranges: &[std::ops::Range<u64>]) {
        put(&self.queue, ranges);
        self.committed.send_replace(self.queue.reader(ClassId::DEFAULT).end_offset());
    }

    pub(crate) fn is_shipped(&self, offset: u64) -> bool {
        self.queue.state().lock().of_mut(ClassId::DEFAULT).shipped.contains(offset)
    }

    /// Stops; how many records stay.
    pub(crate) async fn stops(self) -> u64 {
        self.drain.send_replace(Drain::Empty);
        self.task.await.expect("a good end");
        let end = self.queue.reader(ClassId::DEFAULT).end_offset();
        self.queue.state().lock().of(ClassId::DEFAULT).shipped.gaps(0..end).map(|gap| gap.end - gap.start).sum()
    }

    /// Stops once everything is shipped, which the gateway has to see to before.
    pub(crate) async fn drains(self) {
        self.drain.send_replace(Drain::Empty);
        self.task.await.expect("a good end");
        let state = self.queue.state();
        let end = self.queue.reader(ClassId::DEFAULT).end_offset();
        assert!(state.lock().of_mut(ClassId::DEFAULT).shipped.contains_all(0..end));
    }
}

fn put(queue: &Queue, ranges: &[std::ops::Range<u64>]) {
    let mut batch = Batch::new();
    for range in ranges {
        let mut run = RunBuilder::new(board(), R, SchemaHash(1), Sequence(range.start));
        for sequence in range.clone() {
            let value = Value::Integer(sequence as i64);
            run.push(&Reading { channel: ChannelId(0), time: NOON, clock: Clock::Synchronised, value });
        }
        let mut encoded = Vec::new();
        items::push(&mut encoded, &run.section());
        batch.push(NOON.as_millis(), None, Some(&encoded), &[]).expect("a small record");
    }
    let (sender, done) = mpsc::channel();
    let entries = Entries::of(batch);
    queue
        .submit(entries, move |committed| sender.send(committed).expect("somebody waits"))
        .expect("a running committer");
    assert!(done.recv().expect("an answer").failure().is_none());
}

pub(crate) fn board() -> DeviceId {
    device("board-1")
}

pub(crate) fn readings(range: std::ops::Range<u64>) -> Vec<Kept> {
    vec![Kept::Readings(board(), R, range)]
}

/// Takes so many batches and answers none.
async fn take(peer: &mut Peer, count: usize) -> Vec<(u16, Vec<Kept>)> {
    let mut taken = Vec::new();
    for _ in 0..count {
        let came = peer.batch().await;
        taken.push((came.packet, came.sections));
    }
    taken
}

#[tokio::test]
async fn what_the_gateway_acknowledged_is_shipped_and_nothing_else_is() {
    let gateway = Gateway::open().await;
    let shipping = Shipping::start(options(gateway.port()), &[0..3, 3..5]);
    let mut peer = gateway.accept(4).await;
    let taken = take(&mut peer, 2).await;
    assert_eq!(taken[0].1, readings(0..3));
    assert_eq!(taken[1].1, readings(3..5));
    assert!(!shipping.is_shipped(0), "sent is not shipped");
    peer.answer(taken[0].0, PubAckReason::Success).await;
    shipping.put(&[5..6]);
    // With two in flight the third goes out after the first answer was taken in.
    let third = peer.batch().await;
    assert!(shipping.is_shipped(0) && !shipping.is_shipped(1));
    peer.answer(taken[1].0, PubAckReason::Success).await;
    peer.answer(third.packet, PubAckReason::Success).await;
    shipping.drains().await;
}

#[tokio::test]
async fn never_more_in_flight_than_the_gateway_takes_less_two() {
    let gateway = Gateway::open().await;
    let ranges: Vec<_> = (0..12).map(|at| at..at + 1).collect();
    let shipping = Shipping::start(options(gateway.port()), &ranges);
    let mut peer = gateway.accept(6).await;
    let mut taken = take(&mut peer, 4).await;
    assert!(peer.is_quiet(Duration::from_millis(200)).await, "a fifth batch in flight");
    for at in 0..12 {
        peer.answer(taken[at].0, PubAckReason::Success).await;
        if taken.len() < 12 {
            taken.extend(take(&mut peer, 1).await);
        }
    }
    let order: Vec<Kept> = taken.into_iter().flat_map(|(_, sections)| sections).collect();
    assert_eq!(order, (0..12).flat_map(|at| readings(at..at + 1)).collect::<Vec<_>>());
    shipping.drains().await;
}

#[tokio::test]
async fn a_lost_connection_sends_again_what_was_not_acknowledged() {
    let gateway = Gateway::open().await;
    let shipping = Shipping::start(options(gateway.port()), &[0..2, 2..4, 4..6]);
    let mut peer = gateway.accept(100).await;
    let taken = take(&mut peer, 3).await;
    peer.answer(taken[0].0, PubAckReason::Success).await;
    // Seen when the batch is there: acknowledgements and the end come in order.
    drop(peer);
    let mut peer = gateway.accept(100).await;
    let again = take(&mut peer, 2).await;
    let sections: Vec<_> = again.iter().flat_map(|(_, sections)| sections.clone()).collect();
    assert_eq!(sections, [readings(2..4), readings(4..6)].concat());
    for (packet, _) in again {
        peer.answer(packet, PubAckReason::Success).await;
    }
    shipping.drains().await;
}

#[tokio::test]
async fn after_a_refusal_everything_later_on_that_connection_is_refused_too() {
    let gateway = Gateway::open().await;
    let shipping = Shipping::start(options(gateway.port()), &[0..1, 1..2, 2..3]);
    let mut peer = gateway.accept(100).await;
    let taken = take(&mut peer, 3).await;
    peer.answer(taken[0].0, PubAckReason::QuotaExceeded).await;
    // A gateway that acknowledged these would break the order.
    peer.answer(taken[1].0, PubAckReason::Success).await;
    let mut peer = gateway.accept(100).await;
    let again = take(&mut peer, 3).await;
    assert_eq!(again[0].1, readings(0..1));
    assert_eq!(again[1].1, readings(1..2), "its acknowledgement came after the refusal");
    assert_eq!(shipping.counters.get(Event::BatchesRefused), 1);
    for (packet, _) in again {
        peer.answer(packet, PubAckReason::Success).await;
    }
    shipping.drains().await;
}

#[tokio::test]
async fn what_was_dead_lettered_is_not_sent_again() {
    let gateway = Gateway::open().await;
    let shipping = Shipping::start(options(gateway.port()), &[0..1]);
    let mut peer = gateway.accept(100).await;
    let came = peer.batch().await;
    peer.answer(came.packet, PubAckReason::PayloadFormatInvalid).await;
    shipping.put(&[1..2]);
    let next = peer.batch().await;
    assert_eq!(next.sections, readings(1..2));
    peer.answer(next.packet, PubAckReason::Success).await;
    let counters = Arc::clone(&shipping.counters);
    shipping.drains().await;
    assert_eq!(counters.get(Event::BatchesDeadLettered), 1);
}

#[tokio::test]
async fn an_unreadable_batch_is_halved_until_one_reading_is_claimed_as_rejected() {
    let gateway = Gateway::open().await;
    let options = UplinkOptions { batch_bytes: 4096, ..options(gateway.port()) };
    let shipping = Shipping::start(options, &[0..5, 5..16]);
    let poison = 6;
    let mut have: Vec<Kept> = Vec::new();
    let (mut refusals, mut single) = (0, None);
    let mut peer = gateway.accept(100).await;
    // Everything arrives, but whatever holds the poisoned reading is refused.
    while have.iter().filter_map(Kept::sequences).map(|(_, range)| range.end - range.start).sum::<u64>() < 16 {
        let came = peer.batch().await;
        let holds = |kept: &Kept| matches!(kept, Kept::Readings(_, _, range) if range.contains(&poison));
        if came.sections.iter().any(holds) {
            refusals += 1;
            let units: u64 = came.sections.iter().filter_map(Kept::sequences).map(|(_, r)| r.end - r.start).sum();
            single = Some(units);
            peer.answer(came.packet, PubAckReason::ImplementationSpecificError).await;
            peer = gateway.accept(100).await;
        } else {
            peer.answer(came.packet, PubAckReason::Success).await;
            have.extend(came.sections);
        }
    }
    assert_eq!(single, Some(1), "the last refusal was of the reading alone");
    assert!(refusals <= 8, "{refusals} refusals to find one among 16");
    let claims: Vec<_> = have.iter().filter(|kept| matches!(kept, Kept::Claim(..))).collect();
    assert_eq!(claims, [&Kept::Claim(board(), R, LossKind::Rejected, poison..poison + 1)]);
    let order: Vec<u64> = have.iter().filter_map(Kept::sequences).flat_map(|(_, range)| range).collect();
    assert_eq!(order, (0..16).collect::<Vec<_>>(), "each once, in order");
    let counters = Arc::clone(&shipping.counters);
    shipping.drains().await;
    assert_eq!(counters.get(Event::ReadingsRejected), 1);
}

#[tokio::test]
async fn a_connection_that_went_dead_is_dropped_and_the_batches_come_again() {
    let gateway = Gateway::open().await;
    let mut options = UplinkOptions { ack_timeout: Duration::from_millis(300), ..options(gateway.port()) };
    // So that it is not a missed ping that tells.
    options.connection.keep_alive = Duration::from_secs(3600);
    let shipping = Shipping::start(options, &[0..2]);
    let mut silent = gateway.accept(100).await;
    assert_eq!(silent.batch().await.sections, readings(0..2));
    // The socket stays open; nothing comes back on it.
    let mut peer = gateway.accept(100).await;
    let came = peer.batch().await;
    assert_eq!(came.sections, readings(0..2));
    peer.answer(came.packet, PubAckReason::Success).await;
    shipping.drains().await;
    drop(silent);
}

#[tokio::test]
async fn descriptions_go_first_and_are_sent_again_when_the_gateway_asks() {
    let gateway = Gateway::open().await;
    let shipping = Shipping::start(options(gateway.port()), &[]);
    let mut channels = Vec::new();
    let channel = Channel { id: ChannelId(0), name: "count", unit: "1", kind: ValueKind::Integer, resolution: 1.0 };
    items::push(&mut channels, &channel);
    let schema = SchemaHash::of(Items::new(&channels));
    let description = Description { device: board(), schema, channels: Items::new(&channels) };
    shipping.queue.state().lock().descriptions.insert(&description).expect("a good description");
    shipping.put(&[0..1]);
    let mut peer = gateway.accept(100).await;
    let first = peer.batch().await;
    assert_eq!(peer.described, 1, "before the first batch");
    peer.answer(first.packet, PubAckReason::Success).await;
    peer.command(b"random bytes".to_vec()).await;
    peer.command(command::encode(&AgentCommand::Describe { device: board(), schema })).await;
    shipping.put(&[1..2]);
    let second = peer.batch().await;
    peer.answer(second.packet, PubAckReason::Success).await;
    while peer.described < 2 {
        assert!(peer.is_quiet(Duration::from_millis(50)).await);
    }
    assert_eq!(shipping.counters.get(Event::BadCommands), 1);
    shipping.drains().await;
}

/// MQTT 3.1.1 has another packet layout and no reasons; the rest is the same.
#[tokio::test]
async fn a_gateway_of_mqtt_3_is_served_too() {
    use rumqttc::mqttbytes::v4::{ConnAck, ConnectReturnCode, Packet, PubAck};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut options = options(listener.local_addr().expect("an address").port());
    options.gateways[0].endpoint.version = Mqtt::V3;
    let shipping = Shipping::start(options, &[0..2, 2..4]);
    let serve = async {
        // The first connection ends without an answer, which is how 3.1.1 refuses.
        for answers in [false, true] {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let (mut read, mut batches) = (bytes::BytesMut::new(), 0);
            while batches < 2 {
                let Ok(packet) = Packet::read(&mut read, 1 << 20) else {
                    stream.read_buf(&mut read).await.expect("an open connection");
                    continue;
                };
                let mut out = bytes::BytesMut::new();
                match packet {
                    Packet::Connect(connect) => {
                        assert_eq!((connect.client_id.as_str(), connect.clean_session), ("edge-1", true));
                        ConnAck::new(ConnectReturnCode::Success, false).write(&mut out).expect("a packet");
                    }
                    Packet::Publish(publish) => {
                        let batch = publish.topic.ends_with("/batch");
                        batches += usize::from(batch);
                        if answers || !batch {
                            PubAck::new(publish.pkid).write(&mut out).expect("a packet");
                        }
                    }
                    _ => {}
                }
                stream.write_all(&out).await.expect("an open connection");
            }
            if answers {
                return stream;
            }
        }
        unreachable!("the second connection answers")
    };
    let stream = tokio::time::timeout(Duration::from_secs(20), serve).await.expect("two batches, twice");
    shipping.drains().await;
    drop(stream);
}

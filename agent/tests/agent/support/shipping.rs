//! An uplink with a queue in memory, for a gateway that follows a script.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use weir_agent::config::{Address, Mqtt};
use weir_agent::counters::Counters;
use weir_agent::queue::{ClassId, Entries, Incarnation, Policy, Queue, QueueOptions};
use weir_agent::uplink::budget::Budget;
use weir_agent::uplink::connection::{Endpoint, Options};
use weir_agent::uplink::credentials::Credentials;
use weir_agent::uplink::gateways::{Gateway, Order};
use weir_agent::uplink::health::{UplinkHealth, UplinkView};
use weir_agent::uplink::orders::Orders;
use weir_agent::uplink::{Drain, PaceOptions, Uplink, UplinkOptions};
use weir_protocol::batch::RunBuilder;
use weir_protocol::time::WallClock;
use weir_protocol::{AgentId, ChannelId, Clock, DeviceId, Reading, Restart, SchemaHash, Sequence, Value, items};
use weir_storage::{Batch, FaultyFs, Fs};

use super::kept::Kept;
use super::{NOON, StoppedClock, device};

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
pub(crate) fn plain(port: u16) -> Gateway {
    let address = Address { port, ..Address::default() };
    let endpoint = Endpoint { address, version: Mqtt::V5, proxy: None };
    Gateway { endpoint, credentials: Credentials::none(agent()), retain: true }
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
    pub(crate) fn start(options: UplinkOptions, ranges: &[Range<u64>]) -> Self {
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
        ranges: &[Range<u64>],
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

    pub(crate) fn put(&self, ranges: &[Range<u64>]) {
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

fn put(queue: &Queue, ranges: &[Range<u64>]) {
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

pub(crate) fn readings(range: Range<u64>) -> Vec<Kept> {
    vec![Kept::Readings(board(), R, range)]
}

//! The outbound side of sessions over a real ingest, log and router on a filesystem in memory that can lose its power.

mod durable;
mod property;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rumqttc::v5::mqttbytes::v5;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};
use weir_protocol::Tenant;
use weir_protocol::time::SystemClock;
use weir_storage::{FaultyFs, Fs, LogOptions};

use super::subscriptions::SubscriptionLimits;
use super::{Change, Outbound, Resumed, Setup, Supply};
use crate::access::{Access, ClientId, Identity, Proof};
use crate::delivery::{Delivery, DeliveryOptions, Message as Delivered, Subscription};
use crate::front::counters::Counters;
use crate::ingest::{Body, Connection, Event, Ingest, IngestOptions, Message, Published, Sender, Verdict};
use crate::mqtt::packet::{Filter, Properties, QoS, RetainHandling, Subscribe, Unsubscribe, Version};
use crate::mqtt::write::Writer;
use crate::router::{Live, LiveOptions};
use crate::topics::layout::Routing;
use crate::topics::stores::Store;
use crate::topics::{Retention, Role, Topics};

/// Far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway without sockets.
struct World {
    fs: Arc<FaultyFs>,
    supply: Arc<Supply>,
    /// It stops with its last handle.
    ingest: Ingest,
    live: Live,
    publisher: Connection,
    told: mpsc::UnboundedReceiver<Event>,
    next: u64,
    stop: watch::Sender<bool>,
}

/// What is kept of a session beside its connection.
#[derive(Clone, Default)]
struct Kept {
    subscriptions: BTreeMap<String, Subscription>,
    resumed: Resumed,
}

impl Kept {
    /// What a connection goes on with.
    fn resumed(&self) -> Resumed {
        let subscriptions = self.subscriptions.values().cloned().collect();
        Resumed { subscriptions, ..self.resumed.clone() }
    }
}

fn options() -> IngestOptions {
    let store = |filter: &str, topic: &str| Store { filter: filter.into(), tenant: None, topic: topic.into() };
    IngestOptions {
        partitions: 2,
        log: LogOptions { segment_bytes: 4096, ..IngestOptions::default().log },
        routing: Routing {
            stores: vec![store("site/+/alarm", "alarms"), store("site/#", "messages")],
            ..Routing::default()
        },
        ..IngestOptions::default()
    }
}

fn supply(delivery: Delivery) -> Arc<Supply> {
    Arc::new(Supply {
        delivery,
        retained: None,
        clock: Arc::new(SystemClock),
        limits: SubscriptionLimits::default(),
        counters: Arc::new(Counters::new()),
    })
}

impl World {
    fn start(seed: u64) -> Self {
        Self::open(Arc::new(FaultyFs::new(seed)), options(), LiveOptions::default())
    }

    fn open(fs: Arc<FaultyFs>, options: IngestOptions, live: LiveOptions) -> Self {
        let on: Arc<dyn Fs> = fs.clone();
        let (ingest, topics, _) = Ingest::start(on, Path::new("/data"), options, Arc::new(SystemClock)).unwrap();
        let live = Live::new(topics.clone(), live);
        let (stop, stopping) = watch::channel(false);
        tokio::spawn(live.clone().run(stopping));
        let delivery = Delivery::new(topics, ingest.stores().clone(), live.clone(), DeliveryOptions::default());
        let supply = supply(delivery);
        let (events, told) = mpsc::unbounded_channel();
        let sender = Sender { tenant: Tenant::DEFAULT, client: ClientId::new("publisher").unwrap() };
        let publisher = ingest.connect(sender, events);
        Self { fs, supply, ingest, live, publisher, told, next: 0, stop }
    }

    fn topics(&self) -> &Topics {
        self.supply.delivery.topics()
    }

    /// Publishes `payloads` on `topic` and waits until they are committed.
    async fn publish(&mut self, topic: &str, payloads: impl IntoIterator<Item = String>, properties: Properties) {
        let mut messages = Vec::new();
        for payload in payloads {
            self.next += 1;
            let published = Published {
                topic: Bytes::copy_from_slice(topic.as_bytes()),
                qos: QoS::AtLeastOnce,
                retain: false,
                properties: properties.clone(),
                identity: None,
            };
            messages.push(Message {
                ticket: self.next,
                body: Body::Published(published.into()),
                payload: payload.into(),
            });
        }
        let mut left = messages.len();
        self.publisher.submit(messages).await;
        while left > 0 {
            if let Event::Outcomes(outcomes) = timeout(PATIENCE, self.told.recv()).await.unwrap().unwrap() {
                outcomes.iter().for_each(|outcome| assert_eq!(outcome.verdict, Verdict::Stored));
                left -= outcomes.len();
            }
        }
    }

    /// A client comes, with a session that outlives its connection.
    fn attach(&self, kept: &Kept) -> Client {
        self.connect(Some(kept.resumed()))
    }

    fn connect(&self, resumed: Option<Resumed>) -> Client {
        self.connect_as(resumed, Access::open(), 20)
    }

    fn connect_as(&self, resumed: Option<Resumed>, access: Access, receive_maximum: u16) -> Client {
        let setup = Setup {
            writer: Writer { version: Version::V5, reasons: true, max_packet: 64 << 10 },
            identity: Identity {
                tenant: Tenant::DEFAULT,
                client: ClientId::new("view").unwrap(),
                proof: Proof::Nothing,
            },
            access,
            receive_maximum,
            resumed,
        };
        Client { outbound: Outbound::new(Arc::clone(&self.supply), setup), out: BytesMut::new() }
    }

    /// The power goes, and comes back: what was not synced is gone.
    fn power_cut(self, options: IngestOptions, live: LiveOptions) -> Self {
        let _ = self.stop.send(true);
        let fs = self.fs.power_cut();
        Self::open(Arc::new(fs), options, live)
    }

    /// What the log has in each partition, in its order: topic and payload of each message.
    fn logged(&self) -> BTreeMap<(String, usize), Vec<(String, String)>> {
        let mut all = BTreeMap::new();
        for topic in self.topics().all().iter().filter(|topic| topic.role() == Role::Messages) {
            for (number, partition) in topic.partitions().iter().enumerate() {
                let mut next = partition.reader().start_offset();
                let found: &mut Vec<_> = all.entry((topic.name().to_owned(), number)).or_default();
                while let Ok(chunk) = partition.reader().read(next, 1 << 20) {
                    if chunk.next_offset == next {
                        break;
                    }
                    for record in chunk.records().map(Result::unwrap) {
                        let message = Delivered::of_record(topic, number as u32, &record, |_, _| true).unwrap();
                        found.push((text(&message.topic), text(&message.payload)));
                    }
                    next = chunk.next_offset;
                }
            }
        }
        all
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What a client got.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Got {
    topic: String,
    payload: String,
    id: u16,
    dup: bool,
}

/// A client and its connection.
struct Client {
    outbound: Outbound,
    out: BytesMut,
}

impl Client {
    fn subscribe(&mut self, kept: &mut Kept, filter: &str, qos: QoS) -> Vec<u8> {
        self.subscribe_with(
            kept,
            Filter {
                filter: filter.to_owned(),
                qos,
                no_local: false,
                retain_as_published: false,
                retain_handling: RetainHandling::Always,
            },
        )
    }

    /// As the front does it: what changed is kept, with the positions, before the answer is told.
    fn subscribe_with(&mut self, kept: &mut Kept, filter: Filter) -> Vec<u8> {
        let subscribe = Subscribe { id: 1, identifier: None, filters: vec![filter] };
        let subscribed = self.outbound.subscribe(&subscribe);
        self.keep(kept, subscribed.changes);
        subscribed.codes
    }

    fn unsubscribe(&mut self, kept: &mut Kept, filter: &str) {
        let changes = self.outbound.unsubscribe(&Unsubscribe { id: 1, filters: vec![filter.to_owned()] }).changes;
        self.keep(kept, changes);
    }

    fn keep(&mut self, kept: &mut Kept, changes: Vec<Change>) {
        kept.resumed.positions = self.outbound.positions();
        for change in changes {
            match change {
                Change::Set(subscription) => {
                    kept.subscriptions.insert(subscription.filter.filter.clone(), subscription);
                }
                Change::Remove(filter) => {
                    kept.subscriptions.remove(&filter);
                }
            }
        }
    }

    /// What comes within `patience`, until it is a write.
    async fn hear(&mut self, patience: Duration) -> Vec<Got> {
        let until = Instant::now() + patience;
        while self.out.is_empty()
            && self.outbound.takes(0)
            && let Ok(next) = timeout_at(until, self.outbound.next()).await
        {
            self.outbound.deliver(next, &mut self.out);
        }
        let mut got = Vec::new();
        while !self.out.is_empty() {
            let v5::Packet::Publish(publish) = v5::Packet::read(&mut self.out, None).unwrap() else { panic!() };
            let (topic, payload) = (text(&publish.topic), text(&publish.payload));
            got.push(Got { topic, payload, id: publish.pkid, dup: publish.dup });
        }
        got
    }

    /// Hears and acknowledges until so many messages came.
    async fn hear_all(&mut self, count: usize) -> Vec<Got> {
        let mut all = Vec::new();
        while all.len() < count {
            let got = self.hear(PATIENCE).await;
            assert!(!got.is_empty(), "{} of {count} came", all.len());
            self.acknowledge(&got);
            all.extend(got);
        }
        all
    }

    fn acknowledge(&mut self, got: &[Got]) {
        for got in got.iter().filter(|got| got.id != 0) {
            self.outbound.acknowledged(got.id, &mut self.out);
        }
    }

    /// The connection ends; what the process keeps of it.
    fn detach(self, kept: &mut Kept) {
        let (positions, unfinished) = self.outbound.detach();
        kept.resumed.positions = positions;
        kept.resumed.unfinished = unfinished;
    }
}

fn payloads(got: &[Got]) -> Vec<&str> {
    got.iter().map(|got| &*got.payload).collect()
}

fn numbers(range: std::ops::Range<u32>) -> impl Iterator<Item = String> {
    range.map(|number| number.to_string())
}

//! What durable subscriptions share: the topics, turns to read, room for what was read, counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use weir_protocol::Tenant;
use weir_protocol::mqtt::{LIVE, PREFIX};

use super::reads::{self, Found, Wanted};
use super::{Budget, Message, Place};
use crate::mqtt::topic::intersects;
use crate::router::Live;
use crate::topics::stores::Stores;
use crate::topics::{Role, Topic, Topics};

/// The limits of durable subscriptions.
#[derive(Clone, Copy, Debug)]
pub struct DeliveryOptions {
    /// Reads of files at a time.
    pub reads: usize,
    /// What all sessions together may hold of what was read and not sent, in bytes, beyond one message each.
    pub bytes: usize,
}

impl Default for DeliveryOptions {
    fn default() -> Self {
        Self { reads: 4, bytes: 32 << 20 }
    }
}

/// The durable subscriptions of a gateway; cheap to clone.
#[derive(Clone)]
pub struct Delivery(Arc<Shared>);

struct Shared {
    topics: Topics,
    stores: Stores,
    live: Live,
    turns: Semaphore,
    room: Arc<Semaphore>,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    skipped: AtomicU64,
    damaged: AtomicU64,
    reads: AtomicU64,
    waited: AtomicU64,
    messages: AtomicU64,
}

/// What is counted, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveryStats {
    /// Offsets that retention removed before a session had read them.
    pub skipped: u64,
    /// Offsets that a session could not read because of damage.
    pub damaged: u64,
    /// Reads.
    pub reads: u64,
    /// Those of them that waited for their turn.
    pub waited: u64,
    /// Messages found by reading.
    pub messages: u64,
}

/// Room is counted in units of so many bytes.
const UNIT: usize = 1 << 10;
/// What one session may have read and not sent, in bytes, while there is room; the message that crosses it comes all the
/// same.
pub(super) const AHEAD: usize = 64 << 10;
/// How long nobody asks a disk again that has refused.
const PAUSE: Duration = Duration::from_secs(1);

impl Delivery {
    /// Durable subscriptions to `topics`, to which messages come by `stores` and of which `live` shows the ends.
    pub fn new(topics: Topics, stores: Stores, live: Live, options: DeliveryOptions) -> Self {
        let units = (options.bytes / UNIT).min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Shared {
            topics,
            stores,
            live,
            turns: Semaphore::new(options.reads.max(1)),
            room: Arc::new(Semaphore::new(units)),
            counters: Counters::default(),
        }))
    }

    /// The topics.
    pub fn topics(&self) -> &Topics {
        &self.0.topics
    }

    /// The same, live.
    pub fn live(&self) -> &Live {
        &self.0.live
    }

    /// What happened so far.
    pub fn stats(&self) -> DeliveryStats {
        let Counters { skipped, damaged, reads, waited, messages } = &self.0.counters;
        DeliveryStats {
            skipped: skipped.load(Relaxed),
            damaged: damaged.load(Relaxed),
            reads: reads.load(Relaxed),
            waited: waited.load(Relaxed),
            messages: messages.load(Relaxed),
        }
    }

    /// The topics whose records a filter of `tenant` may match.
    pub(super) fn reached<'a>(&'a self, tenant: Tenant, filter: &'a str) -> impl Iterator<Item = &'a Topic> {
        let live = intersects(&format!("{PREFIX}{tenant}/{LIVE}/#"), filter);
        self.0.topics.all().iter().map(|topic| &**topic).filter(move |topic| match topic.role() {
            Role::Readings => live,
            Role::Messages => self.0.stores.may_lead(tenant, filter, topic.id()),
            Role::Loss | Role::DeadLetter | Role::Describe | Role::Internal => false,
        })
    }

    /// Room for a read, if there is some.
    pub(super) fn room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.room).try_acquire_many_owned((AHEAD / UNIT) as u32).ok()
    }

    /// Counts offsets that were passed without being read.
    pub(super) fn passed(&self, place: Place, removed: u64, damaged: u64) {
        if removed + damaged > 0 {
            self.0.counters.skipped.fetch_add(removed, Relaxed);
            self.0.counters.damaged.fetch_add(damaged, Relaxed);
            let topic = self.0.topics.get(place.topic).name();
            let (partition, offset) = (place.partition, place.offset);
            tracing::warn!(
                topic,
                partition,
                offset,
                removed,
                damaged,
                "a durable subscription passes what is not there"
            );
        }
    }

    /// The message at `place`, if it is still there, in its turn.
    pub fn message(&self, place: Place) -> JoinHandle<Option<Message>> {
        let delivery = self.clone();
        tokio::spawn(async move {
            let _turn = delivery.0.turn().await?;
            let reading = {
                let delivery = delivery.clone();
                move || reads::one(delivery.topics().get(place.topic), place)
            };
            tokio::task::spawn_blocking(reading).await.ok().flatten()
        })
    }

    /// Reads on from `from`, in its turn, where that may block.
    pub(super) fn read(&self, from: Place, upto: u64, wanted: Wanted, budget: Budget) -> JoinHandle<Found> {
        let delivery = self.clone();
        tokio::spawn(async move {
            let shared = &delivery.0;
            let nothing = || Found { next: from.offset, ..Found::default() };
            let Some(_turn) = shared.turn().await else { return nothing() };
            let reading = {
                let delivery = delivery.clone();
                move || {
                    let topic = delivery.topics().get(from.topic);
                    reads::read(topic, from.partition, from.offset, upto, &wanted, budget)
                }
            };
            let found = tokio::task::spawn_blocking(reading).await.unwrap_or_else(|_| nothing());
            shared.counters.reads.fetch_add(1, Relaxed);
            shared.counters.messages.fetch_add(found.messages.len() as u64, Relaxed);
            if let Some(error) = &found.failed {
                let (topic, partition) = (shared.topics.get(from.topic).name(), from.partition);
                tracing::warn!(topic, partition, %error, "a durable subscription waits for the disk");
                sleep(PAUSE).await;
            }
            found
        })
    }
}

impl Shared {
    /// A turn to read. Nobody closes the semaphore, so there always is one.
    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        match self.turns.try_acquire() {
            Ok(turn) => Some(turn),
            Err(_) => {
                self.counters.waited.fetch_add(1, Relaxed);
                self.turns.acquire().await.ok()
            }
        }
    }
}

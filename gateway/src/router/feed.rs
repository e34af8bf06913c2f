//! What the router is fed with: committed readings that somebody subscribed to, read from the log as any consumer
//! reads them.
//!
//! A turn ends where the log ended when [`Feed::look`] looked, before the subscriptions were made: so whatever is
//! committed behind a subscription is read after it was made. It is bounded in bytes and in messages. Whoever falls [`MAX_BEHIND`] records behind the log skips to its end:
//! live means now, and the rest is in the log.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use futures_util::future::select_all;
use tokio::sync::watch;
use weir_protocol::mqtt::LiveTopic;
use weir_storage::{ReadError, Record};

use super::registry::{MAX_MESSAGE, Slots, Start};
use super::{Message, Shared};
use crate::http::page;
use crate::record::Value;
use crate::topics::{Partition, Topic, TopicId, Topics};

/// Records of one partition that may wait before the rest is skipped.
const MAX_BEHIND: u64 = 1 << 16;
/// Bytes of log that one turn reads of a partition.
const TURN_BYTES: usize = 32 << 10;
/// Messages after which a turn ends.
const TURN_MESSAGES: usize = 512;
/// Topics of which it is remembered who wants them; then everything is forgotten.
const MAX_REMEMBERED: usize = 16 << 10;
/// The longest topic, in bytes. A channel whose name makes it longer is not served live.
const MAX_TOPIC: usize = 1024;

/// The messages of one turn, each with the slots that want it.
pub(super) type Turn = Vec<(Slots, Bytes)>;

/// A topic of readings, and a partition of it with its number.
type Place<'t> = (&'t Topic, usize, &'t Partition);

/// The partitions of all topics of readings, in one order.
fn places(topics: &Topics) -> impl Iterator<Item = Place<'_>> {
    topics.readings().flat_map(|topic| {
        topic.partitions().iter().enumerate().map(move |(number, partition)| (topic, number, partition))
    })
}

/// Reads on from where it is.
pub(super) struct Feed {
    /// Whose start it began with ([`Start::by`]).
    pub(super) by: u64,
    reader: Option<Reader>,
    exposed: Vec<watch::Receiver<u64>>,
}

struct Reader {
    shared: Arc<Shared>,
    /// The next offset of each partition.
    next: Vec<u64>,
    /// Where each partition ended when it was looked at.
    ends: Vec<u64>,
    /// The partition that the next turn begins with.
    first: usize,
    interest: Interest,
}

impl Feed {
    /// Begins where the first subscriber came.
    pub(super) fn new(shared: Arc<Shared>, Start { by, offsets: next }: Start) -> Self {
        let exposed = shared.topics.readings().flat_map(Topic::partitions).map(Partition::exposed).collect();
        let reader = Reader { shared, ends: next.clone(), next, first: 0, interest: Interest::default() };
        Self { by, reader: Some(reader), exposed }
    }

    /// Looks where the log ends now: as far as the next turns read.
    pub(super) fn look(&mut self) {
        // What is exposed from here on wakes [`Feed::grown`].
        let ends = self.exposed.iter_mut().map(|exposed| *exposed.borrow_and_update()).collect();
        if let Some(reader) = &mut self.reader {
            reader.ends = ends;
        }
    }

    /// The next messages; none if there is nothing new. `None` if reading panicked: then this feed is over.
    pub(super) async fn turn(&mut self) -> Option<Turn> {
        let mut reader = self.reader.take()?;
        let read = tokio::task::spawn_blocking(move || (reader.turn(), reader));
        let (turn, reader) = read.await.ok()?;
        self.reader = Some(reader);
        Some(turn)
    }

    /// Resolves when something was exposed since the last look.
    pub(super) async fn grown(&mut self) {
        if !self.exposed.is_empty() {
            // The sender of a partition lives as long as the topics.
            let _ = select_all(self.exposed.iter_mut().map(|exposed| Box::pin(exposed.changed()))).await;
        }
    }
}

impl Reader {
    fn turn(&mut self) -> Turn {
        let shared = Arc::clone(&self.shared);
        let partitions: Vec<_> = places(&shared.topics).collect();
        let mut turn = Turn::new();
        loop {
            let mut any = false;
            for step in 0..partitions.len() {
                let number = (self.first + step) % partitions.len();
                any |= self.read(number, partitions[number], &mut turn);
                if turn.len() >= TURN_MESSAGES {
                    self.first = number + 1;
                    return turn;
                }
            }
            if !any {
                return turn;
            }
        }
    }

    /// Reads on in one partition; whether there was something.
    fn read(&mut self, number: usize, (topic, own, partition): Place<'_>, turn: &mut Turn) -> bool {
        let (Some(next), Some(&end)) = (self.next.get_mut(number), self.ends.get(number)) else { return false };
        if end.saturating_sub(*next) > MAX_BEHIND {
            self.shared.counters.skipped.fetch_add(end - *next, Relaxed);
            *next = end;
        }
        if *next >= end {
            return false;
        }
        let chunk = match partition.reader().read(*next, TURN_BYTES) {
            Ok(chunk) if chunk.next_offset > *next => chunk,
            // Retention took it away meanwhile.
            Err(ReadError::OutOfRange { start, .. }) if start > *next => {
                self.shared.counters.skipped.fetch_add(start - *next, Relaxed);
                *next = start;
                return true;
            }
            // The log's own business; consumers that need every record are told by their own reads.
            Ok(_) | Err(_) => {
                self.shared.counters.skipped.fetch_add(end - *next, Relaxed);
                *next = end;
                return false;
            }
        };
        *next = chunk.next_offset.min(end);
        for record in chunk.records().filter_map(Result::ok).take_while(|record| record.offset < end) {
            turn.extend(self.interest.message(&self.shared, (topic, own), &record));
        }
        true
    }
}

/// Who wants which topic, remembered until the filters change.
#[derive(Default)]
struct Interest {
    version: u64,
    known: HashMap<String, Slots>,
    topic: String,
}

impl Interest {
    /// The message of a record, if anybody wants it.
    fn message(
        &mut self,
        shared: &Shared,
        (from, partition): (&Topic, usize),
        record: &Record<'_>,
    ) -> Option<(Slots, Bytes)> {
        let Ok(Value::Reading(reading)) = Value::decode(record.value?) else { return None };
        self.topic.clear();
        let topic = LiveTopic { tenant: reading.tenant, device: reading.device, channel: &reading.channel };
        // Writing to a String cannot fail.
        let _ = write!(self.topic, "{topic}");
        if self.topic.len() > MAX_TOPIC {
            return None;
        }
        let slots = self.slots(shared);
        if slots == 0 {
            return None;
        }
        let mut json = page::render(partition, record);
        if from.id() != TopicId::READINGS {
            // Whoever knows nothing of other topics looks for the offset in `readings`.
            json["topic"] = from.name().into();
        }
        let message = Message::pack(&self.topic, &json.to_string());
        (message.len() <= MAX_MESSAGE).then_some((slots, message))
    }

    fn slots(&mut self, shared: &Shared) -> Slots {
        let registry = shared.registry.lock();
        if self.version != registry.version || self.known.len() >= MAX_REMEMBERED {
            self.known.clear();
            self.version = registry.version;
        }
        if let Some(slots) = self.known.get(&self.topic) {
            return *slots;
        }
        let slots = registry.interested(&self.topic);
        self.known.insert(self.topic.clone(), slots);
        slots
    }
}

//! What the router is fed with: committed messages that somebody subscribed to, read from the log as any consumer
//! reads them.
//!
//! A turn ends where the log ended when [`Feed::look`] looked, and who wants what is decided in one moment behind
//! that: so whatever is committed behind a subscription is for it. It is bounded in bytes and in messages. Whoever
//! falls [`MAX_BEHIND`] records behind the log skips to its end: live means now, and the rest is in the log.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use futures_util::future::select_all;
use hashbrown::HashMap;
use tokio::sync::watch;
use weir_protocol::Tenant;
use weir_storage::{Chunk, ReadError, Record};

use super::registry::{Known, Start};
use super::turn::{Delivery, Turn};
use super::{Reached, Shared};
use crate::delivery::Message;
use crate::topics::{Partition, Topic, Topics};

/// Records of one partition that may wait before the rest is skipped.
const MAX_BEHIND: u64 = 1 << 16;
/// Bytes of log that a turn reads of a partition at a time.
const READ_BYTES: usize = 64 << 10;
/// Bytes of log after which a turn reads no more.
const TURN_BYTES: usize = 256 << 10;
/// Records after which a turn reads no more.
const TURN_RECORDS: usize = 4096;
/// Messages in a turn, whatever one frame of the log holds.
const MAX_MESSAGES: usize = u16::MAX as usize + 1;

/// The next offset of each partition that is published, in the order of [`places`].
pub(super) type Offsets = Vec<u64>;

/// A topic that is published, and a partition of it with its number.
#[derive(Clone, Copy)]
struct Place<'t> {
    topic: &'t Topic,
    number: u32,
    partition: &'t Partition,
}

/// The partitions of all topics that are published, in one order.
fn places(topics: &Topics) -> impl Iterator<Item = Place<'_>> {
    topics.all().iter().filter(|topic| Message::are_in(topic)).flat_map(|topic| {
        let numbered = (0..).zip(topic.partitions());
        numbered.map(move |(number, partition)| Place { topic, number, partition })
    })
}

/// Where each of them ends now.
pub(super) fn offsets_now(topics: &Topics) -> Offsets {
    places(topics).map(|place| place.partition.reader().end_offset()).collect()
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
    next: Offsets,
    /// Where each partition ended when it was looked at.
    ends: Offsets,
    /// The partition that the next turn begins with.
    first: usize,
    /// Something was passed over that nobody was told of yet.
    gap: bool,
}

impl Feed {
    /// Begins where the first subscriber came.
    pub(super) fn new(shared: Arc<Shared>, Start { by, offsets: next }: Start) -> Self {
        let exposed = places(&shared.topics).map(|place| place.partition.exposed()).collect();
        let reader = Reader { shared, ends: next.clone(), next, first: 0, gap: false };
        Self { by, reader: Some(reader), exposed }
    }

    /// Begins behind something that is missing for everybody.
    pub(super) fn behind_a_gap(mut self) -> Self {
        self.reader.iter_mut().for_each(|reader| reader.gap = true);
        self
    }

    /// Looks where the log ends now: as far as the next turn reads.
    pub(super) fn look(&mut self) {
        // What is exposed from here on wakes [`Feed::grown`].
        let ends = self.exposed.iter_mut().map(|exposed| *exposed.borrow_and_update()).collect();
        if let Some(reader) = &mut self.reader {
            reader.ends = ends;
        }
    }

    /// The next messages, and whether there is nothing behind them up to where the log ended. `None` if reading
    /// panicked: then this feed is over.
    pub(super) async fn turn(&mut self) -> Option<(Turn, bool)> {
        let mut reader = self.reader.take()?;
        let read = tokio::task::spawn_blocking(move || (reader.turn(), reader));
        let (turn, reader) = read.await.ok()?;
        let is_done = reader.next.iter().zip(&reader.ends).all(|(next, end)| next >= end);
        self.reader = Some(reader);
        Some((turn, is_done))
    }

    /// Everything below was read.
    pub(super) fn reached(&self) -> Arc<[Reached]> {
        let Some(Reader { shared, next, .. }) = &self.reader else { return Arc::default() };
        let reached = |(place, next): (Place<'_>, &u64)| Reached {
            topic: place.topic.id(),
            partition: place.number,
            next: *next,
        };
        places(&shared.topics).zip(next).map(reached).collect()
    }

    /// Resolves when something was exposed since the last look.
    pub(super) async fn grown(&mut self) {
        if self.exposed.is_empty() {
            return std::future::pending().await;
        }
        // The sender of a partition lives as long as the topics.
        let _ = select_all(self.exposed.iter_mut().map(|exposed| Box::pin(exposed.changed()))).await;
    }
}

/// A record that may be wanted.
struct Candidate<'c> {
    place: Place<'c>,
    record: Record<'c>,
    tenant: Tenant,
    /// Its topic, in the text of all topics.
    name: Range<usize>,
}

impl Reader {
    fn turn(&mut self) -> Turn {
        let shared = Arc::clone(&self.shared);
        let places: Vec<_> = places(&shared.topics).collect();
        let chunks = self.read(&places);
        let mut names = String::new();
        let mut candidates = Vec::new();
        for (at, chunk, end) in &chunks {
            let place = places[*at];
            for record in chunk.records().filter_map(Result::ok).take_while(|record| record.offset < *end) {
                // Nothing is rendered before it is known that somebody wants it.
                Message::of_record(place.topic, place.number, &record, |tenant, topic| {
                    let from = names.len();
                    names.push_str(topic);
                    candidates.push(Candidate { place, record, tenant, name: from..names.len() });
                    false
                });
            }
        }
        candidates.truncate(MAX_MESSAGES);
        distribute(&shared, &candidates, &names, std::mem::take(&mut self.gap))
    }

    /// What one turn reads, each part with its partition and where it ends.
    fn read(&mut self, places: &[Place<'_>]) -> Vec<(usize, Chunk, u64)> {
        let mut chunks = Vec::new();
        let (mut bytes, mut records) = (0, 0);
        let mut idle = 0;
        while idle < places.len() && bytes < TURN_BYTES && records < TURN_RECORDS {
            let at = self.first % places.len();
            self.first = at + 1;
            match self.read_one(at, places[at].partition) {
                Some((chunk, count)) => {
                    idle = 0;
                    bytes += chunk.bytes.len();
                    records += count;
                    chunks.push((at, chunk, self.ends[at]));
                }
                None => idle += 1,
            }
        }
        chunks
    }

    /// Reads on in one partition; the chunk and how many records it has, if there was anything.
    fn read_one(&mut self, at: usize, partition: &Partition) -> Option<(Chunk, usize)> {
        let (next, end) = (self.next[at], self.ends[at]);
        if end.saturating_sub(next) > MAX_BEHIND {
            self.skip(at, end);
        }
        if self.next[at] >= end {
            return None;
        }
        let chunk = match partition.reader().read(self.next[at], READ_BYTES) {
            Ok(chunk) if chunk.next_offset > self.next[at] => chunk,
            // Retention took it away meanwhile.
            Err(ReadError::OutOfRange { start, .. }) if start > self.next[at] => {
                self.skip(at, start);
                return Some((Chunk::default(), 0));
            }
            // The log's own business; consumers that need every record are told by their own reads.
            Ok(_) | Err(_) => {
                self.skip(at, end);
                return None;
            }
        };
        let upto = chunk.next_offset.min(end);
        let count = upto - self.next[at];
        self.next[at] = upto;
        Some((chunk, usize::try_from(count).unwrap_or(TURN_RECORDS)))
    }

    /// Passes over records that nobody gets.
    fn skip(&mut self, at: usize, upto: u64) {
        self.shared.counters.skipped.fetch_add(upto - self.next[at], Relaxed);
        self.next[at] = upto;
        self.gap = true;
    }
}

/// Makes messages of the candidates that somebody wants, and lists of who gets which.
fn distribute(shared: &Shared, candidates: &[Candidate<'_>], names: &str, gap: bool) -> Turn {
    let mut turn = Turn::default();
    let mut lists: HashMap<u64, Vec<u16>> = HashMap::new();
    let mut wanted = Vec::new();
    {
        let mut known = shared.registry.lock();
        for candidate in candidates {
            // There are at most as many as the type has numbers.
            let number = wanted.len() as u16;
            let mut any = false;
            known.interested(candidate.tenant, &names[candidate.name.clone()], |audience| {
                let list = lists.entry(audience).or_default();
                if list.last() != Some(&number) {
                    list.push(number);
                }
                any = true;
            });
            if any {
                wanted.push(candidate);
            }
        }
        turn.gap = gap.then(|| std::array::from_fn(|lane| known.everybody(lane)));
        for (audience, list) in lists {
            deliver(&mut turn, &mut known, audience, &list);
        }
    }
    // Out of the lock: this takes longer than all of the above.
    turn.messages = wanted
        .into_iter()
        .map(|Candidate { place, record, .. }| {
            Message::of_record(place.topic, place.number, record, |_, _| true).map(Arc::new)
        })
        .collect();
    turn
}

/// Adds a list for those of an audience.
fn deliver(turn: &mut Turn, known: &mut Known, audience: u64, list: &[u16]) {
    let (from, count) = (turn.lists.len() as u32, list.len() as u32);
    turn.lists.extend_from_slice(list);
    known.mailboxes(audience, |lane, mailboxes| {
        turn.deliveries[lane].push(Delivery { to: Arc::clone(mailboxes), from, count });
    });
}

//! The partitions of one fetch, and what was found in them.

use tokio::sync::watch;
use weir_storage::ReadError;

use super::pool::Pool;
use super::reads::{self, Found};
use crate::kafka::Kafka;
use crate::kafka::handlers::{check_epoch, partition};
use crate::kafka::messages::ErrorCode;
use crate::kafka::messages::fetch::{Partition, RequestPartition, RequestTopic, Response, Topic};
use crate::topics::{self, Topics};

/// What a client wants, and what it gets.
pub(super) struct Wanted {
    topics: Topics,
    names: Vec<String>,
    places: Vec<Place>,
    /// The place that is read first.
    first: usize,
    max_bytes: usize,
    bytes: usize,
    is_full: bool,
    gaps: usize,
}

/// One partition of it.
struct Place {
    topic: usize,
    asked: RequestPartition,
    found: Found,
    error: ErrorCode,
}

impl Wanted {
    /// Nothing has been read; what cannot be read has its error.
    pub(super) fn new(topics: Topics, asked: Vec<RequestTopic>, max_bytes: usize, turn: usize) -> Self {
        let (mut names, mut places) = (Vec::with_capacity(asked.len()), Vec::new());
        for (at, RequestTopic { name, partitions }) in asked.into_iter().enumerate() {
            let topic = topics.named(&name);
            places.extend(partitions.into_iter().map(|asked| {
                let error = check(topic, &asked).err().unwrap_or_default();
                Place { topic: at, asked, found: Found::default(), error }
            }));
            names.push(name);
        }
        let first = turn % places.len().max(1);
        Self { topics, names, places, first, max_bytes, bytes: 0, is_full: false, gaps: 0 }
    }

    /// Wake-ups for each partition that may grow.
    pub(super) fn exposed(&self) -> Vec<watch::Receiver<u64>> {
        let readable = self.places.iter().filter(|place| place.error.is_none());
        readable.filter_map(|place| Some(self.partition(place)?.exposed())).collect()
    }

    /// Whether there is anything to read.
    pub(super) fn is_behind(&self) -> bool {
        let readable = self.places.iter().filter(|place| place.error.is_none());
        readable
            .filter_map(|place| Some((self.partition(place)?, place.asked.offset)))
            .any(|(partition, offset)| partition.reader().end_offset() != offset as u64)
    }

    /// Reads up to `bytes`; may block.
    pub(super) fn read(mut self, bytes: usize, pool: &Pool) -> Self {
        let (before, after) = (0..self.first, self.first..self.places.len());
        let mut left = bytes.min(self.max_bytes);
        for at in after.chain(before) {
            let place = &self.places[at];
            let Some(partition) = self.partition(place).filter(|_| place.error.is_none()) else { continue };
            let at_least_one = self.bytes == 0;
            let most = usize::try_from(place.asked.max_bytes).unwrap_or(0).min(left);
            let read = reads::read(partition, place.asked.offset as u64, most, at_least_one, pool);
            let place = &mut self.places[at];
            match read {
                Ok(found) => {
                    self.bytes += found.bytes;
                    self.gaps += found.gaps;
                    left = left.saturating_sub(found.bytes);
                    place.found = found;
                }
                Err(ReadError::OutOfRange { .. }) => place.error = ErrorCode::OffsetOutOfRange,
                Err(ReadError::Io(error)) => {
                    tracing::warn!(%error, "a Kafka client's fetch failed");
                    place.error = ErrorCode::KafkaStorageError;
                }
            }
        }
        self.is_full = left == 0;
        self
    }

    /// Bytes that were found.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether some partition cannot be read.
    pub(super) fn has_failed(&self) -> bool {
        self.places.iter().any(|place| !place.error.is_none())
    }

    /// Whether no more fits.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    /// Lets go of what was found.
    pub(super) fn forget(&mut self) {
        self.places.iter_mut().for_each(|place| place.found = Found::default());
        (self.bytes, self.is_full, self.gaps) = (0, false, 0);
    }

    /// The answer.
    pub(super) fn into_response(mut self, kafka: &Kafka) -> Response {
        kafka.counters.fetched(self.bytes);
        kafka.counters.passed_gaps(self.gaps);
        let mut answers: Vec<_> =
            self.names.iter().map(|name| Topic { name: name.clone(), partitions: Vec::new() }).collect();
        for at in 0..self.places.len() {
            let pieces = std::mem::take(&mut self.places[at].found.pieces);
            let place = &self.places[at];
            let mut answer = Partition {
                index: place.asked.index,
                error: kafka.counters.failed(place.error),
                records: pieces,
                ..Partition::default()
            };
            if let Some(partition) = self.partition(place) {
                let end = partition.reader().end_offset() as i64;
                (answer.high_watermark, answer.last_stable_offset) = (end, end);
                answer.log_start_offset = partition.reader().start_offset() as i64;
            }
            answers[place.topic].partitions.push(answer);
        }
        Response { error: ErrorCode::None, session_id: 0, topics: answers }
    }

    fn partition(&self, place: &Place) -> Option<&topics::Partition> {
        partition(self.topics.named(self.names.get(place.topic)?), place.asked.index)
    }
}

fn check(topic: Option<&topics::Topic>, asked: &RequestPartition) -> Result<(), ErrorCode> {
    let partition = partition(topic, asked.index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    check_epoch(asked.current_leader_epoch)?;
    let there = partition.reader().start_offset()..=partition.reader().end_offset();
    let is_there = u64::try_from(asked.offset).is_ok_and(|offset| there.contains(&offset));
    if is_there { Ok(()) } else { Err(ErrorCode::OffsetOutOfRange) }
}

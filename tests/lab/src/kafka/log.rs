//! The log as a Kafka client sees it: topics, their bounds, and records from any offset.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Context, Result, bail};
use bytes::{Buf, Bytes};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, FetchRequest, ListOffsetsRequest, MetadataRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::RecordBatchDecoder;

use super::client::{Broker, Client, Pace};

pub use kafka_protocol::records::Record;

/// Versions that every client of the last years speaks.
const METADATA: i16 = 4;
const LIST_OFFSETS: i16 = 5;
const FETCH: i16 = 11;
/// What ListOffsets calls the first and the next offset.
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;
/// Base offset, length, leader epoch, magic, checksum, attributes, last offset delta: the head of a record batch.
const LENGTH_AT: usize = 8;
const COUNTED_FROM: usize = 12;
const LAST_DELTA_AT: usize = 23;
const HEAD: usize = 27;

/// A partition by topic and number.
pub type Place = (String, i32);

/// Reads the log over one connection.
pub struct Log {
    client: Client,
}

/// What one fetch brought.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Records from the offset on that was asked for.
    pub records: Vec<Record>,
    /// The offset to go on with.
    pub next: u64,
}

/// How far a fetch goes.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    /// Bytes of an answer; a batch that is larger comes all the same.
    pub bytes: i32,
    /// How long the gateway may wait for the first record, in milliseconds.
    pub wait_ms: i32,
}

impl Default for Reach {
    fn default() -> Self {
        Self { bytes: 1 << 20, wait_ms: 0 }
    }
}

impl Log {
    /// Connects to the gateway's Kafka port.
    pub async fn connect(gateway: impl Into<Broker>) -> Result<Self> {
        Ok(Self { client: Client::connect(gateway).await? })
    }

    /// How answers are taken from now on.
    pub fn set_pace(&mut self, pace: Option<Pace>) {
        self.client.set_pace(pace);
    }

    /// Every partition of every topic that the gateway lists.
    pub async fn partitions(&mut self) -> Result<Vec<Place>> {
        let answer = self.client.ask(METADATA, &MetadataRequest::default().with_topics(None)).await?;
        let mut places = Vec::new();
        for topic in answer.topics {
            let name = topic.name.map(|name| name.to_string()).context("a topic without a name")?;
            expect(topic.error_code, || format!("Metadata of {name}"))?;
            places.extend(topic.partitions.iter().map(|partition| (name.clone(), partition.partition_index)));
        }
        Ok(places)
    }

    /// The first offset of a partition, and the one behind its last record.
    pub async fn bounds(&mut self, place: &Place) -> Result<Range<u64>> {
        let mut known = async |timestamp| self.offset(place, timestamp).await?.context("no offset");
        Ok(known(EARLIEST).await?..known(LATEST).await?)
    }

    /// The first offset of a record of this time, in milliseconds since 1970, or later; `None` if there is none.
    pub async fn since(&mut self, place: &Place, timestamp: i64) -> Result<Option<u64>> {
        self.offset(place, timestamp).await
    }

    async fn offset(&mut self, (topic, partition): &Place, timestamp: i64) -> Result<Option<u64>> {
        let asked = ListOffsetsPartition::default().with_partition_index(*partition).with_timestamp(timestamp);
        let topic_asked = ListOffsetsTopic::default().with_name(name(topic)).with_partitions(vec![asked]);
        let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic_asked]);
        let answer = self.client.ask(LIST_OFFSETS, &request).await?;
        let found = answer.topics.first().and_then(|topic| topic.partitions.first());
        let found = found.with_context(|| format!("ListOffsets says nothing about {topic}/{partition}"))?;
        expect(found.error_code, || format!("ListOffsets of {topic}/{partition}"))?;
        Ok(u64::try_from(found.offset).ok())
    }

    /// Records from `offset` on. `None`: that offset is out of range.
    pub async fn fetch(&mut self, place: &Place, offset: u64, reach: Reach) -> Result<Option<Fetched>> {
        let mut fetched = self.fetch_each(&BTreeMap::from([(place.clone(), offset)]), reach).await?;
        let (topic, partition) = place;
        fetched.remove(place).with_context(|| format!("Fetch says nothing about {topic}/{partition}"))
    }

    /// The same of many partitions at once, each from its offset on; the first of them that has something ends the wait.
    pub async fn fetch_each(
        &mut self,
        from: &BTreeMap<Place, u64>,
        reach: Reach,
    ) -> Result<BTreeMap<Place, Option<Fetched>>> {
        let mut topics: BTreeMap<&str, Vec<FetchPartition>> = BTreeMap::new();
        for ((topic, partition), offset) in from {
            let asked = FetchPartition::default()
                .with_partition(*partition)
                .with_fetch_offset(i64::try_from(*offset)?)
                .with_partition_max_bytes(reach.bytes);
            topics.entry(topic).or_default().push(asked);
        }
        let topics = topics.into_iter();
        let topics = topics.map(|(topic, asked)| FetchTopic::default().with_topic(name(topic)).with_partitions(asked));
        let request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(reach.wait_ms)
            .with_min_bytes(1)
            .with_max_bytes(reach.bytes)
            .with_session_epoch(-1)
            .with_topics(topics.collect());
        let answer = self.client.ask(FETCH, &request).await?;
        expect(answer.error_code, || "Fetch".to_owned())?;
        let mut fetched = BTreeMap::new();
        for of_topic in answer.responses {
            for found in of_topic.partitions {
                let place = (of_topic.topic.to_string(), found.partition_index);
                let (topic, partition) = &place;
                let offset = from.get(&place).copied();
                let offset = offset.with_context(|| format!("Fetch of {topic}/{partition}, which nobody asked for"))?;
                if found.error_code == ResponseError::OffsetOutOfRange.code() {
                    fetched.insert(place, None);
                    continue;
                }
                expect(found.error_code, || format!("Fetch of {topic}/{partition} at {offset}"))?;
                let records = records(found.records.unwrap_or_default(), offset);
                let records = records.with_context(|| format!("records of {topic}/{partition} at {offset}"))?;
                fetched.insert(place, Some(records));
            }
        }
        Ok(fetched)
    }

    /// Reads a partition from its beginning to the end that it has now.
    pub async fn read_whole(&mut self, place: &Place, take: impl FnMut(&Record) -> Result<()>) -> Result<()> {
        let bounds = self.bounds(place).await?;
        self.read(place, bounds, take).await
    }

    /// Reads the records of a partition at these offsets, which it has.
    pub async fn read(
        &mut self,
        place: &Place,
        span: Range<u64>,
        mut take: impl FnMut(&Record) -> Result<()>,
    ) -> Result<()> {
        let Range { start: mut at, end } = span;
        while at < end {
            let fetched = self.fetch(place, at, Reach::default()).await?;
            let fetched = fetched.with_context(|| format!("{place:?} has no offset {at} within {at}..{end}"))?;
            if fetched.next <= at {
                bail!("{place:?} does not go on at {at}, before its end {end}");
            }
            let within = fetched.records.iter().filter(|record| (record.offset as u64) < end);
            within.into_iter().try_for_each(&mut take)?;
            at = fetched.next;
        }
        Ok(())
    }
}

/// Whole batches of an answer; the last one may be cut off, which is how Kafka fills an answer.
fn records(mut bytes: Bytes, from: u64) -> Result<Fetched> {
    let (mut whole, mut next) = (0, from);
    while let Some(head) = bytes.get(whole..whole + HEAD) {
        let base = (&head[..LENGTH_AT]).get_u64();
        let length = (&head[LENGTH_AT..]).get_u32() as usize;
        if whole + COUNTED_FROM + length > bytes.len() {
            break;
        }
        whole += COUNTED_FROM + length;
        next = next.max(base + u64::from((&head[LAST_DELTA_AT..]).get_u32()) + 1);
    }
    bytes.truncate(whole);
    let sets = RecordBatchDecoder::decode_all(&mut bytes)?;
    let records = sets.into_iter().flat_map(|set| set.records);
    // A batch comes whole, with records in front of what was asked for.
    Ok(Fetched { records: records.filter(|record| record.offset as u64 >= from).collect(), next })
}

/// The name of a topic on the wire.
pub(crate) fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

/// An error code as an error.
pub(crate) fn expect(code: i16, what: impl Fn() -> String) -> Result<()> {
    match ResponseError::try_from_code(code) {
        None => Ok(()),
        Some(error) => Err(anyhow::Error::new(error).context(what())),
    }
}

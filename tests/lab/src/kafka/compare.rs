//! The whole log, read once over HTTP and once over Kafka: the same records, each once, at the same offsets.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use anyhow::{Context, Result, anyhow};
use kafka_protocol::records::Record;
use serde_json::Value as Json;

use super::client::Broker;
use super::log::{Log, Place};
use crate::census::LogReader;

/// Differences that are told of each partition.
const SHOWN: usize = 5;
/// The topic whose keys HTTP shows in words.
const OFFSETS: &str = "weir.offsets";
/// The topic that admins read over HTTP and nobody over Kafka.
pub(crate) const AUDIT: &str = "weir.audit";
/// The header that the message of a client has, and nothing else.
pub(crate) const MESSAGE: &str = "mqtt-topic";
/// In front of an Avro value: the magic byte and the id of the schema.
const CONFLUENT_HEAD: usize = 5;

/// Offsets by topic and partition.
pub type Offsets = BTreeMap<(String, u32), u64>;

/// What was compared, and what is not the same.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// Records over Kafka.
    pub records: u64,
    /// What differs, in words.
    pub differences: Vec<String>,
}

/// Reads both, as far as the log goes when it begins. What retention or compaction takes between the two makes a difference
/// once, and not when both are read again.
pub async fn compare(http: &LogReader, kafka: impl Into<Broker>) -> Result<Comparison> {
    compare_from(http, kafka, &BTreeMap::new()).await
}

/// The same of what stands at these offsets and behind, by topic and partition; of those that are not named, all.
pub async fn compare_from(http: &LogReader, kafka: impl Into<Broker>, from: &Offsets) -> Result<Comparison> {
    let kafka = kafka.into();
    let comparison = compare_once(http, &kafka, from).await?;
    if comparison.differences.is_empty() { Ok(comparison) } else { compare_once(http, &kafka, from).await }
}

async fn compare_once(http: &LogReader, kafka: &Broker, from: &Offsets) -> Result<Comparison> {
    let mut client = Log::connect(kafka.clone()).await?;
    let listed: Vec<Place> = client.partitions().await?;
    let mut comparison = Comparison::default();
    let ends = http.ends().await?;
    for (partition_of_topic, start) in http.starts().await? {
        let end = ends.get(&partition_of_topic).copied().unwrap_or(0);
        let span = from.get(&partition_of_topic).copied().unwrap_or(0).max(start)..end;
        let (topic, partition) = partition_of_topic;
        if topic == AUDIT {
            continue;
        }
        let place = (topic, i32::try_from(partition)?);
        if !listed.contains(&place) {
            comparison.differences.push(format!("{}/{}: not listed over Kafka", place.0, place.1));
            continue;
        }
        let mut seen = Seen::default();
        client.read(&place, span.clone(), |record| seen.kafka(&place, record)).await?;
        comparison.records += seen.records;
        seen.http(http, &place.0, partition, span).await?;
        comparison.differences.extend(seen.differences);
    }
    Ok(comparison)
}

/// One partition: a digest of each record that Kafka showed and HTTP did not yet.
#[derive(Default)]
struct Seen {
    left: BTreeMap<u64, u64>,
    records: u64,
    differences: Vec<String>,
}

impl Seen {
    fn differs(&mut self, what: impl FnOnce() -> String) {
        if self.differences.len() < SHOWN {
            self.differences.push(what());
        }
    }

    fn kafka(&mut self, (topic, partition): &Place, record: &Record) -> Result<()> {
        let key = record.key.as_deref().filter(|_| topic != OFFSETS).map(String::from_utf8_lossy);
        let value = record.value.as_deref().unwrap_or_default();
        let said = match record.value.as_deref() {
            _ if record.headers.keys().any(|name| name.as_str() == MESSAGE) => {
                Ok(Said::Message(String::from_utf8(value.to_owned()).ok()))
            }
            Some(value) if is_of_readings(topic) => identity(value).map(Said::Reading),
            _ => Ok(Said::Other),
        };
        let said = said.with_context(|| format!("the value at {topic}/{partition}/{}", record.offset))?;
        let offset = u64::try_from(record.offset).context("an offset below 0")?;
        self.records += 1;
        if self.left.insert(offset, digest(record.timestamp, key.as_deref(), &said)).is_some() {
            self.differs(|| format!("{topic}/{partition}: offset {offset} came twice over Kafka"));
        }
        Ok(())
    }

    async fn http(&mut self, log: &LogReader, topic: &str, partition: u32, span: Range<u64>) -> Result<()> {
        let mut at = span.start;
        while at < span.end {
            let page = log.page(topic, partition, at).await?;
            for record in &page.records {
                let offset = record["offset"].as_u64().context("a record without an offset")?;
                if offset >= span.end {
                    break;
                }
                let timestamp = record["timestamp_ms"].as_i64().context("a record without a timestamp")?;
                let value = &record["value"];
                let said = if value.get("client").is_some() {
                    // What is no text comes as base64 over HTTP.
                    let is_text = value["encoding"] == "text";
                    Said::Message(value["payload"].as_str().filter(|_| is_text).map(str::to_owned))
                } else if is_of_readings(topic) {
                    Said::Reading(named(value))
                } else {
                    Said::Other
                };
                let key = record["key"].as_str().filter(|_| topic != OFFSETS);
                let expected = digest(timestamp, key, &said);
                match self.left.remove(&offset) {
                    None => self.differs(|| format!("{topic}/{partition}: offset {offset} is missing over Kafka")),
                    Some(got) if got != expected => {
                        self.differs(|| format!("{topic}/{partition}: offset {offset} is another record over Kafka"));
                    }
                    Some(_) => {}
                }
            }
            if page.records.is_empty() && page.gaps.is_empty() || page.next <= at {
                break;
            }
            at = page.next;
        }
        if let Some((&offset, _)) = self.left.first_key_value() {
            let count = self.left.len();
            self.differs(|| format!("{topic}/{partition}: {count} records only over Kafka, the first at {offset}"));
        }
        Ok(())
    }
}

/// Device, restart and sequence of a reading.
pub(crate) type Identity = (String, String, i64);

/// What of a value is compared.
#[derive(Hash)]
enum Said {
    /// The identity of a reading.
    Reading(Option<Identity>),
    /// The payload of a client's message, if it is text.
    Message(Option<String>),
    /// Nothing of a value that both show in ways of their own.
    Other,
}

fn digest(timestamp: i64, key: Option<&str>, said: &Said) -> u64 {
    let mut hasher = DefaultHasher::new();
    (timestamp, key, said).hash(&mut hasher);
    hasher.finish()
}

/// Whether values of the topic begin with the identity of a reading.
fn is_of_readings(topic: &str) -> bool {
    !topic.starts_with("weir.")
}

/// The identity in a value: JSON, or Avro in the Confluent wire format.
pub(crate) fn identity(value: &[u8]) -> Result<Option<Identity>> {
    if value.first() == Some(&b'{') {
        return Ok(named(&serde_json::from_slice(value).context("JSON that is none")?));
    }
    let mut rest = value.get(CONFLUENT_HEAD..).context("a value too short for the id of its schema")?;
    let mut text = || string(&mut rest).context("a field that is no text");
    let (_tenant, _agent, device, restart) = (text()?, text()?, text()?, text()?);
    let sequence = long(&mut rest).context("no sequence")?;
    Ok(Some((device, restart, sequence)))
}

fn named(value: &Json) -> Option<Identity> {
    let text = |field: &str| value[field].as_str().map(str::to_owned);
    Some((text("device")?, text("restart")?, value["sequence"].as_i64()?))
}

/// A string of Avro: its length, its bytes.
fn string(rest: &mut &[u8]) -> Result<String> {
    let length = usize::try_from(long(rest)?)?;
    let (text, behind) = rest.split_at_checked(length).ok_or_else(|| anyhow!("cut off"))?;
    *rest = behind;
    Ok(String::from_utf8(text.to_owned())?)
}

/// A long of Avro: a zigzag varint.
fn long(rest: &mut &[u8]) -> Result<i64> {
    let mut zigzag = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first().ok_or_else(|| anyhow!("cut off"))?;
        *rest = behind;
        zigzag |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Ok((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64));
        }
    }
    Err(anyhow!("a number of more than 64 bits"))
}

#[cfg(test)]
mod tests {
    use super::identity;

    #[test]
    fn an_identity_is_the_same_in_avro_and_in_json() {
        // Magic byte and schema id; tenant, agent, device, restart as strings; sequence 300.
        let avro = b"\x00\x00\x00\x00\x01\x02t\x02a\x0cpump-1\x0442\xd8\x04and so on";
        let json = br#"{"device": "pump-1", "restart": "42", "sequence": 300}"#;
        let expected = ("pump-1".to_owned(), "42".to_owned(), 300);
        for value in [&avro[..], json] {
            assert_eq!(identity(value).unwrap(), Some(expected.clone()));
        }
        for length in 0..18 {
            assert!(identity(&avro[..length]).is_err(), "cut off at {length}");
        }
    }
}

//! A page of records of one partition, as JSON: what `GET records`, the tail and the commands print.
//!
//! ```json
//! {"topic": "readings", "partition": 0, "start": 0, "end": 42, "next": 2,
//!  "records": [{"partition": 0, "offset": 0, "timestamp_ms": 1795230000000, "key": "pump-1", "value": {...}}],
//!  "gaps": [{"file": "00000000000000000000.log", "position": 312, "bytes": 98, "from": 1, "to": 2}]}
//! ```
//!
//! `next` is the offset to go on with; it moves past gaps, which are damage in the log ([`Damage`]). A value
//! that does not decode is `null` beside an `error`. Restarts are text: 64 bits do not survive a JavaScript number.

use serde_json::{Map, Value as Json, json};
use weir_protocol::Tenant;
use weir_storage::{Damage, ReadError, Record};

use crate::access::audit::entry as audit;
use crate::groups::offsets::record::{self as offsets, Key, Said};
use crate::record::Value;
use crate::topics::{Partition, Topic};

/// The most records of one page.
pub const MAX_RECORDS: usize = 10_000;
/// The most bytes of log that one page reads beyond its first frame.
const MAX_BYTES: usize = 2 << 20;

/// Records of one partition.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The records, each as JSON.
    pub records: Vec<Json>,
    /// The damage that was passed.
    pub gaps: Vec<Damage>,
    /// Where to go on.
    pub next: u64,
}

impl Page {
    /// Leaves out what is not of `tenant`, if there is one. Offsets go on as they are.
    pub(super) fn keep(&mut self, tenant: Option<Tenant>) {
        let Some(tenant) = tenant else { return };
        let is_of = |json: &Json| json["tenant"].as_str() == Some(tenant.as_str());
        self.records.retain(|record| is_of(record) || is_of(&record["value"]));
    }
}

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the first record.
    Earliest,
    /// Behind the last record.
    Latest,
    /// With this offset.
    Offset(u64),
    /// With the first record of this time, in milliseconds since 1970, or later.
    Time(i64),
}

impl Start {
    /// The offset in `partition`. Reads files: not for an async task.
    ///
    /// # Errors
    /// [`ReadError::Io`] when the disk refuses.
    pub fn offset(self, partition: &Partition) -> Result<u64, ReadError> {
        let reader = partition.reader();
        Ok(match self {
            Self::Earliest => reader.start_offset(),
            Self::Latest => reader.end_offset(),
            Self::Offset(offset) => offset,
            Self::Time(millis) => reader.offset_for_time(millis)?.unwrap_or_else(|| reader.end_offset()),
        })
    }
}

/// Reads up to `limit` records from offset `from` on. Reads files: not for an async task.
///
/// # Errors
/// [`ReadError`] when `from` is outside of the partition, or the disk refuses.
pub fn read(partition: &Partition, number: usize, from: u64, limit: usize) -> Result<Page, ReadError> {
    let mut page = Page { next: from, ..Page::default() };
    let mut bytes = 0;
    while page.records.len() < limit && bytes < MAX_BYTES {
        let chunk = partition.reader().read(page.next, MAX_BYTES - bytes)?;
        if chunk.next_offset == page.next {
            break;
        }
        bytes += chunk.bytes.len();
        page.next = chunk.next_offset;
        if !chunk.gaps.is_empty() {
            partition.suspect();
        }
        page.gaps.extend(chunk.gaps.iter().filter(|damage| !damage.gap.is_empty()).cloned());
        // A record that a good checksum covers and that does not parse ends its frame; the offsets say so.
        for record in chunk.records().filter_map(Result::ok) {
            if page.records.len() == limit {
                page.next = record.offset;
                // Gaps from here on belong to the page that reaches them.
                page.gaps.retain(|damage| damage.gap.start < record.offset);
                return Ok(page);
            }
            page.records.push(render(number, &record));
        }
    }
    Ok(page)
}

/// The whole answer about one partition.
pub fn to_json(topic: &Topic, partition: &Partition, number: usize, page: Page) -> Json {
    json!({
        "topic": topic.name(),
        "partition": number,
        "start": partition.reader().start_offset(),
        "end": partition.reader().end_offset(),
        "next": page.next,
        "records": page.records,
        "gaps": page.gaps.iter().map(gap).collect::<Vec<_>>(),
    })
}

/// A topic and its partitions.
pub fn describe(topic: &Topic) -> Json {
    let partitions = topic.partitions().iter().enumerate().map(|(number, partition)| {
        let reader = partition.reader();
        let (start, end, bytes) = (reader.start_offset(), reader.end_offset(), reader.allocated());
        json!({"partition": number, "start": start, "end": end, "bytes": bytes})
    });
    json!({
        "topic": topic.name(),
        "schema_id": topic.schema_id(),
        "format": if topic.is_internal() { "internal" } else { topic.format().as_str() },
        "compact": topic.is_compacted(),
        "retention_bytes": topic.retention().bytes.map(|bytes| bytes * topic.partitions().len() as u64),
        "retention_ms": topic.retention().age.map(|age| age.as_millis() as u64),
        "routes": topic.routes(),
        "partitions": partitions.collect::<Vec<_>>(),
    })
}

/// One damage: the offsets `[from, to)` cannot be read any more.
pub fn gap(damage: &Damage) -> Json {
    json!({
        "file": damage.file,
        "position": damage.position,
        "bytes": damage.bytes,
        "from": damage.gap.start,
        "to": damage.gap.end,
    })
}

pub(crate) fn render(partition: usize, record: &Record<'_>) -> Json {
    let mut out = Map::new();
    out.insert("partition".into(), partition.into());
    out.insert("offset".into(), record.offset.into());
    out.insert("timestamp_ms".into(), record.timestamp_ms.into());
    out.insert("key".into(), record.key.map(|key| String::from_utf8_lossy(key)).into());
    let value = Value::of_record(record);
    let value = value.map_err(|error| error.to_string());
    match value.and_then(|value| serde_json::to_value(value).map_err(|error| error.to_string())) {
        Ok(value) => out.insert("value".into(), value),
        Err(error) => match offset_record(record) {
            Some((group, value)) => {
                out.insert("key".into(), group.into());
                out.insert("value".into(), value)
            }
            None => match record.value.and_then(audit::decode) {
                Some(entry) => out.insert("value".into(), entry),
                None => {
                    out.insert("value".into(), Json::Null);
                    out.insert("error".into(), error.into())
                }
            },
        },
    };
    Json::Object(out)
}

/// Group and content of a record of the offsets topic. No key of another topic reads like one: devices have names of
/// printable characters.
fn offset_record<'a>(record: &Record<'a>) -> Option<(&'a str, Json)> {
    let (key, said) = offsets::decode(record.key?, record.value, record.timestamp_ms).ok()?;
    Some(match (key, said) {
        (Key::Offset { group, topic, partition }, Said::Offset(committed)) => {
            let offset = committed.as_ref().map(|committed| committed.offset);
            let metadata = committed.as_ref().map(|committed| &*committed.metadata);
            (group, json!({"topic": topic, "partition": partition, "offset": offset, "metadata": metadata}))
        }
        (Key::Group(group), said) => {
            let in_use = matches!(said, Said::Group(Some(usage)) if usage.in_use);
            (group, json!({"in_use": in_use}))
        }
        _ => return None,
    })
}

//! Dead letters as they lie in their topic.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::Value as Json;
use weir_protocol::{AgentId, Restart, Sequence, Tenant};
use weir_storage::Chunk;

use crate::record::Value;
use crate::record::dead_letter::{DeadSpan, Format};

/// Partition and offset, written `2:17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The partition of the dead-letter topic.
    pub partition: u32,
    /// The offset in it.
    pub offset: u64,
}

/// Not a place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}: expected partition:offset, such as 2:17; `deadletter list` prints them")]
pub struct NoPlace(String);

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let parsed = text.split_once(':').and_then(|(partition, offset)| {
            Some(Self { partition: partition.parse().ok()?, offset: offset.parse().ok()? })
        });
        parsed.ok_or_else(|| NoPlace(text.to_owned()))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.partition, self.offset)
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One dead letter.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Where it lies.
    pub place: Place,
    /// Who sent it.
    pub tenant: Tenant,
    /// Who sent it.
    pub agent: AgentId,
    /// The sequences that it accounts for.
    pub spans: Vec<DeadSpan>,
    /// The name of a [`crate::ingest::Reason`].
    pub reason: String,
    /// What the original is.
    pub format: Format,
    /// The bytes as they came.
    pub original: Bytes,
}

impl Letter {
    /// How many sequences it accounts for.
    pub fn sequences(&self) -> u64 {
        self.spans.iter().map(|span| span.end.0.saturating_sub(span.start.0)).sum()
    }
}

/// What a record as JSON says that decides about its standing: all but the original, which only descriptions need.
pub fn of_json(record: &Json) -> Option<Letter> {
    let (value, text) = (&record["value"], |value: &Json| value.as_str().map(str::to_owned));
    let span = |span: &Json| {
        Some(DeadSpan {
            device: span["device"].as_str()?.parse().ok()?,
            restart: Restart(span["restart"].as_str()?.parse().ok()?),
            start: Sequence(span["start"].as_u64()?),
            end: Sequence(span["end"].as_u64()?),
            heals: span["heals"].as_bool()?,
        })
    };
    Some(Letter {
        place: Place {
            partition: u32::try_from(record["partition"].as_u64()?).ok()?,
            offset: record["offset"].as_u64()?,
        },
        tenant: value["tenant"].as_str()?.parse().ok()?,
        agent: value["agent"].as_str()?.parse().ok()?,
        spans: value["spans"].as_array()?.iter().map(span).collect::<Option<_>>()?,
        reason: text(&value["reason"])?,
        format: match value["format"].as_str()? {
            "batch" => Format::Batch,
            "section" => Format::Section,
            "description" => Format::Description,
            _ => return None,
        },
        original: Bytes::new(),
    })
}

/// The letters of a chunk of one partition.
pub fn of_chunk(partition: u32, chunk: &Chunk) -> impl Iterator<Item = Letter> {
    chunk.records().filter_map(Result::ok).filter_map(move |record| match Value::decode(record.value?) {
        Ok(Value::DeadLetter(letter)) => Some(Letter {
            place: Place { partition, offset: record.offset },
            tenant: letter.tenant,
            agent: letter.agent,
            spans: letter.spans,
            reason: letter.reason.to_owned(),
            format: letter.format,
            original: Bytes::copy_from_slice(letter.original),
        }),
        _ => None,
    })
}

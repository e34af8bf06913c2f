//! Fetch: batches of records from an offset on, now or when there are some.

use bytes::Bytes;

use super::{ApiKey, ErrorCode, Supported};
use crate::kafka::wire::{Input, Malformed, Output};

/// The versions that are served. From version 13 on topics go by id.
pub const API: Supported = Supported { key: ApiKey::Fetch, min: 4, max: 12, flexible_from: 12 };

/// What to read, and how long to wait for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// -1: a consumer.
    pub replica_id: i32,
    /// How long to wait for `min_bytes`, in milliseconds.
    pub max_wait_ms: i32,
    /// Answer as soon as there are so many bytes.
    pub min_bytes: i32,
    /// The most bytes of all partitions; the first batch comes even if it is larger.
    pub max_bytes: i32,
    /// 1: committed transactions only. There are no transactions here.
    pub isolation_level: i8,
    /// From version 7 on; 0: none.
    pub session_id: i32,
    /// From version 7 on; -1: no session, 0: make one.
    pub session_epoch: i32,
    /// Where to read.
    pub topics: Vec<RequestTopic>,
    /// From version 7 on: what the session no longer reads.
    pub forgotten: Vec<Forgotten>,
}

/// Partitions of one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestTopic {
    /// The topic.
    pub name: String,
    /// Which of its partitions.
    pub partitions: Vec<RequestPartition>,
}

/// Where to read one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestPartition {
    /// The partition.
    pub index: i32,
    /// What the client knows, from version 9 on; -1: nothing.
    pub current_leader_epoch: i32,
    /// The first record that is wanted.
    pub offset: i64,
    /// The epoch of the record before it, in version 12; -1: not known.
    pub last_fetched_epoch: i32,
    /// Of a replica, from version 5 on; -1: a consumer.
    pub log_start_offset: i64,
    /// The most bytes of this partition; the first batch comes even if it is larger.
    pub max_bytes: i32,
}

/// Partitions that a session no longer reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// The topic.
    pub name: String,
    /// Which of its partitions.
    pub partitions: Vec<i32>,
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// Of the whole request, from version 7 on.
    pub error: ErrorCode,
    /// From version 7 on; 0: none was made.
    pub session_id: i32,
    /// What was read where.
    pub topics: Vec<Topic>,
}

/// Partitions of one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topic {
    /// The topic.
    pub name: String,
    /// What was read in each.
    pub partitions: Vec<Partition>,
}

/// What was read in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The partition.
    pub index: i32,
    /// Why nothing was read.
    pub error: ErrorCode,
    /// The end of what may be read; -1: not known.
    pub high_watermark: i64,
    /// The end of what is committed; -1: not known.
    pub last_stable_offset: i64,
    /// The first record that there is, from version 5 on; -1: not known.
    pub log_start_offset: i64,
    /// Whole batches, as they stand in the log; sent by reference.
    pub records: Vec<Bytes>,
}

impl Default for Partition {
    /// Nothing was read, and nothing is known.
    fn default() -> Self {
        Self {
            index: 0,
            error: ErrorCode::None,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            records: Vec::new(),
        }
    }
}

impl Request {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are not one.
    pub fn decode(input: &mut Input<'_>, version: i16) -> Result<Self, Malformed> {
        input.set_flexible(API.is_flexible(version));
        let request = Self {
            replica_id: input.i32()?,
            max_wait_ms: input.i32()?,
            min_bytes: input.i32()?,
            max_bytes: input.i32()?,
            isolation_level: input.i8()?,
            session_id: if version >= 7 { input.i32()? } else { 0 },
            session_epoch: if version >= 7 { input.i32()? } else { -1 },
            topics: input.array(3, |input| {
                let name = input.string()?;
                let partitions = input.array(16, |input| RequestPartition::decode(input, version))?;
                input.tags()?;
                Ok(RequestTopic { name, partitions })
            })?,
            forgotten: if version >= 7 { input.array(3, Forgotten::decode)? } else { Vec::new() },
        };
        if version >= 11 {
            // The rack: there is one broker to read from.
            input.string()?;
        }
        input.tags()?;
        Ok(request)
    }
}

impl RequestPartition {
    fn decode(input: &mut Input<'_>, version: i16) -> Result<Self, Malformed> {
        let partition = Self {
            index: input.i32()?,
            current_leader_epoch: if version >= 9 { input.i32()? } else { -1 },
            offset: input.i64()?,
            last_fetched_epoch: if version >= 12 { input.i32()? } else { -1 },
            log_start_offset: if version >= 5 { input.i64()? } else { -1 },
            max_bytes: input.i32()?,
        };
        input.tags()?;
        Ok(partition)
    }
}

impl Forgotten {
    fn decode(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let (name, partitions) = (input.string()?, input.array(4, Input::i32)?);
        input.tags()?;
        Ok(Self { name, partitions })
    }
}

impl Response {
    /// Writes the body of a response.
    pub fn encode(&self, out: &mut Output, version: i16) {
        out.set_flexible(API.is_flexible(version));
        out.i32(0);
        if version >= 7 {
            out.i16(self.error.number());
            out.i32(self.session_id);
        }
        out.array(&self.topics, |out, topic| {
            out.string(&topic.name);
            out.array(&topic.partitions, |out, partition| partition.encode(out, version));
            out.tags();
        });
        out.tags();
    }
}

impl Partition {
    fn encode(&self, out: &mut Output, version: i16) {
        out.i32(self.index);
        out.i16(self.error.number());
        out.i64(self.high_watermark);
        out.i64(self.last_stable_offset);
        if version >= 5 {
            out.i64(self.log_start_offset);
        }
        // Aborted transactions.
        out.null_array();
        if version >= 11 {
            // No replica that would be nearer.
            out.i32(-1);
        }
        out.records(&self.records);
        out.tags();
    }
}

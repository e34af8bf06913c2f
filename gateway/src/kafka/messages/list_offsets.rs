//! ListOffsets: the offset at a time, at the beginning or at the end.

use super::{ApiKey, ErrorCode, Supported};
use crate::kafka::wire::{Input, Malformed, Output};

/// The versions that are served. From version 8 on there are times that ask about tiered storage.
pub const API: Supported = Supported { key: ApiKey::ListOffsets, min: 1, max: 7, flexible_from: 6 };

/// A time that asks for the end: the offset that the next record gets.
pub const LATEST: i64 = -1;
/// A time that asks for the first record that there is.
pub const EARLIEST: i64 = -2;
/// A time that asks for the record with the latest timestamp; version 7.
pub const MAX_TIMESTAMP: i64 = -3;

/// A time for each of some partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// -1: a consumer.
    pub replica_id: i32,
    /// From version 2 on; 1: committed transactions only. There are no transactions here.
    pub isolation_level: i8,
    /// Which partitions.
    pub topics: Vec<RequestTopic>,
}

/// Partitions of one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestTopic {
    /// The topic.
    pub name: String,
    /// Which of its partitions.
    pub partitions: Vec<RequestPartition>,
}

/// A time in one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestPartition {
    /// The partition.
    pub index: i32,
    /// What the client knows, from version 4 on; -1: nothing.
    pub current_leader_epoch: i32,
    /// Milliseconds since 1970, or [`LATEST`], [`EARLIEST`], [`MAX_TIMESTAMP`].
    pub timestamp: i64,
}

/// An offset for each of the partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// In the order of the request.
    pub topics: Vec<Topic>,
}

/// Partitions of one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topic {
    /// The topic.
    pub name: String,
    /// In the order of the request.
    pub partitions: Vec<Partition>,
}

/// What was found in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The partition.
    pub index: i32,
    /// Why there is no answer.
    pub error: ErrorCode,
    /// The timestamp of the record at `offset`; -1 for the beginning, the end and nothing.
    pub timestamp: i64,
    /// -1: no record is that late.
    pub offset: i64,
    /// From version 4 on; -1: not known.
    pub leader_epoch: i32,
}

impl Default for Partition {
    /// Nothing was found.
    fn default() -> Self {
        Self { index: 0, error: ErrorCode::None, timestamp: -1, offset: -1, leader_epoch: -1 }
    }
}

impl Request {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are not one.
    pub fn decode(input: &mut Input<'_>, version: i16) -> Result<Self, Malformed> {
        input.set_flexible(API.is_flexible(version));
        let partition = |input: &mut Input<'_>| {
            let index = input.i32()?;
            let current_leader_epoch = if version >= 4 { input.i32()? } else { -1 };
            let timestamp = input.i64()?;
            input.tags()?;
            Ok(RequestPartition { index, current_leader_epoch, timestamp })
        };
        let request = Self {
            replica_id: input.i32()?,
            isolation_level: if version >= 2 { input.i8()? } else { 0 },
            topics: input.array(3, |input| {
                let (name, partitions) = (input.string()?, input.array(12, partition)?);
                input.tags()?;
                Ok(RequestTopic { name, partitions })
            })?,
        };
        input.tags()?;
        Ok(request)
    }
}

impl Response {
    /// Writes the body of a response.
    pub fn encode(&self, out: &mut Output, version: i16) {
        out.set_flexible(API.is_flexible(version));
        if version >= 2 {
            out.i32(0);
        }
        out.array(&self.topics, |out, topic| {
            out.string(&topic.name);
            out.array(&topic.partitions, |out, partition| {
                out.i32(partition.index);
                out.i16(partition.error.number());
                out.i64(partition.timestamp);
                out.i64(partition.offset);
                if version >= 4 {
                    out.i32(partition.leader_epoch);
                }
                out.tags();
            });
            out.tags();
        });
        out.tags();
    }
}

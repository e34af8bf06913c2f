//! OffsetCommit: how far a group has come.

use super::{ApiKey, ErrorCode, Supported};
use crate::kafka::wire::{Input, Malformed, Output};

/// The versions that are served. From version 9 on it is about the newer kind of groups.
pub const API: Supported = Supported { key: ApiKey::OffsetCommit, min: 2, max: 8, flexible_from: 8 };

/// Offsets to remember.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The group.
    pub group_id: String,
    /// The generation that the member is in; -1: not a member.
    pub generation_id: i32,
    /// The member; empty: not a member.
    pub member_id: String,
    /// A static member, from version 7 on.
    pub group_instance_id: Option<String>,
    /// How long to remember, in milliseconds, to version 4; -1: as the server is set.
    pub retention_time_ms: i64,
    /// The offsets.
    pub topics: Vec<RequestTopic>,
}

/// Partitions of one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestTopic {
    /// The topic.
    pub name: String,
    /// How far in which of its partitions.
    pub partitions: Vec<RequestPartition>,
}

/// How far in one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestPartition {
    /// The partition.
    pub index: i32,
    /// The offset to go on from.
    pub offset: i64,
    /// The epoch of the last record that was consumed, from version 6 on; -1: not known.
    pub leader_epoch: i32,
    /// The client's own note.
    pub metadata: Option<String>,
}

/// What was remembered.
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

/// What became of one offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Partition {
    /// The partition.
    pub index: i32,
    /// Why it was not remembered.
    pub error: ErrorCode,
}

impl Request {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are not one.
    pub fn decode(input: &mut Input<'_>, version: i16) -> Result<Self, Malformed> {
        input.set_flexible(API.is_flexible(version));
        let partition = |input: &mut Input<'_>| {
            let partition = RequestPartition {
                index: input.i32()?,
                offset: input.i64()?,
                leader_epoch: if version >= 6 { input.i32()? } else { -1 },
                metadata: input.nullable_string()?,
            };
            input.tags()?;
            Ok(partition)
        };
        let request = Self {
            group_id: input.string()?,
            generation_id: input.i32()?,
            member_id: input.string()?,
            group_instance_id: if version >= 7 { input.nullable_string()? } else { None },
            retention_time_ms: if version <= 4 { input.i64()? } else { -1 },
            topics: input.array(3, |input| {
                let (name, partitions) = (input.string()?, input.array(13, partition)?);
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
        if version >= 3 {
            out.i32(0);
        }
        out.array(&self.topics, |out, topic| {
            out.string(&topic.name);
            out.array(&topic.partitions, |out, partition| {
                out.i32(partition.index);
                out.i16(partition.error.number());
                out.tags();
            });
            out.tags();
        });
        out.tags();
    }
}

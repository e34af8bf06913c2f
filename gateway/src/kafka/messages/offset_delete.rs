//! OffsetDelete: forgets how far a group has come in some partitions.

use super::{ApiKey, ErrorCode, Supported};
use crate::kafka::wire::{Input, Malformed, Output};

/// The versions that are served.
pub const API: Supported = Supported { key: ApiKey::OffsetDelete, min: 0, max: 0, flexible_from: 1 };

/// Which offsets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The group.
    pub group_id: String,
    /// Which partitions.
    pub topics: Vec<RequestTopic>,
}

/// Partitions of one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestTopic {
    /// The topic.
    pub name: String,
    /// Which of its partitions.
    pub partitions: Vec<i32>,
}

/// What became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// Why none was deleted.
    pub error: ErrorCode,
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
    /// Why it was not deleted.
    pub error: ErrorCode,
}

impl Request {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are not one.
    pub fn decode(input: &mut Input<'_>, version: i16) -> Result<Self, Malformed> {
        input.set_flexible(API.is_flexible(version));
        let group_id = input.string()?;
        let topics = input
            .array(6, |input| Ok(RequestTopic { name: input.string()?, partitions: input.array(4, Input::i32)? }))?;
        Ok(Self { group_id, topics })
    }
}

impl Response {
    /// Writes the body of a response.
    pub fn encode(&self, out: &mut Output, version: i16) {
        out.set_flexible(API.is_flexible(version));
        out.i16(self.error.number());
        out.i32(0);
        out.array(&self.topics, |out, topic| {
            out.string(&topic.name);
            out.array(&topic.partitions, |out, partition| {
                out.i32(partition.index);
                out.i16(partition.error.number());
            });
        });
    }
}

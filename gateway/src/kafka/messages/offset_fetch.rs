//! OffsetFetch: how far groups have come.

use super::{ApiKey, ErrorCode, Supported};
use crate::kafka::wire::{Input, Malformed, Output};

/// The versions that are served. From version 9 on it is about the newer kind of groups.
pub const API: Supported = Supported { key: ApiKey::OffsetFetch, min: 1, max: 8, flexible_from: 6 };

/// Offsets that are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// One before version 8.
    pub groups: Vec<RequestGroup>,
    /// Do not answer while a transaction may change them, from version 7 on. There are no transactions here.
    pub require_stable: bool,
}

/// Offsets of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestGroup {
    /// The group.
    pub group_id: String,
    /// None: everything that the group has committed; from version 2 on.
    pub topics: Option<Vec<RequestTopic>>,
}

/// Partitions of one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestTopic {
    /// The topic.
    pub name: String,
    /// Which of its partitions.
    pub partitions: Vec<i32>,
}

/// What groups have committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// In the order of the request; versions before 8 say the first one.
    pub groups: Vec<Group>,
}

/// What one group has committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// The group.
    pub group_id: String,
    /// Its offsets.
    pub topics: Vec<Topic>,
    /// Why there is no answer. Version 1 has no place for it: say it in the partitions, too.
    pub error: ErrorCode,
}

/// Partitions of one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topic {
    /// The topic.
    pub name: String,
    /// How far in which of its partitions.
    pub partitions: Vec<Partition>,
}

/// How far in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The partition.
    pub index: i32,
    /// The offset to go on from; -1: nothing was committed.
    pub offset: i64,
    /// From version 5 on; -1: not known.
    pub leader_epoch: i32,
    /// The client's own note.
    pub metadata: Option<String>,
    /// Why there is no answer.
    pub error: ErrorCode,
}

impl Default for Partition {
    /// Nothing was committed.
    fn default() -> Self {
        Self { index: 0, offset: -1, leader_epoch: -1, metadata: Some(String::new()), error: ErrorCode::None }
    }
}

impl Request {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are not one.
    pub fn decode(input: &mut Input<'_>, version: i16) -> Result<Self, Malformed> {
        input.set_flexible(API.is_flexible(version));
        let groups = if version >= 8 {
            input.array(3, |input| {
                let group = RequestGroup::decode(input, version)?;
                input.tags()?;
                Ok(group)
            })?
        } else {
            vec![RequestGroup::decode(input, version)?]
        };
        let require_stable = version >= 7 && input.boolean()?;
        input.tags()?;
        Ok(Self { groups, require_stable })
    }
}

impl RequestGroup {
    fn decode(input: &mut Input<'_>, version: i16) -> Result<Self, Malformed> {
        let topic = |input: &mut Input<'_>| {
            let (name, partitions) = (input.string()?, input.array(4, Input::i32)?);
            input.tags()?;
            Ok(RequestTopic { name, partitions })
        };
        let group_id = input.string()?;
        let topics = if version >= 2 { input.nullable_array(3, topic)? } else { Some(input.array(3, topic)?) };
        Ok(Self { group_id, topics })
    }
}

impl Response {
    /// Writes the body of a response.
    pub fn encode(&self, out: &mut Output, version: i16) {
        out.set_flexible(API.is_flexible(version));
        if version >= 3 {
            out.i32(0);
        }
        if version >= 8 {
            out.array(&self.groups, |out, group| {
                out.string(&group.group_id);
                group.encode(out, version);
                out.tags();
            });
        } else {
            self.groups.first().unwrap_or(&Group::default()).encode(out, version);
        }
        out.tags();
    }
}

impl Group {
    fn encode(&self, out: &mut Output, version: i16) {
        out.array(&self.topics, |out, topic| {
            out.string(&topic.name);
            out.array(&topic.partitions, |out, partition| {
                out.i32(partition.index);
                out.i64(partition.offset);
                if version >= 5 {
                    out.i32(partition.leader_epoch);
                }
                out.nullable_string(partition.metadata.as_deref());
                out.i16(partition.error.number());
                out.tags();
            });
            out.tags();
        });
        if version >= 2 {
            out.i16(self.error.number());
        }
    }
}

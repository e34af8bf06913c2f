//! Produce: refused, for every partition. It is advertised because librdkafka, in every version, reads records of today's
//! format only from a broker that says it takes them, too (its feature MSGVER2 is Produce 3 and Fetch 4).
//!
//! Readings come in over MQTT, where each has an identity.

use super::{ApiKey, ErrorCode, Supported};
use crate::kafka::wire::{Input, Malformed, Output};

/// The version that is served.
pub const API: Supported = Supported { key: ApiKey::Produce, min: 3, max: 3, flexible_from: 9 };

/// Records for partitions; the records themselves are not read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Whose answers to wait for; 0 says that nobody waits for a response.
    pub acks: i16,
    /// For which partitions.
    pub topics: Vec<RequestTopic>,
}

/// Partitions of one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestTopic {
    /// The topic.
    pub name: String,
    /// For which of its partitions.
    pub partitions: Vec<i32>,
}

/// A refusal of all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// Why.
    pub error: ErrorCode,
    /// As in the request.
    pub topics: Vec<RequestTopic>,
}

impl Request {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are not one.
    pub fn decode(input: &mut Input<'_>, version: i16) -> Result<Self, Malformed> {
        input.set_flexible(API.is_flexible(version));
        let _transactional_id = input.nullable_string()?;
        let acks = input.i16()?;
        let _timeout_ms = input.i32()?;
        let partition = |input: &mut Input<'_>| {
            let index = input.i32()?;
            let _records = input.nullable_bytes()?;
            Ok(index)
        };
        let topics = input
            .array(6, |input| Ok(RequestTopic { name: input.string()?, partitions: input.array(8, partition)? }))?;
        Ok(Self { acks, topics })
    }
}

impl Response {
    /// Writes the body of a response.
    pub fn encode(&self, out: &mut Output, version: i16) {
        out.set_flexible(API.is_flexible(version));
        out.array(&self.topics, |out, topic| {
            out.string(&topic.name);
            out.array(&topic.partitions, |out, index| {
                out.i32(*index);
                out.i16(self.error.number());
                // Base offset and append time of records that were taken.
                out.i64(-1);
                out.i64(-1);
            });
        });
        out.i32(0);
    }
}

//! Records: what the gateway writes into its topics.
//!
//! Guarantees: every value that an encoder here writes, the decoder beside it reads back; decoding never
//! panics and allocates no more than a small multiple of the bytes it was given.
//!
//! Format: key = the device's name; value = Avro in the Confluent wire format, that is a zero byte, the
//! schema id as u32 big endian, then the Avro binary encoding (avro.apache.org, "Binary encoding") of the
//! schema with that id. The schemas lie in `gateway/schemas`. No headers. In a topic of the format `json` the value is
//! the JSON of [`ReadingRecord`] instead, and in a compacted topic the key is device, `/`, channel. What MQTT clients
//! publish is kept as it came, in topics of the format `raw`: see [`message`].
//!
//! | id | schema | topic |
//! |---|---|---|
//! | 1 | [`reading`] | `readings` |
//! | 100 and more | [`reading`], with a name of its own | one for each topic that a route leads to |
//! | 2^24 more than one of these | [`reading`] that stands for others ([`reading::Summarised`]) | the same |
//! | 2 | [`loss`] | `weir.loss` |
//! | 3 | [`dead_letter`] | `weir.deadletter` |
//! | 4 | [`description`] | `weir.describe` |

pub mod avro;
pub mod dead_letter;
pub mod description;
pub mod loss;
pub mod message;
pub mod reading;

use base64::Engine as _;
use serde::Serialize;
use thiserror::Error;
use weir_storage::Record;

use crate::topics::definition::FIRST_ROUTED_SCHEMA;

pub use dead_letter::DeadLetter;
pub use description::Description;
pub use loss::Loss;
pub use message::Message;
pub use reading::ReadingRecord;

/// What the id of a topic's schema is raised by for readings that stand for others: its second version.
pub const SUMMARY_SCHEMAS: u32 = 1 << 24;

/// The schema of readings that stand for others, as JSON.
pub const SUMMARY_JSON: &str = include_str!("../../schemas/reading-2.avsc");

/// The id of the second version of a schema of readings.
pub const fn summary_schema(id: u32) -> u32 {
    SUMMARY_SCHEMAS.saturating_add(id)
}

/// Whether values with this id are readings.
const fn is_schema_of_readings(id: u32) -> bool {
    id == Schema::Reading.id() || id >= FIRST_ROUTED_SCHEMA
}

/// A schema that the gateway writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Schema {
    /// [`ReadingRecord`]
    Reading,
    /// [`Loss`]
    Loss,
    /// [`DeadLetter`]
    DeadLetter,
    /// [`Description`]
    Description,
}

impl Schema {
    /// Every schema, in the order of the ids.
    pub const ALL: [Self; 4] = [Self::Reading, Self::Loss, Self::DeadLetter, Self::Description];

    /// The id in the values.
    pub const fn id(self) -> u32 {
        match self {
            Self::Reading => 1,
            Self::Loss => 2,
            Self::DeadLetter => 3,
            Self::Description => 4,
        }
    }

    /// The schema as JSON, as a registry serves it.
    pub const fn json(self) -> &'static str {
        match self {
            Self::Reading => include_str!("../../schemas/reading.avsc"),
            Self::Loss => include_str!("../../schemas/loss.avsc"),
            Self::DeadLetter => include_str!("../../schemas/dead-letter.avsc"),
            Self::Description => include_str!("../../schemas/description.avsc"),
        }
    }

    /// Starts a value.
    fn start(self, out: &mut Vec<u8>) {
        out.push(0);
        out.extend_from_slice(&self.id().to_be_bytes());
    }
}

/// Any value of any topic, for people and for recovery. As JSON it is the object of its schema, except that
/// a union is its bare value and `original` is base64.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value<'a> {
    /// From `readings`, or a topic that a route leads to.
    Reading(ReadingRecord<'a>),
    /// From `weir.loss`.
    Loss(Loss<'a>),
    /// From `weir.deadletter`.
    DeadLetter(DeadLetter<'a>),
    /// From `weir.describe`.
    Description(Description<'a>),
    /// From a topic of messages.
    Message(Message<'a>),
}

/// Bytes that are no value of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// Does not start with a zero byte and a schema id.
    #[error("not in the Confluent wire format: expected a zero byte and a schema id")]
    NotFramed,
    /// An id that no schema here has.
    #[error("schema id: got {got}, expected 1 to 4, or {FIRST_ROUTED_SCHEMA} and more")]
    Schema {
        /// The id found.
        got: u32,
    },
    /// An object that is no reading.
    #[error("neither in the Confluent wire format nor the JSON of a reading")]
    Json,
    /// A field that does not decode.
    #[error("field {field} does not decode")]
    Field {
        /// The first such field.
        field: &'static str,
    },
}

impl<'a> Value<'a> {
    /// Reads a record of any topic. Its headers tell what a client chose from what we wrote.
    ///
    /// # Errors
    /// [`Malformed`] when it was not written by this module.
    pub fn of_record(record: &Record<'a>) -> Result<Self, Malformed> {
        match Message::is_one(record) {
            true => Message::of_record(record).map(Self::Message),
            false => Self::decode(record.value.unwrap_or_default()),
        }
    }

    /// Reads the value of a record in a topic without messages.
    ///
    /// # Errors
    /// [`Malformed`] when it was not written by this module.
    pub fn decode(value: &'a [u8]) -> Result<Self, Malformed> {
        if value.first() == Some(&b'{') {
            return reading::decode_json(value).map(Self::Reading);
        }
        let Some((&[0, a, b, c, d], body)) = value.split_first_chunk::<5>() else {
            return Err(Malformed::NotFramed);
        };
        let mut input = avro::Input::new(body);
        match u32::from_be_bytes([a, b, c, d]) {
            1 => reading::decode(&mut input).map(Self::Reading),
            2 => loss::decode(&mut input).map(Self::Loss),
            3 => dead_letter::decode(&mut input).map(Self::DeadLetter),
            4 => description::decode(&mut input).map(Self::Description),
            FIRST_ROUTED_SCHEMA..SUMMARY_SCHEMAS => reading::decode(&mut input).map(Self::Reading),
            SUMMARY_SCHEMAS.. => reading::decode_summary(&mut input).map(Self::Reading),
            got => Err(Malformed::Schema { got }),
        }
        .and_then(|value| if input.is_empty() { Ok(value) } else { Err(Malformed::Field { field: "end" }) })
    }
}

fn base64_of(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn as_text<T: std::fmt::Display, S: serde::Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[cfg(test)]
mod tests;

//! What a topic is: its role, how its values are written, how long they are kept.
//!
//! Guarantees: a name is safe as a directory and lawful as a Kafka topic; how many topics and partitions there may be
//! is bounded, because each partition takes a descriptor, a batch in every group and a bit in every set of logs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;

use super::TopicId;
use crate::record::Schema;

/// The most partitions of one topic.
pub const MAX_PARTITIONS: u32 = 64;
/// The most topics that settings may name and a data directory may hold, beside the built-in ones.
pub const MAX_ROUTED: usize = 64;
/// The most partitions of all topics that ingest writes.
pub const MAX_LOGS: usize = 512;
/// The longest name of a topic, in bytes: Kafka's own bound.
pub const MAX_NAME: usize = 249;
/// What the names of the gateway's own topics begin with.
pub const RESERVED_PREFIX: &str = "weir.";
/// Schema ids below it belong to topics that every gateway has.
pub const FIRST_ROUTED_SCHEMA: u32 = 100;

/// Names that lie beside the topics in their directory.
const TAKEN: [&str; 2] = ["journal", "cluster"];

/// What the records of a topic are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Valid readings: `readings`, and each topic that a route names.
    Readings,
    /// Sequences that are lost.
    Loss,
    /// What could not be stored as readings.
    DeadLetter,
    /// Messages of MQTT clients, as they came: each topic that a store names.
    Messages,
    /// Descriptions of devices.
    Describe,
    /// Nothing that ingest writes; another part of the gateway keeps it.
    Internal,
}

impl Role {
    /// Whether its records say of sequences that they are stored.
    pub(crate) const fn is_stored(self) -> bool {
        matches!(self, Self::Readings | Self::Messages)
    }
}

/// How the values of a topic are written; fixed once the topic exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Avro in the Confluent wire format.
    #[default]
    Avro,
    /// The object that HTTP serves as `value`.
    Json,
    /// As they came, in a topic of messages.
    Raw,
}

impl Format {
    /// As settings spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Avro => "avro",
            Self::Json => "json",
            Self::Raw => "raw",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a topic may keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Bytes on disk of one partition.
    pub bytes: Option<u64>,
    /// Age of a segment since it was closed.
    pub age: Option<Duration>,
}

/// One topic, as it was made and as the settings have it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    pub(crate) name: Arc<str>,
    pub(crate) role: Role,
    pub(crate) partitions: u32,
    pub(crate) format: Format,
    pub(crate) schema_id: u32,
    pub(crate) compact: bool,
    pub(crate) retention: Retention,
    /// The routes that lead to it, as people write them.
    pub(crate) routes: Vec<String>,
}

impl Definition {
    /// A topic that every gateway has.
    pub(crate) fn built_in(topic: TopicId, partitions: u32, retention: Retention) -> Self {
        let at = topic.index();
        Self {
            name: TopicId::BUILT_IN_NAMES[at].into(),
            role: TopicId::BUILT_IN_ROLES[at],
            partitions,
            format: Format::Avro,
            schema_id: Schema::ALL[at].id(),
            compact: false,
            retention,
            routes: Vec::new(),
        }
    }

    /// Its name, and that of its directory.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many partitions it has.
    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    /// A topic that another part of the gateway writes.
    pub(crate) fn internal(name: &str, partitions: u32) -> Self {
        Self {
            name: name.into(),
            role: Role::Internal,
            partitions,
            format: Format::Avro,
            schema_id: 0,
            compact: true,
            retention: Retention::default(),
            routes: Vec::new(),
        }
    }
}

/// Why a text cannot be the name of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// Empty, or too long.
    #[error("got {0} bytes, expected 1 to {MAX_NAME}")]
    Length(usize),
    /// A byte that Kafka does not allow.
    #[error("got {0:?}, expected letters, digits, `.`, `_` and `-`")]
    Character(char),
    /// A name of the gateway's own, or of a file beside the topics.
    #[error("`{0}` is taken: choose another name, not one that begins with `{RESERVED_PREFIX}`")]
    Taken(String),
}

/// Checks the name of a topic that settings may route to.
///
/// # Errors
/// [`NameError`] with what was found.
pub fn check_name(name: &str) -> Result<(), NameError> {
    if !(1..=MAX_NAME).contains(&name.len()) {
        return Err(NameError::Length(name.len()));
    }
    let is_lawful = |found: &char| found.is_ascii_alphanumeric() || matches!(found, '.' | '_' | '-');
    if let Some(found) = name.chars().find(|found| !is_lawful(found)) {
        return Err(NameError::Character(found));
    }
    let is_beside =
        TAKEN.iter().any(|taken| name.strip_prefix(taken).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')));
    if is_beside || matches!(name, "." | "..") || name.starts_with(RESERVED_PREFIX) {
        return Err(NameError::Taken(name.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_lawful_in_kafka_and_safe_as_a_directory() {
        for good in ["readings", "vibration", "a.b_c-D9", "journalist", &"x".repeat(249)] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for (bad, why) in
            [("", NameError::Length(0)), ("a/b", NameError::Character('/')), ("é", NameError::Character('é'))]
        {
            assert_eq!(check_name(bad), Err(why));
        }
        assert_eq!(check_name(&"x".repeat(250)), Err(NameError::Length(250)));
        for taken in [".", "..", "weir.loss", "weir.mine", "journal", "journal.tmp", "cluster", "cluster.reserve"] {
            assert_eq!(check_name(taken), Err(NameError::Taken(taken.to_owned())));
        }
    }
}

//! The schemas of the topics, as a schema registry names them.
//!
//! What it guarantees: an id means one schema for ever, because consumers keep what they were given for it; every
//! value of a topic decodes with the schema of that topic.
//!
//! The subject of a topic is `<topic>-value`. It has one version, and a topic of readings has a second one for readings that
//! stand for others ([`crate::record::reading::Summarised`]): both decode under the second, whose added field has a default. Keys are plain text and have no schema, and so do
//! the values of a topic that holds JSON. The built-in topics have the ids 1 to 4 and the schemas in
//! `gateway/schemas`; a topic that routes made has a schema of its own ([`generated`]) with the id that it was given
//! when it was made. Protobuf is deliberately absent: one encoding that all clients decode without settings is
//! enough, and whoever cannot read Avro takes JSON.

pub mod canonical;
pub mod evolution;
pub mod generated;

use serde_json::{Value, json};

use crate::record::{SUMMARY_JSON, Schema, summary_schema};
use crate::topics::{Role, Topic, Topics};

/// The version of every subject's first schema: a schema never changes.
pub const VERSION: u32 = 1;
/// The version that readings which stand for others are written with.
pub const SUMMARY_VERSION: u32 = 2;

/// The schema of one topic's values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The topic.
    pub topic: String,
    /// Which version of its subject it is.
    pub version: u32,
    /// The id in its values.
    pub id: u32,
    /// The schema as JSON.
    pub json: String,
}

impl Registered {
    /// The schemas of a topic's values, by version; none if they have none.
    pub fn of(topic: &Topic) -> Vec<Self> {
        let (name, Some(id)) = (topic.name(), topic.schema_id()) else { return Vec::new() };
        let frozen = Schema::ALL.into_iter().find(|schema| schema.id() == id);
        let first = frozen.map_or_else(|| generated::of_topic(name), |schema| schema.json().to_owned());
        let registered = |version, id, json| Self { topic: name.to_owned(), version, id, json };
        let mut versions = vec![registered(VERSION, id, first)];
        if topic.role() == Role::Readings {
            let second = frozen.map_or_else(|| generated::of_summaries(name), |_| SUMMARY_JSON.to_owned());
            versions.push(registered(SUMMARY_VERSION, summary_schema(id), second));
        }
        versions
    }

    /// As a registry shows it.
    pub fn to_json(&self) -> Value {
        json!({
            "subject": self.subject(),
            "version": self.version,
            "id": self.id,
            "schemaType": "AVRO",
            "schema": self.json,
        })
    }

    /// What registries call the values of the topic.
    pub fn subject(&self) -> String {
        format!("{}-value", self.topic)
    }
}

/// The schemas of all topics, ascending by id.
pub fn all(topics: &Topics) -> Vec<Registered> {
    let mut all: Vec<_> = topics.all().iter().flat_map(|topic| Registered::of(topic)).collect();
    all.sort_unstable_by_key(|registered| registered.id);
    all
}

#[cfg(test)]
mod tests;

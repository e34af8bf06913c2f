//! The schemas of the topics, as a schema registry names them.
//!
//! What it guarantees: an id means one schema for ever, because consumers keep what they were given for it; every
//! value of a topic decodes with the schema of that topic.
//!
//! The subject of a topic is `<topic>-value` and has one version; keys are plain text and have no schema, and so do
//! the values of a topic that holds JSON. The built-in topics have the ids 1 to 4 and the schemas in
//! `gateway/schemas`; a topic that routes made has a schema of its own ([`generated`]) with the id that it was given
//! when it was made. Protobuf is deliberately absent: one encoding that all clients decode without settings is
//! enough, and whoever cannot read Avro takes JSON.

pub mod canonical;
pub mod evolution;
pub mod generated;

use serde_json::{Value, json};

use crate::record::Schema;
use crate::topics::{Topic, Topics};

/// The only version of every subject: a schema never changes.
pub const VERSION: u32 = 1;

/// The schema of one topic's values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The topic.
    pub topic: String,
    /// The id in its values.
    pub id: u32,
    /// The schema as JSON.
    pub json: String,
}

impl Registered {
    /// The schema of a topic's values; `None` if they have none.
    pub fn of(topic: &Topic) -> Option<Self> {
        let (name, id) = (topic.name(), topic.schema_id()?);
        let frozen = Schema::ALL.into_iter().find(|schema| schema.id() == id);
        let json = frozen.map_or_else(|| generated::of_topic(name), |schema| schema.json().to_owned());
        Some(Self { topic: name.to_owned(), id, json })
    }

    /// As a registry shows it.
    pub fn to_json(&self) -> Value {
        json!({
            "subject": self.subject(),
            "version": VERSION,
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
    let mut all: Vec<_> = topics.all().iter().filter_map(|topic| Registered::of(topic)).collect();
    all.sort_unstable_by_key(|registered| registered.id);
    all
}

#[cfg(test)]
mod tests;

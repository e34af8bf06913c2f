//! Topics: the logs on disk, what consumers see of them, and which partition a device's records go to.
//!
//! Guarantees: consumers see exactly the committed records, in the order of commits; a device's records of
//! one topic are all in one partition, the one that a Kafka producer's default partitioner picks for the device; a
//! reading goes to exactly one topic ([`rules`]); what a topic was made with never changes: its partition count, its
//! format, its schema id, whether it is compacted ([`catalog`]).
//!
//! Format: `<data>/topics/<topic>/<partition>/` is a [`weir_storage::Log`] each; see [`layout`].

pub(crate) mod catalog;
pub mod definition;
pub mod layout;
pub mod murmur2;
pub(crate) mod routes;
pub mod rules;
pub mod stores;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;
use weir_storage::Reader;

pub use definition::{Definition, Format, Retention, Role};
pub use stores::Stores;

/// A topic, as its place in [`Topics::all`]; good for one run of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(u16);

impl TopicId {
    /// Valid readings that no route leads elsewhere.
    pub const READINGS: Self = Self(0);
    /// Sequences that are lost.
    pub const LOSS: Self = Self(1);
    /// What could not be stored as readings.
    pub const DEAD_LETTER: Self = Self(2);
    /// Descriptions of devices.
    pub const DESCRIBE: Self = Self(3);

    /// The topics that every gateway has. Checkpoints of version 1 name them by their place here.
    pub const BUILT_IN: [Self; 4] = [Self::READINGS, Self::LOSS, Self::DEAD_LETTER, Self::DESCRIBE];
    pub(crate) const BUILT_IN_ROLES: [Role; 4] = [Role::Readings, Role::Loss, Role::DeadLetter, Role::Describe];

    /// Their names.
    pub(crate) const BUILT_IN_NAMES: [&str; 4] =
        [Self::READINGS_NAME, "weir.loss", Self::DEAD_LETTER_NAME, "weir.describe"];

    /// The name of [`TopicId::READINGS`].
    pub const READINGS_NAME: &str = "readings";
    /// The name of [`TopicId::DEAD_LETTER`].
    pub const DEAD_LETTER_NAME: &str = "weir.deadletter";

    pub(crate) fn at(place: usize) -> Self {
        Self(u16::try_from(place).unwrap_or(u16::MAX))
    }

    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// What consumers see of the logs; cheap to clone.
#[derive(Clone)]
pub struct Topics {
    topics: Arc<[Arc<Topic>]>,
}

/// One topic.
pub struct Topic {
    id: TopicId,
    definition: Definition,
    partitions: Vec<Partition>,
}

/// One partition of a topic.
pub struct Partition {
    reader: Reader,
    exposed: watch::Sender<u64>,
    /// A reader met damage since the keeper looked.
    suspect: AtomicBool,
}

impl Topics {
    /// From the readers of all logs: those of the first topic, then those of the second.
    pub(crate) fn new<'a>(
        definitions: impl IntoIterator<Item = &'a Definition>,
        readers: impl IntoIterator<Item = Reader>,
    ) -> Self {
        let mut readers = readers.into_iter();
        let topic = |(at, definition): (usize, &Definition)| {
            let partitions = readers.by_ref().take(definition.partitions as usize).map(Partition::new).collect();
            Arc::new(Topic { id: TopicId::at(at), definition: definition.clone(), partitions })
        };
        Self { topics: definitions.into_iter().enumerate().map(topic).collect() }
    }

    /// No topics.
    pub fn none() -> Self {
        Self { topics: Arc::default() }
    }

    /// These and one more that another part of the gateway writes; that part announces its records.
    pub fn with_internal(&self, name: &str, readers: impl IntoIterator<Item = Reader>) -> Self {
        let partitions: Vec<_> = readers.into_iter().map(Partition::new).collect();
        let definition = Definition::internal(name, partitions.len() as u32);
        let topic = Topic { id: TopicId::at(self.topics.len()), definition, partitions };
        Self { topics: self.topics.iter().cloned().chain([Arc::new(topic)]).collect() }
    }

    /// Every topic: the built-in ones in the order of [`TopicId::BUILT_IN`], routed ones, internal ones.
    pub fn all(&self) -> &[Arc<Topic>] {
        &self.topics
    }

    /// One of them.
    pub fn get(&self, id: TopicId) -> &Topic {
        &self.topics[id.index()]
    }

    /// A topic by its name.
    pub fn named(&self, name: &str) -> Option<&Topic> {
        self.topics.iter().find(|topic| topic.name() == name).map(|topic| &**topic)
    }

    /// The topics whose records are readings.
    pub fn readings(&self) -> impl Iterator<Item = &Topic> {
        self.topics.iter().map(|topic| &**topic).filter(|topic| topic.role() == Role::Readings)
    }
}

impl Topic {
    /// Which topic it is.
    pub fn id(&self) -> TopicId {
        self.id
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.definition.name
    }

    /// What its records are about.
    pub fn role(&self) -> Role {
        self.definition.role
    }

    /// Whether it is none of those that hold what devices sent: consumers have no need of it.
    pub fn is_internal(&self) -> bool {
        self.definition.role == Role::Internal
    }

    /// The schema id of its values; `None` if they are not Avro.
    pub fn schema_id(&self) -> Option<u32> {
        let is_avro = self.definition.format == Format::Avro && !self.is_internal();
        is_avro.then_some(self.definition.schema_id)
    }

    /// How its values are written.
    pub fn format(&self) -> Format {
        self.definition.format
    }

    /// Whether the last record of each key is kept and earlier ones go.
    pub fn is_compacted(&self) -> bool {
        self.definition.compact
    }

    /// What each of its partitions may keep.
    pub fn retention(&self) -> Retention {
        self.definition.retention
    }

    /// The routes that lead to it, as people write them.
    pub fn routes(&self) -> &[String] {
        &self.definition.routes
    }

    /// Its partitions, from 0.
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }
}

impl Partition {
    fn new(reader: Reader) -> Self {
        let exposed = watch::Sender::new(reader.end_offset());
        Self { exposed, reader, suspect: AtomicBool::new(false) }
    }

    /// Reads the committed records.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The offset behind the last committed record, and a wake-up whenever it grows.
    pub fn exposed(&self) -> watch::Receiver<u64> {
        self.exposed.subscribe()
    }

    /// Says that a reader met damage: its identities are to be counted.
    pub fn suspect(&self) {
        self.suspect.store(true, Ordering::Relaxed);
    }

    /// Whether a reader met damage since this was asked.
    pub(crate) fn take_suspicion(&self) -> bool {
        self.suspect.swap(false, Ordering::Relaxed)
    }

    /// Tells those who wait that offsets below `upto` can be read.
    pub fn announce(&self, upto: u64) {
        self.exposed.send_replace(upto);
    }
}

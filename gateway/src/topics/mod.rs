//! Topics: the logs on disk, what consumers see of them, and which partition a device's records go to.
//!
//! Guarantees: consumers see exactly the committed records, in the order of commits; a device's records of
//! one topic are all in one partition, the one that a Kafka producer's default partitioner picks for the key;
//! a partition count never changes once a topic exists.
//!
//! Format: `<data>/topics/<topic>/<partition>/` is a [`weir_storage::Log`] each; see [`layout`].

pub mod layout;
pub mod murmur2;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;
use weir_storage::Reader;

use crate::record::Schema;

/// The topics there are; the number is the place in [`Topics::all`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TopicId {
    /// Valid readings.
    Readings,
    /// Sequences that are lost.
    Loss,
    /// What could not be stored as readings.
    DeadLetter,
    /// Descriptions of devices.
    Describe,
}

impl TopicId {
    /// Every topic.
    pub const ALL: [Self; 4] = [Self::Readings, Self::Loss, Self::DeadLetter, Self::Describe];

    /// The name of the topic and of its directory.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Readings => "readings",
            Self::Loss => "weir.loss",
            Self::DeadLetter => "weir.deadletter",
            Self::Describe => "weir.describe",
        }
    }

    /// The schema of its records.
    pub const fn schema(self) -> Schema {
        match self {
            Self::Readings => Schema::Reading,
            Self::Loss => Schema::Loss,
            Self::DeadLetter => Schema::DeadLetter,
            Self::Describe => Schema::Description,
        }
    }
}

/// What consumers see of the logs; cheap to clone.
#[derive(Clone)]
pub struct Topics {
    topics: Arc<[Topic; TopicId::ALL.len()]>,
}

/// One topic.
pub struct Topic {
    id: TopicId,
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
    pub(crate) fn new(readers: impl IntoIterator<Item = Reader>, partitions: u32) -> Self {
        let mut readers = readers.into_iter();
        let partition = |reader: Reader| {
            let exposed = watch::Sender::new(reader.end_offset());
            Partition { exposed, reader, suspect: AtomicBool::new(false) }
        };
        let mut topic =
            |id| Topic { id, partitions: readers.by_ref().take(partitions as usize).map(partition).collect() };
        Self { topics: TopicId::ALL.map(&mut topic).into() }
    }

    /// Every topic, in the order of [`TopicId::ALL`].
    pub fn all(&self) -> &[Topic] {
        &*self.topics
    }

    /// One of them.
    pub fn get(&self, id: TopicId) -> &Topic {
        let [readings, loss, dead_letter, describe] = &*self.topics;
        match id {
            TopicId::Readings => readings,
            TopicId::Loss => loss,
            TopicId::DeadLetter => dead_letter,
            TopicId::Describe => describe,
        }
    }

    /// A topic by its name.
    pub fn named(&self, name: &str) -> Option<&Topic> {
        self.topics.iter().find(|topic| topic.id.name() == name)
    }
}

impl Topic {
    /// Which topic it is.
    pub fn id(&self) -> TopicId {
        self.id
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.id.name()
    }

    /// Its partitions, from 0.
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }
}

impl Partition {
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
    pub(crate) fn announce(&self, upto: u64) {
        self.exposed.send_replace(upto);
    }
}

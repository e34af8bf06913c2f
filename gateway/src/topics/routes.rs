//! Which log a record goes to: the logs of all topics in one list, those of a topic one behind the other.

use std::sync::Arc;

use super::definition::{Definition, Role};
use super::rules::Rules;
use super::stores::Stores;
use super::{TopicId, Topics, murmur2};

/// The topics that ingest writes, their logs and the rules that choose among them; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Routes {
    topics: Arc<[Row]>,
    /// Topic and partition of each log.
    places: Arc<[(TopicId, u32)]>,
    rules: Arc<Rules>,
    stores: Stores,
}

#[derive(Debug)]
struct Row {
    definition: Definition,
    first_log: usize,
}

impl Routes {
    /// Those of topics that are open already, for reading only.
    pub(crate) fn of(topics: &Topics) -> Self {
        let ingested = topics.all().iter().filter(|topic| !topic.is_internal());
        Self::new(ingested.map(|topic| topic.definition.clone()), Rules::default(), Stores::default())
    }

    /// The built-in topics first, in the order of [`TopicId::BUILT_IN`].
    pub(crate) fn new(definitions: impl IntoIterator<Item = Definition>, rules: Rules, stores: Stores) -> Self {
        let (mut topics, mut places) = (Vec::new(), Vec::new());
        for (at, definition) in definitions.into_iter().enumerate() {
            let first_log = places.len();
            places.extend((0..definition.partitions).map(|partition| (TopicId::at(at), partition)));
            topics.push(Row { definition, first_log });
        }
        Self { topics: topics.into(), places: places.into(), rules: rules.into(), stores }
    }

    /// What a topic is. Every [`TopicId`] of these routes is one of these topics.
    pub(crate) fn definition(&self, topic: TopicId) -> &Definition {
        &self.topics[topic.index()].definition
    }

    /// Every topic.
    pub(crate) fn definitions(&self) -> impl ExactSizeIterator<Item = &Definition> {
        self.topics.iter().map(|row| &row.definition)
    }

    /// The topics whose records say what is stored: readings, and messages.
    pub(crate) fn stored(&self) -> impl Iterator<Item = TopicId> + '_ {
        let topics = self.topics.iter().enumerate();
        topics.filter(|(_, row)| row.definition.role.is_stored()).map(|(at, _)| TopicId::at(at))
    }

    /// Which topic a message goes to.
    pub(crate) fn stores(&self) -> &Stores {
        &self.stores
    }

    /// The rules that choose the topic of a reading.
    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The partition of a topic for keys with this hash.
    pub(crate) fn partition(&self, topic: TopicId, key_hash: u32) -> usize {
        murmur2::partition(key_hash, self.topics[topic.index()].definition.partitions) as usize
    }

    /// The log of a topic for keys with this hash.
    pub(crate) fn log(&self, topic: TopicId, key_hash: u32) -> usize {
        self.at(topic, self.partition(topic, key_hash))
    }

    /// The log of a partition.
    pub(crate) fn at(&self, topic: TopicId, partition: usize) -> usize {
        self.topics[topic.index()].first_log + partition
    }

    /// The logs of a topic.
    pub(crate) fn logs_of(&self, topic: TopicId) -> std::ops::Range<usize> {
        let row = &self.topics[topic.index()];
        row.first_log..row.first_log + row.definition.partitions as usize
    }

    /// Topic and partition of a log.
    pub(crate) fn place(&self, log: usize) -> (TopicId, usize) {
        let (topic, partition) = self.places[log];
        (topic, partition as usize)
    }

    /// What the records of a log are about.
    pub(crate) fn role(&self, log: usize) -> Role {
        self.definition(self.places[log].0).role
    }

    /// The ends of the loss logs that may hold losses of devices of which something is stored in this log, of all `ends`.
    pub(crate) fn losses_of(&self, log: usize, ends: &[u64]) -> Vec<(u32, u64)> {
        let (topic, own) = self.places[log];
        if !self.role(log).is_stored() {
            return Vec::new();
        }
        let losses = ends[self.logs_of(TopicId::LOSS)].iter().enumerate().map(|(loss, end)| (loss as u32, *end));
        // The built-in topics have as many partitions each, so a device is in the same one of each.
        losses.filter(|(loss, _)| topic != TopicId::READINGS || *loss == own).collect()
    }

    /// The topics whose records settle sequences: they are stored there, or said to be left out.
    pub(crate) fn settling(&self) -> impl Iterator<Item = TopicId> + '_ {
        self.stored().chain([TopicId::LOSS])
    }

    /// Schema id, partition and end of every log that settles sequences, of all `ends`.
    pub(crate) fn settled_ends(&self, ends: &[u64]) -> Vec<(u32, u32, u64)> {
        let logs = self.settling().flat_map(|topic| self.logs_of(topic));
        let end = |log: usize| (self.definition(self.places[log].0).schema_id, self.places[log].1, ends[log]);
        logs.map(end).collect()
    }

    /// How many logs there are.
    pub(crate) fn logs(&self) -> usize {
        self.places.len()
    }
}

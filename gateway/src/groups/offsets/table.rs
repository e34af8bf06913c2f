//! What the offsets topic says, in memory: the committed offsets of every group.
//!
//! An entry that is being written counts as one from the moment it is submitted, so that bounds hold and a deletion that
//! comes behind it covers it; what it says is seen once it is durable.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::record::{Key, Said, Usage};
use super::{Commit, Committed};
use crate::groups::error::Error;
use crate::groups::names::GroupId;
use crate::groups::options::Options;

/// The offsets of all groups.
#[derive(Debug, Default)]
pub(crate) struct Table {
    groups: BTreeMap<GroupId, OfGroup>,
    /// Entries of all groups.
    entries: usize,
    /// Bytes of their metadata.
    metadata_bytes: usize,
}

/// Metadata that offsets may have on average when there are as many of them as there may be, in bytes.
const METADATA_BYTES: usize = 256;

#[derive(Debug, Default)]
struct OfGroup {
    topics: BTreeMap<Arc<str>, BTreeMap<u32, Entry>>,
    entries: usize,
    usage: Option<Usage>,
}

#[derive(Debug, Default)]
struct Entry {
    committed: Option<Committed>,
    /// Records of it that are being written.
    writing: u32,
}

impl Table {
    /// Adds what a record says: it is durable. Entries that are being written are settled by [`Table::settle`].
    pub(crate) fn apply(&mut self, key: Key<'_>, said: Said) {
        match (key, said) {
            (Key::Offset { group, topic, partition }, Said::Offset(committed)) => {
                let Some(group) = GroupId::new(group) else { return };
                self.change(&group, topic, partition, |entry| entry.committed = committed);
            }
            (Key::Group(group), Said::Group(usage)) => {
                let Some(group) = GroupId::new(group) else { return };
                self.set_usage(&group, usage);
            }
            // No key decodes to the other's value.
            _ => (),
        }
    }

    /// Takes a place for an offset that is about to be written.
    ///
    /// # Errors
    /// [`Error::TooManyOffsets`]; it has none.
    pub(crate) fn reserve(&mut self, group: &GroupId, commit: &Commit, options: &Options) -> Result<(), Error> {
        let own = self.groups.get(group).map_or(0, |own| own.entries);
        let is_new = !self.has(group.as_str(), &commit.topic, commit.partition);
        let room = options.offsets.saturating_mul(METADATA_BYTES).saturating_sub(self.metadata_bytes);
        if commit.metadata.len() > room {
            return Err(Error::TooManyOffsets);
        }
        if is_new && (own >= options.offsets_per_group || self.entries >= options.offsets) {
            return Err(Error::TooManyOffsets);
        }
        self.change(group, &commit.topic, commit.partition, |entry| entry.writing += 1);
        Ok(())
    }

    /// A record of an entry that is about to be deleted.
    pub(crate) fn reserve_deletion(&mut self, group: &GroupId, topic: &str, partition: u32) {
        self.change(group, topic, partition, |entry| entry.writing += 1);
    }

    /// A record has been written, and says this; or it has not: `None`.
    pub(crate) fn settle(&mut self, group: &GroupId, topic: &str, partition: u32, said: Option<Option<Committed>>) {
        self.change(group, topic, partition, |entry| {
            entry.writing = entry.writing.saturating_sub(1);
            if let Some(committed) = said {
                entry.committed = committed;
            }
        });
    }

    /// Changes an entry, and keeps count.
    fn change(&mut self, group: &GroupId, topic: &str, partition: u32, change: impl FnOnce(&mut Entry)) {
        let of_group = match self.groups.get_mut(group) {
            Some(known) => known,
            None => self.groups.entry(group.clone()).or_default(),
        };
        let of_topic = match of_group.topics.get_mut(topic) {
            Some(known) => known,
            None => of_group.topics.entry(topic.into()).or_default(),
        };
        let before = of_topic.len();
        let entry = of_topic.entry(partition).or_default();
        let bytes = |entry: &Entry| entry.committed.as_ref().map_or(0, |committed| committed.metadata.len());
        self.metadata_bytes -= bytes(entry);
        change(entry);
        self.metadata_bytes += bytes(entry);
        if entry.committed.is_none() && entry.writing == 0 {
            of_topic.remove(&partition);
        }
        let after = of_topic.len();
        if after == 0 {
            of_group.topics.remove(topic);
        }
        of_group.entries = of_group.entries + after - before;
        self.entries = self.entries + after - before;
        self.forget_if_empty(group);
    }

    fn forget_if_empty(&mut self, group: &GroupId) {
        if self.groups.get(group).is_some_and(|own| own.entries == 0 && own.usage.is_none()) {
            self.groups.remove(group);
        }
    }

    /// Whether offsets of a group are stored, or about to be.
    pub(crate) fn has_offsets(&self, group: &str) -> bool {
        self.groups.get(group).is_some_and(|own| own.entries > 0)
    }

    /// Whether a place has an offset, or is about to.
    pub(crate) fn has(&self, group: &str, topic: &str, partition: u32) -> bool {
        let of_topic = self.groups.get(group).and_then(|own| own.topics.get(topic));
        of_topic.is_some_and(|partitions| partitions.contains_key(&partition))
    }

    /// Every group of which something is stored.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &GroupId> {
        self.groups.keys()
    }

    /// One committed offset.
    pub(crate) fn get(&self, group: &str, topic: &str, partition: u32) -> Option<&Committed> {
        self.groups.get(group)?.topics.get(topic)?.get(&partition)?.committed.as_ref()
    }

    /// The committed offsets of a group.
    pub(crate) fn of_group(&self, group: &str) -> impl Iterator<Item = (&Arc<str>, u32, &Committed)> {
        self.groups.get(group).into_iter().flat_map(|own| &own.topics).flat_map(|(topic, partitions)| {
            partitions.iter().filter_map(move |(partition, entry)| {
                entry.committed.as_ref().map(|committed| (topic, *partition, committed))
            })
        })
    }

    /// The committed offsets of a group behind which nothing is being written.
    pub(crate) fn settled(&self, group: &str) -> impl Iterator<Item = (&Arc<str>, u32, &Committed)> {
        let is_settled = |topic: &str, partition: u32| {
            let entry = self.groups.get(group).and_then(|own| own.topics.get(topic)?.get(&partition));
            entry.is_some_and(|entry| entry.writing == 0)
        };
        self.of_group(group).filter(move |(topic, partition, _)| is_settled(topic, *partition))
    }

    /// Every place of a group that has an offset, or is about to.
    pub(crate) fn places(&self, group: &str) -> Vec<(Arc<str>, u32)> {
        let topics = self.groups.get(group).into_iter().flat_map(|own| &own.topics);
        topics.flat_map(|(topic, partitions)| partitions.keys().map(|at| (Arc::clone(topic), *at))).collect()
    }

    /// Sets whether a group has members.
    pub(crate) fn set_usage(&mut self, group: &GroupId, usage: Option<Usage>) {
        self.groups.entry(group.clone()).or_default().usage = usage;
        self.forget_if_empty(group);
    }

    /// Whether the group has members, as was written last.
    pub(crate) fn usage(&self, group: &str) -> Option<Usage> {
        self.groups.get(group)?.usage
    }

    /// Committed offsets of all groups.
    pub(crate) fn entries(&self) -> usize {
        self.entries
    }
}

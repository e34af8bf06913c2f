//! Setting a group to another place: where it would go on, decided before anything is written.

use std::sync::Arc;

use thiserror::Error;
use weir_storage::ReadError;

use super::commits::Place;
use super::offsets::{Commit, Committed};
use crate::topics::{Partition, Topics};

/// Which partitions a reset is about: those that the group has offsets of, or those of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this topic, all of its partitions.
    pub topic: Option<String>,
    /// Only this partition.
    pub partition: Option<u32>,
}

/// A partition and where the group goes on in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: u32,
    /// Where it is now; `None` if it has no offset there.
    pub from: Option<u64>,
    /// Where it goes on; within what the partition holds.
    pub to: u64,
}

/// Why there is nothing to set.
#[derive(Debug, Error)]
pub enum ResetError {
    /// There is no such topic.
    #[error("no topic {0:?}")]
    Topic(String),
    /// The topic has no such partition.
    #[error("no partition {partition} of {topic}; there are 0 to {last}")]
    Partition {
        /// The topic.
        topic: String,
        /// What was asked for.
        partition: u32,
        /// The last one there is.
        last: usize,
    },
    /// The group has no offsets.
    #[error("the group has no offsets that could be set; name the topic that it is to read (--topic)")]
    Nothing,
    /// A log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// What a reset would do to a group with these offsets; `to` says the offset in a partition, which is brought into what
/// the partition holds. Reads files: not for an async task.
///
/// # Errors
/// [`ResetError`].
pub fn plan(
    topics: &Topics,
    offsets: &[(Place, Committed)],
    filter: &Filter,
    to: impl Fn(&Partition) -> Result<u64, ReadError>,
) -> Result<Vec<Move>, ResetError> {
    let mut moves = Vec::new();
    for (topic, partition) in chosen(topics, offsets, filter)? {
        let Some(found) = topics.named(&topic).and_then(|known| known.partitions().get(partition as usize)) else {
            continue;
        };
        let reader = found.reader();
        let (start, end) = (reader.start_offset(), reader.end_offset());
        let now = offsets.iter().find(|((name, number), _)| *name == topic && *number == partition);
        let from = now.map(|(_, committed)| committed.offset);
        moves.push(Move { topic, partition, from, to: to(found)?.clamp(start, end) });
    }
    if moves.is_empty() { Err(ResetError::Nothing) } else { Ok(moves) }
}

fn chosen(topics: &Topics, offsets: &[(Place, Committed)], filter: &Filter) -> Result<Vec<Place>, ResetError> {
    let wanted = |partition: &u32| filter.partition.is_none_or(|only| only == *partition);
    let Some(name) = &filter.topic else {
        let places = offsets.iter().map(|(place, _)| place.clone());
        return Ok(places.filter(|(_, partition)| wanted(partition)).collect());
    };
    let topic = topics.named(name).ok_or_else(|| ResetError::Topic(name.clone()))?;
    let count = topic.partitions().len();
    if let Some(partition) = filter.partition.filter(|only| *only as usize >= count) {
        return Err(ResetError::Partition { topic: name.clone(), partition, last: count.saturating_sub(1) });
    }
    let shared: Arc<str> = name.as_str().into();
    let all = 0..u32::try_from(count).unwrap_or(u32::MAX);
    Ok(all.filter(wanted).map(|partition| (Arc::clone(&shared), partition)).collect())
}

impl Move {
    /// As an offset to commit.
    pub fn commit(&self) -> Commit {
        let (topic, partition, offset) = (Arc::clone(&self.topic), self.partition, self.to);
        Commit { topic, partition, offset, leader_epoch: -1, metadata: "".into() }
    }
}

//! How far groups are behind.

use std::ops::Range;
use std::sync::Arc;

use super::commits::Place;
use super::offsets::Committed;
use super::service::Groups;
use crate::topics::Topics;

/// A committed offset beside what its partition holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lag {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: u32,
    /// Where the group goes on.
    pub committed: Committed,
    /// The offsets that the partition holds; `None` if there is no such partition any more.
    pub held: Option<Range<u64>>,
}

impl Lag {
    /// Records that the group has yet to read: offsets from the committed one to the end, those included that retention
    /// has removed. `None` if there is no such partition any more.
    pub fn records(&self) -> Option<u64> {
        self.held.as_ref().map(|held| held.end.saturating_sub(self.committed.offset))
    }
}

/// Offsets beside what their partitions hold.
pub fn lags(topics: &Topics, offsets: Vec<(Place, Committed)>) -> Vec<Lag> {
    let lag = |((topic, partition), committed): (Place, Committed)| {
        let found = topics.named(&topic).and_then(|known| known.partitions().get(partition as usize));
        let held = found.map(|found| found.reader().start_offset()..found.reader().end_offset());
        Lag { topic, partition, committed, held }
    };
    offsets.into_iter().map(lag).collect()
}

impl Groups {
    /// How far a group is behind in each partition that it has committed an offset of.
    pub fn lags(&self, group: &str) -> Vec<Lag> {
        lags(&self.shared.topics, self.offsets(group))
    }
}

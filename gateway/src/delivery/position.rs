//! Where in the log a subscriber is.

use std::sync::Arc;

/// A place in one partition that outlives a run of the gateway.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The name of the topic.
    pub topic: Arc<str>,
    /// The number of the partition.
    pub partition: u32,
    /// The next offset.
    pub offset: u64,
}

/// At most one position of each partition, in the order of topic and partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions(Vec<Position>);

impl Positions {
    /// The position in one partition.
    pub fn get(&self, topic: &str, partition: u32) -> Option<u64> {
        self.find(topic, partition).ok().map(|at| self.0[at].offset)
    }

    /// Sets the position in one partition.
    pub fn set(&mut self, topic: &Arc<str>, partition: u32, offset: u64) {
        match self.find(topic, partition) {
            Ok(at) => self.0[at].offset = offset,
            Err(at) => self.0.insert(at, Position { topic: Arc::clone(topic), partition, offset }),
        }
    }

    /// Keeps the positions that `wanted` says yes to.
    pub fn retain(&mut self, wanted: impl FnMut(&Position) -> bool) {
        self.0.retain(wanted);
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Position> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn find(&self, topic: &str, partition: u32) -> Result<usize, usize> {
        self.0.binary_search_by(|known| (&*known.topic, known.partition).cmp(&(topic, partition)))
    }
}

impl FromIterator<Position> for Positions {
    fn from_iter<I: IntoIterator<Item = Position>>(all: I) -> Self {
        let mut positions = Self::default();
        for Position { topic, partition, offset } in all {
            positions.set(&topic, partition, offset);
        }
        positions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_has_one_position() {
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut positions = Positions::default();
        for (topic, partition, offset) in [(&b, 0, 7), (&a, 1, 5), (&a, 0, 4), (&a, 1, 6)] {
            positions.set(topic, partition, offset);
        }
        let all: Vec<_> = positions.iter().map(|known| (&*known.topic, known.partition, known.offset)).collect();
        assert_eq!(all, [("a", 0, 4), ("a", 1, 6), ("b", 0, 7)]);
        assert_eq!((positions.get("a", 1), positions.get("a", 2)), (Some(6), None));
        positions.retain(|known| &*known.topic == "a");
        assert_eq!(positions.len(), 2);
    }
}

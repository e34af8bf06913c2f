//! What stretches of the queue name: for each restart a covering set of sequences, so that a position says what is
//! held without reading the backlog.
//!
//! Guarantees: every sequence that a committed record names is covered by its stretch until all of the stretch is
//! done with; memory is bounded, and past the bound the cover becomes coarser, never smaller. A stretch is a segment,
//! or several old ones.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use weir_protocol::{DeviceId, RangeSet, Restart};

use super::Key;
use super::cover::{Pairs, coarsen, pairs};

/// The most stretches; one more joins the two oldest.
const MAX_BLOCKS: usize = 64;
/// The most restarts that all stretches name together.
const MAX_NAMED: usize = 8192;
/// The most ranges that a stretch keeps of one restart.
const MAX_RANGES: usize = 4;

/// Stretches of the queue, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocks {
    blocks: Vec<Block>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Block {
    offsets: Range<u64>,
    /// Too many restarts to name: it may hold anything.
    anything: bool,
    named: BTreeMap<Key, RangeSet>,
}

/// On disk: offsets, [`Block::anything`], and the ranges of each restart.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredBlock {
    start: u64,
    end: u64,
    anything: bool,
    named: Vec<(DeviceId, Restart, Pairs)>,
}

impl Blocks {
    /// Notes what records at `offsets` name; they come in order. `begins` says that a segment begins there.
    pub fn note(&mut self, offsets: Range<u64>, begins: bool, named: impl IntoIterator<Item = (Key, Range<u64>)>) {
        match self.blocks.last_mut() {
            Some(last) if !begins => last.offsets.end = last.offsets.end.max(offsets.end),
            _ => self.blocks.push(Block { offsets, anything: false, named: BTreeMap::new() }),
        }
        let Some(last) = self.blocks.last_mut() else { return };
        for (key, range) in named {
            last.name(key, range);
        }
        self.bound();
    }

    /// Forgets the stretches of which nothing from `start` on is missing in `done`.
    pub fn forget(&mut self, start: u64, done: &RangeSet) {
        self.blocks.retain(|block| block.is_held(start, done));
    }

    /// What may be held of each restart; `None` for one that is not named means everything if the second is true.
    pub fn held(&self, start: u64, done: &RangeSet) -> (BTreeMap<Key, RangeSet>, bool) {
        let mut held: BTreeMap<Key, RangeSet> = BTreeMap::new();
        let mut anything = false;
        for block in self.blocks.iter().filter(|block| block.is_held(start, done)) {
            anything |= block.anything;
            for (key, ranges) in &block.named {
                held.entry(*key).or_default().union(ranges);
            }
        }
        (held, anything)
    }

    /// As it is stored.
    pub(super) fn stored(&self) -> Vec<StoredBlock> {
        let store = |block: &Block| StoredBlock {
            start: block.offsets.start,
            end: block.offsets.end,
            anything: block.anything,
            named: block.named.iter().map(|((device, restart), set)| (*device, *restart, pairs(set))).collect(),
        };
        self.blocks.iter().map(store).collect()
    }

    pub(super) fn of_stored(stored: Vec<StoredBlock>) -> Self {
        let set = |pairs: Pairs| pairs.into_iter().map(|(start, end)| start..end).collect();
        let load = |block: StoredBlock| Block {
            offsets: block.start..block.end,
            anything: block.anything,
            named: block.named.into_iter().map(|(device, restart, pairs)| ((device, restart), set(pairs))).collect(),
        };
        Self { blocks: stored.into_iter().map(load).collect() }
    }

    fn bound(&mut self) {
        let named = |blocks: &[Block]| blocks.iter().map(|block| block.named.len()).sum::<usize>();
        while self.blocks.len() > 1 && (self.blocks.len() > MAX_BLOCKS || named(&self.blocks) > MAX_NAMED) {
            let oldest = self.blocks.remove(0);
            self.blocks[0].join(oldest);
        }
        if let [only] = &mut self.blocks[..]
            && only.named.len() > MAX_NAMED
        {
            only.anything = true;
            only.named.clear();
        }
    }
}

impl Block {
    fn is_held(&self, start: u64, done: &RangeSet) -> bool {
        done.gaps(self.offsets.start.max(start)..self.offsets.end).next().is_some()
    }

    fn name(&mut self, key: Key, range: Range<u64>) {
        if self.anything {
            return;
        }
        let ranges = self.named.entry(key).or_default();
        ranges.insert(range);
        coarsen(ranges, MAX_RANGES);
    }

    /// Takes in the stretch before it.
    fn join(&mut self, before: Self) {
        self.offsets.start = before.offsets.start;
        self.anything |= before.anything;
        if self.anything {
            return self.named.clear();
        }
        for (key, set) in before.named {
            set.iter().for_each(|range| self.name(key, range));
        }
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)] // a list of ranges may well have one
mod tests {
    use super::*;

    fn key(number: u64) -> Key {
        (DeviceId::new("board").expect("a name"), Restart(number))
    }

    fn set(ranges: &[Range<u64>]) -> RangeSet {
        ranges.iter().cloned().collect()
    }

    #[test]
    fn a_stretch_is_held_until_all_of_it_is_done_with() {
        let mut blocks = Blocks::default();
        blocks.note(0..2, true, [(key(1), 0..10), (key(1), 10..20)]);
        blocks.note(2..3, true, [(key(1), 30..40), (key(2), 0..5)]);
        let (held, anything) = blocks.held(0, &set(&[0..1]));
        assert_eq!((held[&key(1)].clone(), anything), (set(&[0..20, 30..40]), false));
        let (held, _) = blocks.held(0, &set(&[0..2]));
        assert_eq!(held[&key(1)], set(&[30..40]));
        blocks.forget(2, &RangeSet::new());
        assert_eq!(blocks.blocks.len(), 1);
        assert!(blocks.held(2, &set(&[2..3])).0.is_empty());
    }

    #[test]
    fn more_than_fits_is_covered_more_coarsely() {
        let mut blocks = Blocks::default();
        for at in 0..200 {
            blocks.note(at..at + 1, true, [(key(1), 10 * at..10 * at + 5)]);
        }
        assert_eq!(blocks.blocks.len(), MAX_BLOCKS);
        let (held, _) = blocks.held(0, &RangeSet::new());
        assert!((0..200).all(|at| held[&key(1)].contains_all(10 * at..10 * at + 5)));
        for number in 0..=MAX_NAMED as u64 {
            blocks.note(200..201, false, [(key(number), 0..1)]);
        }
        let (held, anything) = blocks.held(0, &RangeSet::new());
        assert!(anything && held.is_empty());
        assert_eq!(Blocks::of_stored(blocks.stored()), blocks);
    }
}

//! Sets of sequences: what was stored, dead-lettered, lost, shipped.
//!
//! Readings mostly arrive in order, so a set is a few ranges however many sequences it holds, and adding at
//! the end is the fast path.
//!
//! Two sets whose sequences take turns, as what is stored and the dead letters of a channel that is always out of range,
//! would be a range for every reading. So where many ranges lie close together they are held as a page of bits:
//! - no pattern costs more than some 1/8 byte for each sequence that it spans, and one that repeats costs a page for each
//!   of its phases and 1/256 byte for each sequence;
//! - [`RangeSet::cost`] says what a set takes, so that it can be bounded;
//! - how a set is held depends on how it came about. Nothing else does: equal sets are equal.

mod pages;
mod runs;
mod sparse;

use core::hash::{Hash, Hasher};
use core::ops::Range;

use pages::Pages;
use runs::Runs;
use sparse::Sparse;

pub use pages::{BLOCK, Bits};

/// So many ranges are added one by one, however many lie behind them.
const FEW: usize = 4;
/// So many ranges may lie behind those that are added one by one.
const FEW_BEHIND: usize = 256;
/// As many ranges of a block become a page: a page and its block cost as much.
const DENSE: usize = PAGE + 2;
/// A page of fewer ranges becomes ranges again.
const THIN: usize = 8;
/// What a page costs beside its block, in ranges: 528 bytes.
const PAGE: usize = 33;
/// No page, so that the end of every block is a number.
const LAST_BLOCK: u64 = u64::MAX / BLOCK;

/// A set of numbers below `u64::MAX`.
#[derive(Clone, Default)]
pub struct RangeSet {
    /// Nothing of it lies in a block that has a page.
    sparse: Sparse,
    pages: Pages,
}

impl RangeSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self { sparse: Sparse::new(), pages: Pages::new() }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.sparse.ranges().is_empty() && self.pages.is_empty()
    }

    /// How many numbers are in it.
    pub fn len(&self) -> u64 {
        let sparse: u64 = self.sparse.ranges().iter().map(|r| r.end - r.start).sum();
        sparse + (0..self.pages.len()).map(|at| self.pages.ones(at)).sum::<u64>()
    }

    /// The ranges, ascending: disjoint, not adjacent, not empty.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        Runs::within(self, 0..u64::MAX)
    }

    /// How many ranges it takes to say it.
    pub fn range_count(&self) -> usize {
        if self.pages.is_empty() {
            return self.sparse.ranges().len();
        }
        // Ranges that go on over the end of a block were counted on both sides of it.
        let is_joined = |number: u64| number > 0 && self.contains(number - 1) && self.contains(number);
        let mut count = self.sparse.ranges().len();
        for at in 0..self.pages.len() {
            let block = self.pages.block(at);
            let is_followed = self.pages.len() > at + 1 && self.pages.block(at + 1).start == block.end;
            count += self.pages.runs(at);
            count -= usize::from(is_joined(block.start));
            count -= usize::from(!is_followed && is_joined(block.end));
        }
        count
    }

    /// What it takes of memory, in units of 16 bytes: one for each range that is held as one, one for each block of
    /// [`BLOCK`] sequences that is held as bits, and 33 for each page of bits among them that is not like another. What is
    /// allocated in advance comes on top, at most as much again of the ranges and blocks.
    pub fn cost(&self) -> usize {
        self.sparse.ranges().len() + self.pages.len() + PAGE * self.pages.distinct()
    }

    /// The first number behind all of it.
    pub fn end(&self) -> Option<u64> {
        let sparse = self.sparse.ranges().last().map(|range| range.end);
        let paged = self.pages.len().checked_sub(1).and_then(|last| self.pages.top(last));
        sparse.max(paged)
    }

    /// Whether `number` is in the set.
    pub fn contains(&self, number: u64) -> bool {
        self.part(number).is_some()
    }

    /// What is held in one piece from `number` on.
    fn part(&self, number: u64) -> Option<Range<u64>> {
        if number < self.pages.end()
            && let Some(at) = self.pages.find(number)
        {
            return self.pages.run_from(at, number).filter(|run| run.start == number);
        }
        self.sparse.find(number).map(|range| number..range.end)
    }

    /// Whether every number of `range` is in the set; true of an empty range.
    pub fn contains_all(&self, range: Range<u64>) -> bool {
        let mut at = range.start;
        while at < range.end {
            let Some(part) = self.part(at) else { return false };
            at = part.end;
        }
        true
    }

    /// Whether any number of `range` is in the set.
    pub fn intersects(&self, range: Range<u64>) -> bool {
        Runs::within(self, range).next().is_some()
    }

    /// Adds every number of `range`.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        match self.pages.end() <= range.start {
            true => self.insert_sparse(range),
            false => self.set(range, true),
        }
    }

    /// Takes every number of `range` out.
    pub fn remove(&mut self, range: Range<u64>) {
        if !range.is_empty() {
            self.set(range, false);
        }
    }

    /// Adds or takes out where there are pages.
    fn set(&mut self, range: Range<u64>, is_in: bool) {
        let (mut blocks, mut rest) = (self.pages.within(&range), range);
        let mut changed = [None; 2];
        if !blocks.is_empty() && self.pages.block(blocks.start).start < rest.start {
            let block = self.pages.block(blocks.start);
            self.pages.set(blocks.start, rest.start..rest.end.min(block.end), is_in);
            changed[0] = Some(block.start);
            rest.start = block.end;
            blocks.start += 1;
        }
        if !blocks.is_empty() && self.pages.block(blocks.end - 1).end > rest.end {
            let block = self.pages.block(blocks.end - 1);
            self.pages.set(blocks.end - 1, block.start..rest.end, is_in);
            changed[1] = Some(block.start);
            rest.end = block.start;
            blocks.end -= 1;
        }
        // Where all of a block comes or goes.
        if !blocks.is_empty() {
            self.pages.remove(blocks);
        }
        match is_in {
            _ if rest.is_empty() => {}
            true => self.insert_sparse(rest),
            false => {
                if self.sparse.remove(rest.clone()) {
                    self.thicken(rest.end);
                }
            }
        }
        changed.into_iter().flatten().for_each(|first| self.thin(first));
    }

    /// Adds what is in no block that has a page.
    fn insert_sparse(&mut self, range: Range<u64>) {
        if self.sparse.insert(range.clone()) {
            self.thicken(range.start);
            self.thicken(range.end - 1);
        }
    }

    /// Makes the block that `number` is in a page if it has too many ranges.
    fn thicken(&mut self, number: u64) {
        let block = number / BLOCK;
        if block == LAST_BLOCK {
            return;
        }
        let block = block * BLOCK..(block + 1) * BLOCK;
        if !self.sparse.has_in(&block, DENSE) {
            return;
        }
        let mut bits = [0; _];
        for run in Runs::within(self, block.clone()) {
            pages::fill(&mut bits, run.start - block.start..run.end - block.start);
        }
        self.sparse.remove(block.clone());
        self.pages.insert(&block, bits);
    }

    /// Makes the page of a block ranges if they are few.
    fn thin(&mut self, first: u64) {
        let Some(at) = self.pages.find(first).filter(|at| self.pages.runs(*at) <= THIN) else { return };
        let runs: Vec<_> = Runs::within(self, self.pages.block(at)).collect();
        self.pages.remove(at..at + 1);
        for run in runs {
            self.sparse.insert(run);
        }
    }

    /// Adds every number of `other`: in one pass over both, however the ranges lie.
    pub fn union(&mut self, other: &Self) {
        let Some(first) = other.iter().next().map(|range| range.start) else { return };
        if self.is_empty() {
            self.clone_from(other);
            return;
        }
        let behind = self.sparse.ranges().len() - self.sparse.position(first);
        if behind <= FEW_BEHIND || other.range_count() <= FEW {
            other.iter().for_each(|range| self.insert(range));
            return;
        }
        // What lies in front of `other` stays.
        let own: Vec<_> = self.overlaps(first..u64::MAX).collect();
        self.remove(first..u64::MAX);
        let (mut own, mut other) = (own.into_iter().peekable(), other.iter().peekable());
        while let Some(range) = match (own.peek(), other.peek()) {
            (Some(one), Some(two)) if one.start > two.start => other.next(),
            (None, _) => other.next(),
            (Some(_), _) => own.next(),
        } {
            self.insert(range);
        }
    }

    /// The parts of `range` that are not in the set, ascending.
    pub fn gaps(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let mut at = range.start;
        let mut runs = Runs::within(self, range.clone());
        core::iter::from_fn(move || {
            while at < range.end {
                let Some(held) = runs.next() else {
                    return Some(core::mem::replace(&mut at, range.end)..range.end);
                };
                let gap = at..held.start;
                at = held.end;
                if !gap.is_empty() {
                    return Some(gap);
                }
            }
            None
        })
    }

    /// The parts of `range` that are in the set, ascending.
    pub fn overlaps(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        Runs::within(self, range)
    }

    /// What is in both.
    pub fn intersection(&self, other: &Self) -> Self {
        let mut both = Self::new();
        for range in self.sparse.ranges() {
            other.copy_to(&mut both, range.clone());
        }
        for (first, bits) in self.pages() {
            let block = first..first + BLOCK;
            let mut common = [0; _];
            match other.pages.find(first) {
                Some(at) => common = *other.pages.bits(at),
                None => other
                    .overlaps(block.clone())
                    .for_each(|run| pages::fill(&mut common, run.start - first..run.end - first)),
            }
            for (word, own) in common.iter_mut().zip(bits) {
                *word &= own;
            }
            both.insert_block(&block, common);
        }
        both
    }

    /// Adds what lies in `range` to another set, which has nothing there.
    fn copy_to(&self, other: &mut Self, range: Range<u64>) {
        let from = self.sparse.position(range.start);
        let parts = self.sparse.ranges()[from..].iter().take_while(|part| part.start < range.end);
        parts.for_each(|part| other.insert(part.start.max(range.start)..part.end.min(range.end)));
        for at in self.pages.within(&range) {
            let block = self.pages.block(at);
            match range.start <= block.start && block.end <= range.end {
                true => other.insert_block(&block, *self.pages.bits(at)),
                false => {
                    let part = block.start.max(range.start)..block.end.min(range.end);
                    self.overlaps(part).for_each(|run| other.insert(run));
                }
            }
        }
    }

    /// A superset that is held as ranges alone: of each block that is held as bits all from the first to the last.
    pub fn hull(&self) -> Self {
        let blocks =
            (0..self.pages.len()).filter_map(|at| Some(self.pages.run_from(at, 0)?.start..self.pages.top(at)?));
        let mut all: Vec<_> = self.sparse.ranges().iter().cloned().chain(blocks).collect();
        all.sort_unstable_by_key(|range| range.start);
        let mut sparse = Sparse::new();
        for range in all {
            sparse.insert(range);
        }
        Self { sparse, pages: Pages::new() }
    }

    /// What is held as ranges, to store it; the rest are [`RangeSet::pages`].
    pub fn sparse(&self) -> &[Range<u64>] {
        self.sparse.ranges()
    }

    /// The first number and the bits of each block that is held as bits, ascending.
    pub fn pages(&self) -> impl ExactSizeIterator<Item = (u64, &Bits)> + '_ {
        (0..self.pages.len()).map(|at| (self.pages.block(at).start, self.pages.bits(at)))
    }

    /// Adds what `bits` say about the block that begins with `first`.
    ///
    /// # Errors
    /// Got and expected, if no such block is held as bits.
    pub fn insert_page(&mut self, first: u64, bits: &Bits) -> Result<(), NoBlock> {
        if !first.is_multiple_of(BLOCK) || first / BLOCK == LAST_BLOCK {
            return Err(NoBlock(first));
        }
        let block = first..first + BLOCK;
        if self.intersects(block.clone()) {
            pages::runs(bits).for_each(|run| self.insert(first + run.start..first + run.end));
            return Ok(());
        }
        self.insert_block(&block, *bits);
        Ok(())
    }

    /// Adds a block of which nothing is there.
    fn insert_block(&mut self, block: &Range<u64>, bits: Bits) {
        self.pages.insert(block, bits);
        self.thin(block.start);
    }
}

/// The first number of no block of [`RangeSet::insert_page`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoBlock(pub u64);

impl core::fmt::Display for NoBlock {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "got a page at {}, expected a multiple of {BLOCK} below the last", self.0)
    }
}

impl core::error::Error for NoBlock {}

impl PartialEq for RangeSet {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for RangeSet {}

impl Hash for RangeSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.iter().for_each(|range| range.hash(state));
        // An end, so that two sets in a row are not one.
        (0..0_u64).hash(state);
    }
}

impl core::fmt::Debug for RangeSet {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl FromIterator<Range<u64>> for RangeSet {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(ranges: I) -> Self {
        let mut set = Self::new();
        for range in ranges {
            set.insert(range);
        }
        set
    }
}

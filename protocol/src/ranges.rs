//! Sets of sequences, held as ranges: what was stored, dead-lettered, lost, shipped.
//!
//! Readings mostly arrive in order, so a set is a few ranges however many sequences it holds, and adding at
//! the end is the fast path.

use core::ops::Range;

/// So many ranges are added one by one, which moves all behind each of them.
const FEW: usize = 4;

/// A set of numbers as sorted, disjoint, non-adjacent, non-empty ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RangeSet {
    ranges: Vec<Range<u64>>,
}

impl RangeSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many numbers are in it.
    pub fn len(&self) -> u64 {
        self.ranges.iter().map(|r| r.end - r.start).sum()
    }

    /// The ranges, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Range<u64>> + ExactSizeIterator + '_ {
        self.ranges.iter().cloned()
    }

    /// How many ranges it takes to say it: what bounds its memory.
    pub fn range_count(&self) -> usize {
        self.ranges.len()
    }

    /// The index of the first range that ends after `at`.
    fn position(&self, at: u64) -> usize {
        match self.ranges.last() {
            Some(last) if last.end <= at => self.ranges.len(),
            Some(last) if last.start <= at => self.ranges.len() - 1,
            _ => self.ranges.partition_point(|r| r.end <= at),
        }
    }

    /// Whether `number` is in the set.
    pub fn contains(&self, number: u64) -> bool {
        self.ranges.get(self.position(number)).is_some_and(|r| r.start <= number)
    }

    /// Whether every number of `range` is in the set; true of an empty range.
    pub fn contains_all(&self, range: Range<u64>) -> bool {
        range.is_empty()
            || self.ranges.get(self.position(range.start)).is_some_and(|r| r.start <= range.start && range.end <= r.end)
    }

    /// Whether any number of `range` is in the set.
    pub fn intersects(&self, range: Range<u64>) -> bool {
        !range.is_empty() && self.ranges.get(self.position(range.start)).is_some_and(|r| r.start < range.end)
    }

    /// Adds every number of `range`.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        if let Some(last) = self.ranges.last_mut()
            && last.start <= range.start
            && range.start <= last.end
        {
            last.end = last.end.max(range.end);
            return;
        }
        // Everything from `from` to `to` touches the range and becomes one with it.
        let from = self.ranges.partition_point(|r| r.end < range.start);
        let to = from + self.ranges[from..].partition_point(|r| r.start <= range.end);
        let start = self.ranges[from..to].first().map_or(range.start, |r| r.start.min(range.start));
        let end = self.ranges[from..to].last().map_or(range.end, |r| r.end.max(range.end));
        self.ranges.splice(from..to, core::iter::once(start..end));
    }

    /// Takes every number of `range` out.
    pub fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let from = self.ranges.partition_point(|r| r.end <= range.start);
        let to = from + self.ranges[from..].partition_point(|r| r.start < range.end);
        let touched = &self.ranges[from..to];
        let left = touched.first().map(|r| r.start..range.start).filter(|r| !r.is_empty());
        let right = touched.last().map(|r| range.end..r.end).filter(|r| !r.is_empty());
        self.ranges.splice(from..to, left.into_iter().chain(right));
    }

    /// Adds every number of `other`: in one pass over both, however the ranges lie.
    pub fn union(&mut self, other: &Self) {
        let Some(first) = other.ranges.first() else { return };
        if other.ranges.len() <= FEW || self.ranges.last().is_none_or(|last| last.start <= first.start) {
            other.ranges.iter().for_each(|range| self.insert(range.clone()));
            return;
        }
        // What lies in front of `other` stays.
        let from = self.ranges.partition_point(|r| r.end < first.start);
        let own = self.ranges.split_off(from);
        self.ranges.reserve(own.len() + other.ranges.len());
        let (mut own, mut other) = (own.into_iter().peekable(), other.ranges.iter().cloned().peekable());
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
        let mut next = self.position(range.start);
        core::iter::from_fn(move || {
            while at < range.end {
                let Some(held) = self.ranges.get(next).filter(|r| r.start < range.end) else {
                    return Some(core::mem::replace(&mut at, range.end)..range.end);
                };
                let gap = at..held.start;
                at = at.max(held.end);
                next += 1;
                if !gap.is_empty() {
                    return Some(gap);
                }
            }
            None
        })
    }

    /// The parts of `range` that are in the set, ascending.
    pub fn overlaps(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let from = if range.is_empty() { self.ranges.len() } else { self.position(range.start) };
        self.ranges[from..]
            .iter()
            .take_while(move |r| r.start < range.end)
            .map(move |r| r.start.max(range.start)..r.end.min(range.end))
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

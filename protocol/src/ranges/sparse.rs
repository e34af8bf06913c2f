//! Numbers as sorted, disjoint, non-adjacent, non-empty ranges.

use core::ops::Range;

#[derive(Clone, Debug, Default)]
pub(super) struct Sparse {
    ranges: Vec<Range<u64>>,
}

impl Sparse {
    pub(super) const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    pub(super) fn ranges(&self) -> &[Range<u64>] {
        &self.ranges
    }

    pub(super) fn get(&self, at: usize) -> Option<Range<u64>> {
        self.ranges.get(at).cloned()
    }

    /// The index of the first range that ends after `at`.
    pub(super) fn position(&self, at: u64) -> usize {
        match self.ranges.last() {
            Some(last) if last.end <= at => self.ranges.len(),
            Some(last) if last.start <= at => self.ranges.len() - 1,
            _ => self.ranges.partition_point(|r| r.end <= at),
        }
    }

    /// The range that holds `number`.
    pub(super) fn find(&self, number: u64) -> Option<Range<u64>> {
        self.get(self.position(number)).filter(|r| r.start <= number)
    }

    /// Adds every number of `range`, which is not empty. Whether that took a range more.
    pub(super) fn insert(&mut self, range: Range<u64>) -> bool {
        if let Some(last) = self.ranges.last_mut()
            && last.start <= range.start
            && range.start <= last.end
        {
            last.end = last.end.max(range.end);
            return false;
        }
        // Everything from `from` to `to` touches the range and becomes one with it.
        let from = self.ranges.partition_point(|r| r.end < range.start);
        let to = from + self.ranges[from..].partition_point(|r| r.start <= range.end);
        let start = self.ranges[from..to].first().map_or(range.start, |r| r.start.min(range.start));
        let end = self.ranges[from..to].last().map_or(range.end, |r| r.end.max(range.end));
        self.ranges.splice(from..to, core::iter::once(start..end));
        from == to
    }

    /// Takes every number of `range`, which is not empty, out. Whether that took a range more.
    pub(super) fn remove(&mut self, range: Range<u64>) -> bool {
        let from = self.ranges.partition_point(|r| r.end <= range.start);
        let to = from + self.ranges[from..].partition_point(|r| r.start < range.end);
        let touched = &self.ranges[from..to];
        let left = touched.first().map(|r| r.start..range.start).filter(|r| !r.is_empty());
        let right = touched.last().map(|r| range.end..r.end).filter(|r| !r.is_empty());
        let is_split = to == from + 1 && left.is_some() && right.is_some();
        self.ranges.splice(from..to, left.into_iter().chain(right));
        is_split
    }

    /// Whether at least `most` ranges, and not none, lie in `range` or reach into it.
    pub(super) fn has_in(&self, range: &Range<u64>, most: usize) -> bool {
        // Mostly it is at the end.
        let to = match self.ranges.last() {
            Some(last) if last.start < range.end => self.ranges.len(),
            _ => self.ranges.partition_point(|r| r.start < range.end),
        };
        to.checked_sub(most).is_some_and(|first| self.ranges[first].end > range.start)
    }
}

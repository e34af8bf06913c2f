//! The ranges of a set in order, whichever way each of them is held.

use core::ops::Range;

use super::RangeSet;

/// The parts of a set that lie in a range, ascending and joined.
pub(super) struct Runs<'a> {
    set: &'a RangeSet,
    /// What is next of the ranges, and the index behind it.
    sparse: Option<Range<u64>>,
    next_sparse: usize,
    /// What is next of the pages, and the index of its block.
    paged: Option<Range<u64>>,
    block: usize,
    end: u64,
}

impl<'a> Runs<'a> {
    pub(super) fn within(set: &'a RangeSet, range: Range<u64>) -> Self {
        let Range { start, end } = range;
        let is_empty = start >= end;
        let next_sparse = if is_empty { usize::MAX } else { set.sparse.position(start) };
        let block = if is_empty { usize::MAX } else { set.pages.position(start) };
        let mut runs = Self { set, sparse: None, next_sparse, paged: None, block, end };
        runs.step_sparse();
        if let Some(sparse) = &mut runs.sparse {
            sparse.start = sparse.start.max(start);
        }
        runs.step_paged(start);
        runs
    }

    fn step_sparse(&mut self) {
        self.sparse = self.set.sparse.get(self.next_sparse).filter(|range| range.start < self.end);
        self.next_sparse = self.next_sparse.saturating_add(1);
    }

    fn step_paged(&mut self, from: u64) {
        self.paged = loop {
            if self.block >= self.set.pages.len() {
                break None;
            }
            if let Some(run) = self.set.pages.run_from(self.block, from) {
                break Some(run).filter(|run| run.start < self.end);
            }
            self.block += 1;
        };
    }

    /// The next part as it is held: two may touch.
    fn step(&mut self) -> Option<Range<u64>> {
        let is_paged = match (&self.sparse, &self.paged) {
            (Some(sparse), Some(paged)) => paged.start < sparse.start,
            (None, None) => return None,
            (sparse, _) => sparse.is_none(),
        };
        if !is_paged {
            let part = self.sparse.take();
            self.step_sparse();
            return part;
        }
        let part = self.paged.take()?;
        self.step_paged(part.end);
        Some(part)
    }
}

impl Iterator for Runs<'_> {
    type Item = Range<u64>;

    fn next(&mut self) -> Option<Range<u64>> {
        let mut run = self.step()?;
        // Nothing touches a range but a page.
        while self.sparse.as_ref().is_some_and(|next| next.start == run.end)
            || self.paged.as_ref().is_some_and(|next| next.start == run.end)
        {
            run.end = self.step().map_or(run.end, |next| next.end);
        }
        run.end = run.end.min(self.end);
        Some(run)
    }
}

//! Sequences that the rules of an agent left out, as a loss log says them: a decision that settles them as a reading does.
//!
//! They are in S, and the loss log has a share of S as a topic of readings has one ([`super::shares`]): channels that
//! take turns, one stored and one left out, would take a range for every reading in any set of their own. So what lies
//! here may be known only roughly. How many they are is always exact.

use std::ops::Range;

use weir_protocol::RangeSet;

use super::shares;

/// What a loss log says was left out of one restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    ranges: RangeSet,
    count: u64,
    is_coarse: bool,
}

impl Settled {
    /// What a checkpoint says.
    ///
    /// # Errors
    /// Got and expected, if it contradicts itself.
    pub(crate) fn said(ranges: RangeSet, count: u64, is_coarse: bool) -> Result<Self, String> {
        let covered = ranges.len();
        match is_coarse || count == covered {
            true => Ok(Self { ranges, count, is_coarse }),
            false => Err(format!("got {count} sequences left out, expected {covered}")),
        }
    }

    /// Adds what a record says. Said once more, because the first record is damaged, it adds nothing: that happens only
    /// where it is known exactly.
    pub(crate) fn insert(&mut self, range: Range<u64>) {
        let new = match self.is_coarse {
            true => range.end.saturating_sub(range.start),
            false => self.ranges.gaps(range.clone()).map(|gap| gap.end - gap.start).sum(),
        };
        self.count = self.count.saturating_add(new);
        self.ranges.insert(range);
    }

    /// Makes more than `most` ranges coarse: a superset, of which only what `said` says counts.
    pub(crate) fn coarsen(&mut self, said: Option<&Self>, most: usize) {
        if self.ranges.range_count() > most {
            self.is_coarse = true;
            let wider = shares::coarse(&self.ranges, most / 2);
            self.ranges = said.map_or(RangeSet::new(), |said| wider.intersection(&said.ranges));
        }
    }

    /// The sequences; if they are coarse, also some that are settled elsewhere.
    pub(crate) fn ranges(&self) -> &RangeSet {
        &self.ranges
    }

    /// How many they are.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn is_coarse(&self) -> bool {
        self.is_coarse
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_once_more_counts_once_and_a_checkpoint_that_counts_wrong_is_refused() {
        let mut settled = Settled::default();
        for range in [1..2, 3..5, 3..5, 4..7] {
            settled.insert(range);
        }
        assert_eq!((settled.count(), settled.ranges().len()), (5, 5));
        assert_eq!(Settled::said(settled.ranges.clone(), 5, false), Ok(settled.clone()));
        let refused = Settled::said(settled.ranges.clone(), 6, false);
        assert_eq!(refused, Err("got 6 sequences left out, expected 5".to_owned()));
    }

    #[test]
    fn what_is_coarse_keeps_its_count_and_says_nothing_that_was_not_said() {
        let mut settled = Settled::default();
        (0..20).step_by(2).for_each(|sequence| settled.insert(sequence..sequence + 1));
        let said = Settled::said([0..9, 12..40].into_iter().collect(), 37, false).unwrap();
        settled.coarsen(Some(&said), 4);
        assert!(settled.is_coarse());
        assert_eq!((settled.count(), settled.ranges()), (10, &[0..9, 12..19].into_iter().collect()));
        settled.insert(40..42);
        assert_eq!(settled.count(), 12);
    }
}

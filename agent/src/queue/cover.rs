//! Covering sets: fewer ranges that hold everything a set holds, and perhaps more.
//!
//! What an agent says that it holds, or has lost, may be more than is true: the gateway counts only what it does
//! not have, and a later delivery heals. So ranges are bounded by merging the nearest ones.

use weir_protocol::RangeSet;

/// Ranges as they are stored: first, and first behind.
pub(super) type Pairs = Vec<(u64, u64)>;

/// The ranges of a set, to store them.
pub(super) fn pairs(set: &RangeSet) -> Pairs {
    set.iter().map(|range| (range.start, range.end)).collect()
}

/// Leaves at most `most` ranges (at least one), by filling the smallest gaps. True if something was added.
pub fn coarsen(set: &mut RangeSet, most: usize) -> bool {
    let surplus = set.range_count().saturating_sub(most.max(1));
    if surplus == 0 {
        return false;
    }
    let ends = set.iter().map(|range| range.end);
    let mut gaps: Vec<_> = ends.zip(set.iter().skip(1)).map(|(end, next)| end..next.start).collect();
    gaps.sort_by_key(|gap| gap.end - gap.start);
    gaps.truncate(surplus);
    // In order, so that each is added next to what is there.
    gaps.sort_by_key(|gap| gap.start);
    gaps.into_iter().for_each(|gap| set.insert(gap));
    true
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)] // a list of ranges may well have one
mod tests {
    use super::*;

    fn set(ranges: &[std::ops::Range<u64>]) -> RangeSet {
        ranges.iter().cloned().collect()
    }

    #[test]
    fn the_nearest_ranges_become_one_and_nothing_is_left_out() {
        let mut some = set(&[0..2, 5..6, 7..8, 100..200, 202..203]);
        assert!(coarsen(&mut some, 3));
        assert_eq!(some, set(&[0..2, 5..8, 100..203]));
        assert!(coarsen(&mut some, 0));
        assert_eq!(some, set(&[0..203]));
        assert!(!coarsen(&mut some, 1));
    }
}

//! Range sets against the obvious set of numbers, and what they cost.
#![cfg(feature = "std")]

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use proptest::prelude::*;
use weir_protocol::RangeSet;
use weir_protocol::ranges::BLOCK;

/// Numbers that the model has.
const NUMBERS: u64 = 5 * BLOCK - 1;
/// Units of a block: its page, or fewer ranges than would become one.
const PER_BLOCK: usize = 34;

/// An operation on a set of small numbers.
#[derive(Clone, Debug)]
enum Op {
    Insert(Range<u64>),
    Remove(Range<u64>),
    /// Every so many numbers of a range.
    InsertTurns(Range<u64>, usize),
    RemoveTurns(Range<u64>, usize),
    /// The union with such turns.
    Union(Range<u64>, usize),
    /// What is there once more, as it would be read from a file.
    Store,
}

fn range() -> impl Strategy<Value = Range<u64>> {
    // Short ones, some blocks, and what begins or ends with a block.
    let length = prop_oneof![0..12u64, 60..400u64, 0..3 * BLOCK];
    let start = prop_oneof![3 => 0..NUMBERS, 1 => (0..5u64).prop_map(|block| block * BLOCK)];
    (start, length, any::<bool>()).prop_map(|(start, length, to_block)| {
        let end = (start + length).min(NUMBERS);
        start..if to_block && length > 400 { (end / BLOCK * BLOCK).max(start) } else { end }
    })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => range().prop_map(Op::Insert),
        4 => range().prop_map(Op::Remove),
        6 => (range(), 2..6usize).prop_map(|(range, step)| Op::InsertTurns(range, step)),
        3 => (range(), 2..6usize).prop_map(|(range, step)| Op::RemoveTurns(range, step)),
        2 => (range(), 1..6usize).prop_map(|(range, step)| Op::Union(range, step)),
        1 => Just(Op::Store),
    ]
}

/// A set and the obvious one; the numbers of the set begin with `base`.
struct Pair {
    base: u64,
    set: RangeSet,
    model: Vec<bool>,
}

impl Pair {
    fn at(&self, range: &Range<u64>) -> Range<u64> {
        self.base + range.start..self.base + range.end
    }

    fn put(&mut self, range: Range<u64>, is_in: bool) {
        let at = self.at(&range);
        if is_in {
            self.set.insert(at)
        } else {
            self.set.remove(at)
        }
        (range.start..range.end).for_each(|number| self.model[number as usize] = is_in);
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Insert(range) => self.put(range, true),
            Op::Remove(range) => self.put(range, false),
            Op::InsertTurns(range, step) => range.step_by(step).for_each(|number| self.put(number..number + 1, true)),
            Op::RemoveTurns(range, step) => range.step_by(step).for_each(|number| self.put(number..number + 1, false)),
            Op::Union(range, step) => {
                let other: RangeSet =
                    range.clone().step_by(step).map(|number| self.at(&(number..number + 1))).collect();
                self.set.union(&other);
                range.step_by(step).for_each(|number| self.model[number as usize] = true);
            }
            Op::Store => {
                let mut read: RangeSet = self.set.sparse().iter().cloned().collect();
                for (first, bits) in self.set.pages() {
                    read.insert_page(first, bits).expect("a block");
                }
                assert_eq!(read, self.set);
                self.set = read;
            }
        }
    }

    /// What of the range is in the obvious set, or what is not.
    fn parts(&self, range: Range<u64>, is_in: bool) -> Vec<Range<u64>> {
        let mut parts: Vec<Range<u64>> = Vec::new();
        for number in range.filter(|number| self.model[*number as usize] == is_in) {
            let at = self.base + number;
            match parts.last_mut().filter(|last| last.end == at) {
                Some(last) => last.end = at + 1,
                None => parts.push(at..at + 1),
            }
        }
        parts
    }

    fn check(&self, probes: &[Range<u64>]) -> Result<(), TestCaseError> {
        let (set, all) = (&self.set, self.parts(0..NUMBERS, true));
        prop_assert_eq!(set.iter().collect::<Vec<_>>(), all.clone());
        prop_assert_eq!(set.range_count(), all.len());
        prop_assert_eq!(set.len(), all.iter().map(|range| range.end - range.start).sum::<u64>());
        prop_assert_eq!((set.end(), set.is_empty()), (all.last().map(|last| last.end), all.is_empty()));
        let in_no_page = if self.base > 0 { BLOCK as usize / 2 } else { 0 };
        prop_assert!(set.cost() <= PER_BLOCK * 5 + in_no_page, "costs {} in {} ranges", set.cost(), all.len());
        let built: RangeSet = all.iter().rev().cloned().collect();
        prop_assert_eq!(&built, set);
        let hasher = RandomState::new();
        prop_assert_eq!(hasher.hash_one(&built), hasher.hash_one(set));
        for probe in probes {
            let (at, inside) = (self.at(probe), self.parts(probe.clone(), true));
            prop_assert_eq!(set.overlaps(at.clone()).collect::<Vec<_>>(), inside.clone());
            prop_assert_eq!(set.gaps(at.clone()).collect::<Vec<_>>(), self.parts(probe.clone(), false));
            prop_assert_eq!(set.intersects(at.clone()), !inside.is_empty());
            prop_assert_eq!(set.contains_all(at.clone()), at.is_empty() || inside == [at.clone()]);
            for number in [probe.start, probe.end] {
                let is_in = self.model.get(number as usize).is_some_and(|is_in| *is_in);
                prop_assert_eq!(set.contains(self.base + number), is_in);
            }
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn a_range_set_is_a_set(
        ops in prop::collection::vec(op(), 0..24),
        probes in prop::collection::vec(range(), 8),
        is_last in any::<bool>(),
    ) {
        // The last numbers that there are lie in no page.
        let base = if is_last { (u64::MAX / BLOCK - 4) * BLOCK } else { 0 };
        let mut pair = Pair { base, set: RangeSet::new(), model: vec![false; NUMBERS as usize] };
        ops.into_iter().for_each(|op| pair.apply(op));
        pair.check(&probes)?;
        pair.put(0..NUMBERS, true);
        prop_assert_eq!((pair.set.cost(), pair.set.range_count()), (1, 1), "what is closed is one range");
        pair.put(0..NUMBERS, false);
        prop_assert_eq!(pair.set.cost(), 0);
    }
}

/// What does not lie in a page is bounded by ranges, whatever is in them.
#[test]
fn a_claim_on_nearly_all_numbers_is_one_range() {
    let mut set: RangeSet = (0..BLOCK).step_by(2).map(|at| at..at + 1).collect();
    set.insert(1..u64::MAX);
    assert_eq!((set.cost(), set.len(), set.end()), (1, u64::MAX, Some(u64::MAX)));
    set.remove(7..u64::MAX - 7);
    assert_eq!(set.iter().collect::<Vec<_>>(), [0..7, u64::MAX - 7..u64::MAX]);
}

/// One channel of some is never stored.
#[test]
fn turns_that_repeat_cost_a_page_for_each_phase() {
    const ALL: u64 = 1 << 20;
    for period in [2, 3, 7, 10, 64, 100] {
        let mut set = RangeSet::new();
        for first in (0..ALL).step_by(period as usize) {
            set.insert(first + 1..first + period);
        }
        let blocks = (ALL / BLOCK) as usize;
        let phases = (1..=period).find(|blocks| (blocks * BLOCK).is_multiple_of(period)).unwrap_or(period) as usize;
        // The last two blocks may still change.
        assert!(set.cost() <= blocks + PER_BLOCK * (phases + 3), "period {period}: {}", set.cost());
        assert_eq!(set.range_count() as u64, ALL.div_ceil(period));
        // One that differs has a page of its own, and the others stay as they are.
        let before = set.cost();
        let number = ALL / 2 / period * period;
        set.insert(number..number + 1);
        set.insert(ALL..ALL + 1);
        assert!(set.cost() <= before + PER_BLOCK, "period {period}");
        assert!(set.contains(number) && !set.contains(number + BLOCK / period * period * period));
    }
}

#[test]
fn what_repeats_in_no_way_costs_an_eighth_of_a_byte() {
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 60
    };
    let (mut set, mut all) = (RangeSet::new(), 0);
    while all < 1 << 20 {
        let start = all + 1 + random() % 2;
        all = start + 1 + random() % 2;
        set.insert(start..all);
    }
    let bytes = 16 * set.cost() as u64;
    assert!((all / 8..all / 7).contains(&bytes), "{bytes} for {all} sequences");
}

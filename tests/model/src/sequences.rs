//! A set of the few sequences that a model world has.

use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign, Range, Sub, SubAssign};

/// Sequences below 8.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Set(u8);

impl Set {
    pub(crate) const EMPTY: Self = Self(0);

    pub(crate) const fn of(sequence: u8) -> Self {
        Self(1 << sequence)
    }

    pub(crate) fn range(range: Range<u8>) -> Self {
        range.map(Self::of).fold(Self::EMPTY, |set, one| set | one)
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) const fn len(self) -> u8 {
        self.0.count_ones() as u8
    }

    pub(crate) const fn contains(self, sequence: u8) -> bool {
        self.0 >> sequence & 1 == 1
    }

    pub(crate) fn contains_all(self, other: Self) -> bool {
        (other - self).is_empty()
    }

    pub(crate) fn meets(self, other: Self) -> bool {
        !(self & other).is_empty()
    }

    pub(crate) fn lowest(self) -> Option<u8> {
        (!self.is_empty()).then(|| self.0.trailing_zeros() as u8)
    }

    /// The sequences from the lowest to the highest of the set, holes filled.
    pub(crate) fn covering(self) -> Self {
        self.lowest().map_or(Self::EMPTY, |lowest| Self::range(lowest..8 - self.0.leading_zeros() as u8))
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = u8> {
        (0..8).filter(move |sequence| self.contains(*sequence))
    }
}

impl BitOr for Set {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Set {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl BitAnd for Set {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Sub for Set {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl SubAssign for Set {
    fn sub_assign(&mut self, other: Self) {
        self.0 &= !other.0;
    }
}

impl fmt::Debug for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

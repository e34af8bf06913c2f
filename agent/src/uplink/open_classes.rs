//! A set of classes of the queue: those that may be sent now.

use crate::queue::ClassId;

/// Classes, one bit each; a queue has at most nine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenClasses(u64);

impl OpenClasses {
    /// All there may be.
    pub const ALL: Self = Self(u64::MAX);
    /// None.
    pub const NONE: Self = Self(0);

    /// One.
    pub const fn one(class: ClassId) -> Self {
        Self(1 << (class.0 % 64))
    }

    /// Whether a class is in it.
    pub const fn has(self, class: ClassId) -> bool {
        self.0 & Self::one(class).0 != 0
    }

    /// What is in both.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in either.
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is not in `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

//! How groups and their members are called.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The longest group id, member id or instance id, in bytes.
pub const MAX_NAME_BYTES: usize = 255;
/// What of a client's own name goes into the member id, in bytes.
const MAX_PREFIX_BYTES: usize = 64;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// From its text; `None` if that is empty or longer than [`MAX_NAME_BYTES`].
            pub fn new(text: &str) -> Option<Self> {
                (1..=MAX_NAME_BYTES).contains(&text.len()).then(|| Self(text.into()))
            }

            /// Its text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name! {
    /// A group of consumers.
    GroupId
}
name! {
    /// One consumer of a group, as the coordinator calls it; new whenever a consumer starts.
    MemberId
}
name! {
    /// A static member: one consumer over its restarts, as its operator calls it (`group.instance.id`).
    InstanceId
}

impl MemberId {
    /// A new name, which starts as its client or its instance is called and ends in 128 random bits.
    pub(super) fn generate(prefix: &str, random: u128) -> Self {
        let end = (0..=prefix.len().min(MAX_PREFIX_BYTES)).rev().find(|end| prefix.is_char_boundary(*end));
        Self(format!("{}-{random:032x}", &prefix[..end.unwrap_or(0)]).into())
    }
}

/// Counts the assignments that a group has had; members of an earlier one are told so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(pub i32);

impl Generation {
    /// What consumers say that assign their partitions by themselves.
    pub const NONE: Self = Self(-1);

    pub(super) fn next(self) -> Self {
        // After 2^31 rebalances it starts anew: members compare for equality only.
        Self(self.0.checked_add(1).unwrap_or(1))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_a_member_id_cuts_its_prefix_between_characters() {
        assert!(GroupId::new("").is_none());
        assert!(GroupId::new(&"g".repeat(255)).is_some());
        assert!(GroupId::new(&"g".repeat(256)).is_none());
        let member = MemberId::generate(&"ü".repeat(40), 7);
        assert_eq!(member.as_str(), format!("{}-{:032x}", "ü".repeat(32), 7));
        assert_eq!(MemberId::generate("", 1).as_str(), format!("-{:032x}", 1));
        assert_eq!(Generation(i32::MAX).next(), Generation(1));
    }
}

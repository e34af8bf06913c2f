//! What is answered, one file for each API but Fetch ([`super::fetch`]).
//!
//! What it guarantees: an answer is as large as what is asked about, and not as often as it is named ([`once`]); a request
//! of 1 MiB could name a large group 65,536 times.

pub(super) mod describe_cluster;
pub(super) mod describe_configs;
pub(super) mod find_coordinator;
pub mod groups;
pub(super) mod list_offsets;
pub(super) mod metadata;
pub(super) mod produce;

use std::collections::HashSet;
use std::hash::Hash;

use super::cluster::EPOCH;
use super::messages::ErrorCode;
use crate::topics::{Partition, Topic};

/// The partition with that number.
pub(super) fn partition(topic: Option<&Topic>, index: i32) -> Option<&Partition> {
    topic?.partitions().get(usize::try_from(index).ok()?)
}

/// What is asked about, each once: where it was named first.
pub(super) fn once<T, K: Eq + Hash>(mut asked: Vec<T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let mut named = HashSet::new();
    asked.retain(|each| named.insert(key(each)));
    asked
}

/// Whether a client knows the epoch of the leader rightly; -1 says that it knows none.
pub(super) fn check_epoch(known: i32) -> Result<(), ErrorCode> {
    match known {
        EPOCH.. if known > EPOCH => Err(ErrorCode::UnknownLeaderEpoch),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_often_is_asked_about_once_and_in_its_order() {
        let asked = ["lake", "mill", "lake", "dam", "mill"].map(str::to_owned).to_vec();
        assert_eq!(once(asked, String::clone), ["lake", "mill", "dam"]);
    }
}

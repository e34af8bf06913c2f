//! What is answered, one file for each API but Fetch ([`super::fetch`]).

pub(super) mod describe_cluster;
pub(super) mod describe_configs;
pub(super) mod find_coordinator;
pub mod groups;
pub(super) mod list_offsets;
pub(super) mod metadata;
pub(super) mod produce;

use super::cluster::EPOCH;
use super::messages::ErrorCode;
use crate::topics::{Partition, Topic};

/// The partition with that number.
pub(super) fn partition(topic: Option<&Topic>, index: i32) -> Option<&Partition> {
    topic?.partitions().get(usize::try_from(index).ok()?)
}

/// Whether a client knows the epoch of the leader rightly; -1 says that it knows none.
pub(super) fn check_epoch(known: i32) -> Result<(), ErrorCode> {
    match known {
        EPOCH.. if known > EPOCH => Err(ErrorCode::UnknownLeaderEpoch),
        _ => Ok(()),
    }
}

//! Bounds and pace of groups.

use std::time::Duration;

/// Bounds and pace of groups; the settings `groups.*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Groups in all, those included that have nothing but offsets.
    pub groups: usize,
    /// Members of one group, those included that have yet to come back under the name they got.
    pub members: usize,
    /// Bytes that the members of one group take with their subscriptions and assignments.
    pub group_bytes: usize,
    /// Bytes that they take in all groups together.
    pub bytes: usize,
    /// The shortest session timeout that a member may ask for.
    pub session_timeout_min: Duration,
    /// The longest.
    pub session_timeout_max: Duration,
    /// The longest time that a rebalance waits for members; one that asks for more gets this.
    pub rebalance_timeout_max: Duration,
    /// How long an empty group waits for more members before its first assignment.
    pub initial_rebalance_delay: Duration,
    /// Partitions with an offset of one group.
    pub offsets_per_group: usize,
    /// The same in all groups together.
    pub offsets: usize,
    /// How long the offsets of a group without members are kept.
    pub offsets_retention: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            groups: 10_000,
            members: 2000,
            group_bytes: 16 << 20,
            bytes: 64 << 20,
            session_timeout_min: Duration::from_secs(1),
            session_timeout_max: Duration::from_secs(30 * 60),
            rebalance_timeout_max: Duration::from_secs(60 * 60),
            initial_rebalance_delay: Duration::from_millis(500),
            offsets_per_group: 10_000,
            offsets: 1_000_000,
            offsets_retention: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

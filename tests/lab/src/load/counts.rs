//! What is told of a load: each second, and in all.

use std::collections::BTreeMap;

use serde::Serialize;

/// One second of a load.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Second {
    /// Which, from 0.
    pub second: u64,
    /// Readings that were due in it.
    pub due: u64,
    /// Readings that were sent for the first time in it.
    pub sent: u64,
    /// Readings that were acknowledged in it.
    pub acknowledged: u64,
    /// Connections at its end.
    pub connected: u64,
    /// Median from due to acknowledged of those acknowledged in it, in microseconds.
    pub p50_us: u64,
    /// The same of 99 in 100.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
    /// Readings that a consumer got in it, if one follows the load.
    pub consumed: u64,
    /// Median from due to consumed of those, in microseconds.
    pub consumed_p50_us: u64,
    /// The same of 99 in 100.
    pub consumed_p99_us: u64,
}

/// What has happened so far.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counts {
    /// Readings sent at least once.
    pub sent: u64,
    /// Readings sent once more, after a connection was lost.
    pub sent_again: u64,
    /// Readings acknowledged.
    pub acknowledged: u64,
    /// Messages acknowledged.
    pub messages: u64,
    /// Readings of messages that were answered "dead-lettered".
    pub dead_lettered: u64,
    /// Readings acknowledged later than the limit after they were due.
    pub late: u64,
    /// Connections that stand.
    pub connected: u64,
    /// Connections that were let in.
    pub connects: u64,
    /// Why connections were refused or ended, and messages refused, with how often.
    pub refusals: BTreeMap<String, u64>,
}

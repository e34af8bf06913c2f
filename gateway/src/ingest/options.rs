//! Bounds of ingest, each with its default.

use std::time::Duration;

use serde::Deserialize;

use crate::schemas::evolution::Compatibility;
use weir_storage::{JournalOptions, LogOptions, RecoveryMode};

use crate::topics::Retention;
use crate::topics::layout::{Asked, Routing};

/// How ingest is run.
#[derive(Clone, Debug)]
pub struct IngestOptions {
    /// Partitions of each topic that is not defined otherwise, 1 to [`crate::topics::definition::MAX_PARTITIONS`];
    /// fixed once they exist.
    pub partitions: u32,
    /// Which readings go to topics of their own, and what those have of their own.
    pub routing: Routing,
    /// How each partition is kept. `expose_on_commit` is overruled: ingest exposes, after it has moved state.
    pub log: LogOptions,
    /// The journal of all partitions; without one each partition is synced for itself.
    pub journal: Option<JournalOptions>,
    /// Payload bytes of all connections between submit and verdict.
    pub total_budget: usize,
    /// Payload bytes of one connection between submit and verdict; at least one message is let in.
    pub connection_budget: usize,
    /// How long a batch waits for the description of its schema, on the monotonic clock.
    pub describe_wait: Duration,
    /// How long to wait before a full disk or a log at its cap is tried again.
    pub full_retry: Duration,
    /// Bounds of the state that is held for devices.
    pub limits: Limits,
    /// What each partition of a topic may keep that is not defined otherwise; `weir.describe` keeps everything.
    pub retention: Retention,
    /// Whether changes of channels are judged.
    pub compatibility: Compatibility,
    /// Who may write a device.
    pub binding: Binding,
    /// A fault to plant, for tests of those who should catch it.
    #[cfg(feature = "plant")]
    pub plant: Option<super::plant::Plant>,
}

/// Who may write a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Binding {
    /// Any agent of its tenant.
    #[default]
    None,
    /// Its owner: the first agent that described it, until it is moved. Nothing of a device can be stored as readings before
    /// it was described.
    FirstWriter,
}

/// Bounds of the state that is held for devices. What is over a bound is refused, never forgotten: a
/// forgotten range would let a repeat in.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Devices in all.
    pub devices: usize,
    /// Restarts of one device.
    pub restarts_per_device: usize,
    /// Restarts of all devices together: without it, devices times restarts would be the bound.
    pub restarts: usize,
    /// What one restart may cost over all its sets, in ranges of 16 bytes ([`weir_protocol::RangeSet::cost`]); its dead letters
    /// are held once more beside it. One batch may overshoot it by its own ranges, and a device that goes on in order, by
    /// four times.
    pub ranges_per_restart: usize,
    /// Schemas of one device.
    pub schemas_per_device: usize,
    /// Ranges of what one topic holds of a restart, before they are only known roughly; see `shares`.
    pub ranges_per_share: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            devices: 1_000_000,
            restarts_per_device: 4096,
            restarts: 4_000_000,
            ranges_per_restart: 1 << 16,
            schemas_per_device: 256,
            ranges_per_share: 1024,
        }
    }
}

impl IngestOptions {
    /// What the topics are to be.
    pub(crate) fn asked(&self) -> Asked<'_> {
        Asked { partitions: self.partitions, retention: self.retention, routing: &self.routing }
    }
}

impl Default for IngestOptions {
    fn default() -> Self {
        Self {
            partitions: 4,
            routing: Routing::default(),
            log: LogOptions { segment_bytes: 256 << 20, recovery: RecoveryMode::Tail, ..LogOptions::default() },
            journal: None,
            total_budget: 64 << 20,
            connection_budget: 4 << 20,
            describe_wait: weir_protocol::batch::describe::WAIT,
            full_retry: Duration::from_millis(500),
            limits: Limits::default(),
            retention: Retention::default(),
            compatibility: Compatibility::default(),
            binding: Binding::default(),
            #[cfg(feature = "plant")]
            plant: None,
        }
    }
}

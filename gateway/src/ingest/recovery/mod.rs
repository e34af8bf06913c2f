//! Recovery: what the logs say about every sequence, before anybody may send.
//!
//! Guarantees: S, D, L, ended restarts and descriptions are the union over all logs, each said by the newest
//! checkpoint that verifies and the records behind it; a checkpoint that cannot be believed costs reading time, down to
//! the checkpoint at the log's first offset or the whole log; without any of these, what was stored below the lowest
//! surviving sequence of a restart is unknown and nothing is appended there. Damage is skipped and reported.
//!
//! Damage that was accounted for after a readings checkpoint was written is taken out of it again: the loss log
//! says so from the checkpoint's loss offset on. What a checkpoint knows of records that are cut off (a flipped bit in
//! the last commit looks like a torn tail) is kept, and the log gets a checkpoint at its end before it goes on there:
//! the scrub then finds those records missing.
//!
//! The order in which schemas were described decides how they are judged. A checkpoint of version 1 does not say it where
//! a device has several, so its log, which nothing removes records from, is read from its beginning once more. So is that of
//! a checkpoint which does not say whose the devices are.

mod found;

use std::path::Path;

use thiserror::Error;
use weir_storage::{Fs, IoError, ReadError, Recovery, Redone};

use super::devices::Devices;
use super::options::Limits;
use crate::schemas::evolution::Compatibility;
use crate::topics::routes::Routes;
use crate::topics::{TopicId, Topics};
use found::Found;

/// What starting found in the logs.
#[derive(Clone, Debug, Default)]
pub struct RecoveryReport {
    /// What opening each partition found.
    pub partitions: Vec<PartitionReport>,
    /// What the journal held.
    pub redone: Redone,
    /// Readings stored, those included that retention removed.
    pub readings: u64,
    /// Sequences that agents' rules left out.
    pub reduced: u64,
    /// Sequences dead-lettered.
    pub dead_lettered: u64,
    /// Sequences counted lost.
    pub lost: u64,
    /// Devices that the log knows.
    pub devices: u64,
    /// Records read, which are those behind the checkpoints.
    pub records_read: u64,
    /// Records read whose checksum holds but which are none of ours; they stay where they are.
    pub malformed: u64,
}

/// What opening one partition found.
#[derive(Clone, Debug)]
pub struct PartitionReport {
    /// The name of the topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// What opening the log found: truncated tails and damage.
    pub recovery: Recovery,
    /// The offset of the checkpoint that was used; `None` if the log was read from its beginning.
    pub checkpoint: Option<u64>,
    /// Checkpoints that could not be believed, and why.
    pub bad_checkpoints: Vec<String>,
    /// The log ends before its checkpoint does, or before that of another topic: its last records were damaged and
    /// look like a torn tail.
    pub is_cut: bool,
    /// Offsets that were cut off and whose identities nobody can tell, because another topic's checkpoint holds them.
    pub unnamed_offsets: u64,
    /// There are no records and no checkpoint of what was stored here at first.
    pub history_unknown: bool,
}

/// Where recovery reads.
pub(crate) struct Source<'a> {
    pub(crate) fs: &'a dyn Fs,
    pub(crate) data: &'a Path,
    pub(crate) topics: &'a Topics,
    pub(crate) routes: &'a Routes,
    /// Whether the logs are somebody else's, perhaps: then nothing is written.
    pub(crate) is_read_only: bool,
}

/// What recovery hands on.
pub(crate) struct Recovered {
    pub(crate) devices: Devices,
    pub(crate) report: RecoveryReport,
    /// For each log, the checkpoint that was used.
    pub(crate) bases: Vec<Base>,
}

/// The checkpoint that a log was recovered from; all zero without one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Base {
    /// Its offset.
    pub(crate) offset: Option<u64>,
    /// When it was written, in milliseconds since 1970.
    pub(crate) written_ms: i64,
    /// Base offsets of closed segments, and when each was closed, in milliseconds since 1970.
    pub(crate) closed: Vec<(u64, i64)>,
}

/// Why the state could not be rebuilt.
#[derive(Debug, Error)]
pub enum RecoverError {
    /// A log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The filesystem refused.
    #[error(transparent)]
    Io(#[from] IoError),
}

/// Rebuilds the state from checkpoints and everything behind them that can be read. `opened` says, log by log, what
/// opening found.
pub(crate) fn recover(
    source: &Source<'_>,
    limits: Limits,
    compatibility: Compatibility,
    opened: impl IntoIterator<Item = Recovery>,
) -> Result<Recovered, RecoverError> {
    let routes = source.routes;
    let mut opened = opened.into_iter();
    let mut logs = Vec::new();
    for log in 0..routes.logs() {
        logs.push(Found::choose(source, log, opened.next().unwrap_or_default())?);
    }
    found::notice_cuts(&mut logs, routes);
    let graves = routes.definition(TopicId::DEAD_LETTER).partitions;
    let mut recovered = Recovered {
        devices: Devices::new(limits, compatibility, graves),
        report: RecoveryReport::default(),
        bases: Vec::new(),
    };
    for (partition, log) in routes.logs_of(TopicId::LOSS).enumerate() {
        let from = logs.iter().filter_map(|found| found.loss_offset(partition)).min();
        let (damages, end) = logs[log].read_losses(&mut recovered.report, from)?;
        for found in &mut logs {
            found.forget(partition, end, &damages);
        }
    }
    // Losses are read already: what is behind them is nothing.
    for found in &mut logs {
        found.read_on(&mut recovered.report)?;
    }
    found::raise_floors(&mut logs, routes);
    let ends: Vec<_> = logs.iter().map(Found::end).collect();
    for (log, found) in logs.into_iter().enumerate() {
        found.settle(source, log, &ends)?;
        recovered.bases.push(found.base);
        recovered.devices.absorb(routes, log, found.state);
        recovered.report.partitions.push(found.report);
    }
    recovered.sum_up();
    Ok(recovered)
}

impl RecoveryReport {
    /// The places, in the list of all logs, of those in which opening found damage.
    pub(crate) fn damaged_logs(&self) -> Vec<usize> {
        let found = self.partitions.iter().enumerate();
        // A log that ends before its checkpoint lost its end.
        let cut = |found: &PartitionReport| found.is_cut;
        found.filter(|(_, found)| found.recovery.damage_count > 0 || cut(found)).map(|(log, _)| log).collect()
    }
}

impl Recovered {
    fn sum_up(&mut self) {
        let (devices, report) = (&mut self.devices, &mut self.report);
        report.devices = devices.len() as u64;
        for ledger in devices.iter_mut().flat_map(|device| device.restarts.values_mut()) {
            ledger.recount();
            report.readings += ledger.readings();
            report.reduced = report.reduced.saturating_add(ledger.reduced);
            // A device may claim any number; three such claims are more than a u64 holds.
            report.dead_lettered = report.dead_lettered.saturating_add(ledger.dead.len());
            report.lost = report.lost.saturating_add(ledger.lost.len());
        }
    }
}

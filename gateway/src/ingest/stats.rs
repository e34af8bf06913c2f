//! Counters of ingest, for metrics: written by the engine's thread, read by anyone.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::devices::OverLimit;
use super::{Failure, Reason};

/// What ingest did since it started. Readings, dead letters and losses count sequences and only after their
/// commit, but for dead letters that are not bound: those count when they are decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Batches and messages decided, whatever their verdict.
    pub batches: u64,
    /// Readings stored.
    pub readings: u64,
    /// Messages of MQTT clients stored.
    pub messages: u64,
    /// Those of the readings and messages that healed a dead letter or a loss.
    pub healed: u64,
    /// Readings and messages that were in the log already, or dead-lettered already and invalid again.
    pub repeats: u64,
    /// Sequences dead-lettered, by the place of the reason in [`Reason::ALL`].
    pub dead_lettered: [u64; Reason::ALL.len()],
    /// Parts of batches about devices that are bound to another agent: readings are dead letters, the rest is ignored.
    pub not_bound: u64,
    /// Sequences counted lost.
    pub lost: u64,
    /// Sequences that the rules of agents left out: decisions, not losses.
    pub reduced: u64,
    /// Sequences whose records cannot be read any more.
    pub damaged: u64,
    /// Offsets that cannot be read any more and whose identities nobody can tell.
    pub unnamed_offsets: u64,
    /// Messages refused over each bound, with its name.
    pub over_limit: [(&'static str, u64); 5],
    /// Checkpoints written.
    pub checkpoints: u64,
    /// Checkpoints that could not be written.
    pub checkpoint_failures: u64,
    /// Segments removed by retention.
    pub removed_segments: u64,
    /// Records taken out by compaction.
    pub compacted_records: u64,
    /// Logs in which retention waits for a checkpoint.
    pub retention_waiting: u64,
    /// Bytes that the scrub has read.
    pub scrubbed_bytes: u64,
    /// Restarts that ended with an unknown tail.
    pub tails_unknown: u64,
    /// Descriptions stored.
    pub descriptions: u64,
    /// Descriptions asked for.
    pub asked: u64,
    /// Batches of which not even the manifest could be read.
    pub unreadable: u64,
    /// Messages that failed, by the place of the failure in [`Failure::ALL`].
    pub failed: [u64; Failure::ALL.len()],
    /// Groups committed.
    pub commits: u64,
    /// Groups of which at least one partition failed.
    pub failed_commits: u64,
    /// Bytes committed.
    pub committed_bytes: u64,
    /// Connections that ingest knows now.
    pub connections: u64,
    /// Devices that the log knows.
    pub devices: u64,
    /// Whether commits wait for room on the disk or under a cap.
    pub paused: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) batches: Counter,
    pub(crate) readings: Counter,
    pub(crate) messages: Counter,
    pub(crate) healed: Counter,
    pub(crate) repeats: Counter,
    pub(crate) dead_lettered: [Counter; Reason::ALL.len()],
    pub(crate) not_bound: Counter,
    pub(crate) lost: Counter,
    pub(crate) reduced: Counter,
    pub(crate) damaged: Counter,
    pub(crate) unnamed_offsets: Counter,
    pub(crate) over_limit: [Counter; 5],
    pub(crate) checkpoints: Counter,
    pub(crate) checkpoint_failures: Counter,
    pub(crate) removed_segments: Counter,
    pub(crate) compacted_records: Counter,
    pub(crate) retention_waiting: Counter,
    pub(crate) scrubbed_bytes: Counter,
    pub(crate) tails_unknown: Counter,
    pub(crate) descriptions: Counter,
    pub(crate) asked: Counter,
    pub(crate) unreadable: Counter,
    pub(crate) failed: [Counter; Failure::ALL.len()],
    pub(crate) commits: Counter,
    pub(crate) failed_commits: Counter,
    pub(crate) committed_bytes: Counter,
    pub(crate) connections: Counter,
    pub(crate) devices: Counter,
    pub(crate) paused: AtomicBool,
}

/// A number that one thread writes.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        // One writer, so no read-modify-write is needed.
        self.set(self.get() + more);
    }

    pub(crate) fn set(&self, now: u64) {
        self.0.store(now, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(crate) fn snapshot(&self) -> Stats {
        Stats {
            batches: self.batches.get(),
            readings: self.readings.get(),
            messages: self.messages.get(),
            healed: self.healed.get(),
            repeats: self.repeats.get(),
            dead_lettered: self.dead_lettered.each_ref().map(Counter::get),
            not_bound: self.not_bound.get(),
            lost: self.lost.get(),
            reduced: self.reduced.get(),
            damaged: self.damaged.get(),
            unnamed_offsets: self.unnamed_offsets.get(),
            over_limit: OverLimit::ALL.map(|(over, name)| (name, self.over_limit[over as usize].get())),
            checkpoints: self.checkpoints.get(),
            checkpoint_failures: self.checkpoint_failures.get(),
            removed_segments: self.removed_segments.get(),
            compacted_records: self.compacted_records.get(),
            retention_waiting: self.retention_waiting.get(),
            scrubbed_bytes: self.scrubbed_bytes.get(),
            tails_unknown: self.tails_unknown.get(),
            descriptions: self.descriptions.get(),
            asked: self.asked.get(),
            unreadable: self.unreadable.get(),
            failed: self.failed.each_ref().map(Counter::get),
            commits: self.commits.get(),
            failed_commits: self.failed_commits.get(),
            committed_bytes: self.committed_bytes.get(),
            connections: self.connections.get(),
            devices: self.devices.get(),
            paused: self.paused.load(Ordering::Relaxed),
        }
    }
}

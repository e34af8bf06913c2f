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

use std::path::Path;

use thiserror::Error;
use weir_protocol::batch::LossKind;
use weir_storage::{Fs, IoError, ReadError, Reader, Recovery, Redone};

use super::checkpoint::{self, Body, Head};
use super::devices::Devices;
use super::log_state::LogState;
use super::options::Limits;
use crate::record::{Loss, Value};
use crate::topics::{TopicId, Topics, layout};

/// Bytes read at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// What starting found in the logs.
#[derive(Clone, Debug, Default)]
pub struct RecoveryReport {
    /// What opening each partition found.
    pub partitions: Vec<PartitionReport>,
    /// What the journal held.
    pub redone: Redone,
    /// Readings stored, those included that retention removed.
    pub readings: u64,
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
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: u32,
    /// What opening the log found: truncated tails and damage.
    pub recovery: Recovery,
    /// The offset of the checkpoint that was used; `None` if the log was read from its beginning.
    pub checkpoint: Option<u64>,
    /// Checkpoints that could not be believed, and why.
    pub bad_checkpoints: Vec<String>,
    /// The log ends before its checkpoint does: its last records were damaged and look like a torn tail.
    pub is_cut: bool,
    /// There are no records and no checkpoint of what was stored here at first.
    pub history_unknown: bool,
}

/// Where recovery reads.
pub(crate) struct Source<'a> {
    pub(crate) fs: &'a dyn Fs,
    pub(crate) data: &'a Path,
    pub(crate) topics: &'a Topics,
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
    opened: impl IntoIterator<Item = Recovery>,
) -> Result<Recovered, RecoverError> {
    let partitions = source.topics.get(TopicId::Readings).partitions().len() as u32;
    let mut opened = opened.into_iter();
    let mut logs = Vec::new();
    for topic in TopicId::ALL {
        for partition in 0..partitions {
            logs.push(Found::choose(source, topic, partition, opened.next().unwrap_or_default())?);
        }
    }
    let mut recovered =
        Recovered { devices: Devices::new(limits, partitions), report: RecoveryReport::default(), bases: Vec::new() };
    let (readings, others) = logs.split_at_mut(partitions as usize);
    for (readings, loss) in readings.iter_mut().zip(&mut *others) {
        loss.read_losses(&mut recovered.report, readings)?;
    }
    // Losses come next, and are read already: what is behind them is nothing.
    for found in &mut logs {
        found.read_on(&mut recovered.report)?;
    }
    let (readings, others) = logs.split_at_mut(partitions as usize);
    for (readings, loss) in readings.iter_mut().zip(&*others) {
        readings.raise_floors(&loss.state);
    }
    for found in logs {
        found.settle(source)?;
        recovered.bases.push(found.base);
        let partition = found.report.partition as usize;
        recovered.devices.absorb(found.report.topic, partition, found.state);
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
            report.readings += ledger.stored.len();
            // A device may claim any number; three such claims are more than a u64 holds.
            report.dead_lettered = report.dead_lettered.saturating_add(ledger.dead.len());
            report.lost = report.lost.saturating_add(ledger.lost.len());
        }
    }
}

/// One log on its way back.
struct Found {
    report: PartitionReport,
    reader: Reader,
    state: LogState,
    base: Base,
    /// Where the records begin that the state does not have yet.
    at: u64,
    /// Damage from here on in the loss log is not taken out yet; `None` without a checkpoint, which had none in it.
    loss_offset: Option<u64>,
    /// Its checkpoints say more than the logs hold: one at the end of the log is to replace them.
    is_beyond: bool,
}

impl Found {
    /// The newest checkpoint that verifies.
    fn choose(source: &Source<'_>, topic: TopicId, partition: u32, opened: Recovery) -> Result<Self, RecoverError> {
        let dir = layout::partition_dir(source.data, topic, partition);
        let reader = source.topics.get(topic).partitions()[partition as usize].reader().clone();
        let (start, end) = (reader.start_offset(), reader.end_offset());
        let mut found = Self {
            report: PartitionReport {
                topic,
                partition,
                recovery: opened,
                checkpoint: None,
                bad_checkpoints: Vec::new(),
                is_cut: false,
                history_unknown: false,
            },
            reader,
            state: LogState::default(),
            base: Base::default(),
            at: start,
            loss_offset: None,
            is_beyond: false,
        };
        for offset in checkpoint::list(source.fs, &dir)?.into_iter().rev().filter(|offset| *offset >= start) {
            let loaded = checkpoint::load(source.fs, &dir, offset);
            let same = loaded.and_then(|checkpoint| match (checkpoint.head.topic, checkpoint.head.partition) {
                place if place == (topic, partition) => Ok(checkpoint),
                (topic, partition) => Err(format!("checkpoint {offset} is one of {}/{partition}", topic.name())),
            });
            match same {
                Ok(checkpoint) => {
                    found.is_beyond = offset > end;
                    found.report.is_cut = offset > end;
                    found.at = offset.min(end);
                    found.report.checkpoint = Some(offset);
                    found.loss_offset = Some(checkpoint.head.loss_offset);
                    let written_ms = checkpoint.head.written_ms;
                    found.base = Base { offset: Some(offset.min(end)), written_ms, closed: checkpoint.closed };
                    found.state = checkpoint.state;
                    return Ok(found);
                }
                Err(why) => found.report.bad_checkpoints.push(why),
            }
        }
        found.report.history_unknown = start > 0;
        Ok(found)
    }

    /// Reads a loss log, and takes out of the readings of its partition what it says is damaged.
    fn read_losses(&mut self, report: &mut RecoveryReport, readings: &mut Self) -> Result<(), RecoverError> {
        let Some(from) = readings.loss_offset else { return Ok(()) };
        let (start, end) = (self.reader.start_offset(), self.reader.end_offset());
        readings.is_beyond |= from > end && from != u64::MAX;
        // What is read once more says nothing new.
        self.at = self.at.min(from).max(start).min(end);
        let forget = |offset: u64, loss: &Loss<'_>| {
            let is_damage = loss.kind == LossKind::Damage.as_str() && loss.of == Some(TopicId::Readings.name());
            if offset >= from && is_damage {
                let device = (loss.tenant, loss.device);
                loss.ranges.iter().for_each(|range| readings.state.remove(device, loss.restart, range.clone()));
            }
        };
        self.read(report, forget)
    }

    /// Adds the records behind the checkpoint.
    fn read_on(&mut self, report: &mut RecoveryReport) -> Result<(), RecoverError> {
        self.read(report, |_, _| {})
    }

    fn read(
        &mut self,
        report: &mut RecoveryReport,
        mut on_loss: impl FnMut(u64, &Loss<'_>),
    ) -> Result<(), RecoverError> {
        let end = self.reader.end_offset();
        while self.at < end {
            let chunk = self.reader.read(self.at, CHUNK_BYTES)?;
            for record in chunk.records() {
                report.records_read += 1;
                let value = record.map(|record| record.value.map(|value| (record.offset, value)));
                let Ok(Some((offset, value))) = value else {
                    report.malformed += 1;
                    continue;
                };
                match Value::decode(value) {
                    Ok(value) => {
                        self.state.add(&value);
                        if let Value::Loss(loss) = &value {
                            on_loss(offset, loss);
                        }
                    }
                    Err(_) => report.malformed += 1,
                }
            }
            // A reader that finds nothing more has come to damage that reaches to the end.
            self.at = if chunk.next_offset > self.at { chunk.next_offset } else { end };
        }
        Ok(())
    }

    /// Nobody knows what was stored before the records that survived: below them nothing is appended any more. Of a
    /// restart that is not in the log at all nothing is known either way, and it may well be new: it is taken.
    fn raise_floors(&mut self, losses: &LogState) {
        if !self.report.history_unknown {
            return;
        }
        for records in self.state.devices.values_mut() {
            for sequences in records.restarts.values_mut() {
                let first = sequences.ranges.iter().next();
                sequences.floor = sequences.floor.max(first.map_or(0, |range| range.start));
            }
        }
        for (device, records) in &losses.devices {
            for (restart, lost) in &records.restarts {
                let own = self.state.sequences(*device, *restart);
                let last = lost.ranges.iter().next_back();
                if let (true, Some(last)) = (own.ranges.is_empty(), last) {
                    own.floor = own.floor.max(last.end);
                }
            }
        }
    }

    /// Makes sure that what is appended next is not taken for what a checkpoint beyond the end says.
    fn settle(&self, source: &Source<'_>) -> Result<(), RecoverError> {
        if !self.is_beyond || source.is_read_only {
            return Ok(());
        }
        let PartitionReport { topic, partition, .. } = self.report;
        let dir = layout::partition_dir(source.data, topic, partition);
        let offset = self.reader.end_offset();
        let loss_offset = match topic {
            TopicId::Readings => {
                source.topics.get(TopicId::Loss).partitions()[partition as usize].reader().end_offset()
            }
            _ => 0,
        };
        let head = Head { topic, partition, offset, loss_offset, written_ms: self.base.written_ms };
        let closed = self.base.closed.iter().copied();
        let file = checkpoint::encode(&head, closed, &Body::of(&self.state).finish());
        checkpoint::store(source.fs, &dir, offset, &file)?;
        let beyond = checkpoint::list(source.fs, &dir)?.into_iter().filter(|found| *found > offset);
        for found in beyond {
            checkpoint::remove(source.fs, &dir, found)?;
        }
        Ok(())
    }
}

//! One log on its way back: which checkpoint is believed, and what the records behind it add.

use std::ops::Range;

use weir_protocol::batch::LossKind;
use weir_protocol::{Restart, Tenant};
use weir_storage::{Reader, Recovery};

use super::super::checkpoint::{self, Body, Checkpoint, Head};
use super::super::log_state::{Device, LogState, Sequences};
use super::{Base, PartitionReport, RecoverError, RecoveryReport, Source};
use crate::record::{Loss, Value};
use crate::topics::routes::Routes;
use crate::topics::{Role, TopicId, layout, murmur2};

/// Bytes read at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// One log on its way back.
pub(super) struct Found {
    pub(super) report: PartitionReport,
    role: Role,
    reader: Reader,
    pub(super) state: LogState,
    pub(super) base: Base,
    /// What the checkpoint is about, if there is one.
    head: Option<Head>,
    /// Where the records begin that the state does not have yet.
    at: u64,
    /// Its checkpoints say more than the logs hold: one at the end of the log is to replace them.
    is_beyond: bool,
    is_compacted: bool,
    /// Schemas in no order, behind those that the records name in order.
    older: LogState,
}

/// A loss that says that records cannot be read any more.
pub(super) struct Damage {
    offset: u64,
    device: Device,
    restart: Restart,
    ranges: Vec<Range<u64>>,
    /// The topic of the records.
    of: String,
}

impl Damage {
    fn of(offset: u64, loss: &Loss<'_>) -> Option<Self> {
        let of = loss.of.filter(|_| loss.kind == LossKind::Damage.as_str())?.to_owned();
        Some(Self {
            offset,
            device: (loss.tenant, loss.device),
            restart: loss.restart,
            ranges: loss.ranges.clone(),
            of,
        })
    }
}

impl Found {
    /// The newest checkpoint that verifies.
    pub(super) fn choose(source: &Source<'_>, log: usize, opened: Recovery) -> Result<Self, RecoverError> {
        let (topic, partition) = source.routes.place(log);
        let definition = source.routes.definition(topic);
        let dir = layout::partition_dir(source.data, &definition.name, partition as u32);
        let reader = source.topics.get(topic).partitions()[partition].reader().clone();
        let (start, end) = (reader.start_offset(), reader.end_offset());
        let mut found = Self {
            report: PartitionReport {
                topic: definition.name.to_string(),
                partition: partition as u32,
                recovery: opened,
                checkpoint: None,
                bad_checkpoints: Vec::new(),
                is_cut: false,
                unnamed_offsets: 0,
                history_unknown: false,
            },
            role: definition.role,
            reader,
            state: LogState::default(),
            base: Base::default(),
            head: None,
            at: start,
            is_beyond: false,
            is_compacted: definition.compact,
            older: LogState::default(),
        };
        for offset in checkpoint::list(source.fs, &dir)?.into_iter().rev().filter(|offset| *offset >= start) {
            match checkpoint::load(source.fs, &dir, offset).and_then(|found| own(source, log, found)) {
                Ok(checkpoint) => {
                    found.is_beyond = offset > end;
                    found.report.is_cut = offset > end;
                    found.at = offset.min(end);
                    found.report.checkpoint = Some(offset);
                    let written_ms = checkpoint.head.written_ms;
                    found.base = Base { offset: Some(offset.min(end)), written_ms, closed: checkpoint.closed };
                    if checkpoint.state.is_unordered || checkpoint.state.is_unowned {
                        (found.at, found.older) = (start, checkpoint.state);
                    } else {
                        found.state = checkpoint.state;
                    }
                    found.head = Some(checkpoint.head);
                    return Ok(found);
                }
                Err(why) => found.report.bad_checkpoints.push(why),
            }
        }
        // Only closed segments are compacted.
        found.report.history_unknown = start > 0 || definition.compact && found.reader.segments().len() > 1;
        Ok(found)
    }

    /// The offset behind its last record.
    pub(super) fn end(&self) -> u64 {
        self.reader.end_offset()
    }

    /// Damage from here on in that partition of the losses is not taken out yet; `None` if there is none of it in the
    /// state, which came from no checkpoint.
    pub(super) fn loss_offset(&self, partition: usize) -> Option<u64> {
        let losses = &self.head.as_ref()?.losses;
        losses.iter().find(|(loss, _)| *loss as usize == partition).map(|(_, offset)| *offset)
    }

    /// Reads a loss log, from `from` on at the latest: what it says is damaged, and its end.
    pub(super) fn read_losses(
        &mut self,
        report: &mut RecoveryReport,
        from: Option<u64>,
    ) -> Result<(Vec<Damage>, u64), RecoverError> {
        let (start, end) = (self.reader.start_offset(), self.end());
        let known = self.at;
        self.at = self.at.min(from.unwrap_or(u64::MAX)).max(start).min(end);
        let mut damages = Vec::new();
        self.read(report, known, |offset, loss| damages.extend(Damage::of(offset, loss)))?;
        Ok((damages, end))
    }

    /// Takes out of readings what a partition of the losses, which ends at `end`, says is damaged since the checkpoint.
    pub(super) fn forget(&mut self, partition: usize, end: u64, damages: &[Damage]) {
        let Some(from) = self.loss_offset(partition) else { return };
        self.is_beyond |= from > end && from != u64::MAX;
        for damage in damages.iter().filter(|damage| damage.offset >= from && damage.of == self.report.topic) {
            damage.ranges.iter().for_each(|range| self.state.remove(damage.device, damage.restart, range.clone()));
        }
    }

    /// Adds the records behind the checkpoint.
    pub(super) fn read_on(&mut self, report: &mut RecoveryReport) -> Result<(), RecoverError> {
        self.read(report, 0, |_, _| {})?;
        self.state.insert_older_schemas(std::mem::take(&mut self.older));
        Ok(())
    }

    /// Adds the records from here on to the state, but for those below `known`, which it has: what is counted there is not
    /// to be counted again.
    fn read(
        &mut self,
        report: &mut RecoveryReport,
        known: u64,
        mut on_loss: impl FnMut(u64, &Loss<'_>),
    ) -> Result<(), RecoverError> {
        let end = self.end();
        while self.at < end {
            let chunk = self.reader.read(self.at, CHUNK_BYTES)?;
            for record in chunk.records() {
                report.records_read += 1;
                let read = record.ok().and_then(|record| Some((record.offset, Value::of_record(&record).ok()?)));
                let Some((offset, value)) = read else {
                    report.malformed += 1;
                    continue;
                };
                if offset >= known {
                    self.state.add(&value);
                }
                if let Value::Loss(loss) = &value {
                    on_loss(offset, loss);
                }
            }
            // A reader that finds nothing more has come to damage that reaches to the end.
            self.at = if chunk.next_offset > self.at { chunk.next_offset } else { end };
        }
        Ok(())
    }

    /// Makes sure that what is appended next is not taken for what a checkpoint beyond the end says. `ends` are those of
    /// all logs.
    pub(super) fn settle(&self, source: &Source<'_>, log: usize, ends: &[u64]) -> Result<(), RecoverError> {
        if !self.is_beyond || source.is_read_only {
            return Ok(());
        }
        let routes = source.routes;
        let (topic, partition) = routes.place(log);
        let dir = layout::partition_dir(source.data, &self.report.topic, partition as u32);
        let offset = self.end();
        let body = Body::of(&self.state);
        let head = Head {
            schema_id: routes.definition(topic).schema_id,
            partition: partition as u32,
            offset,
            losses: routes.losses_of(log, ends),
            ends: body.beside(body.names_ends().then(|| routes.settled_ends(ends))),
            written_ms: self.base.written_ms,
        };
        let file = checkpoint::encode(&head, self.base.closed.iter().copied(), &body.finish());
        checkpoint::store(source.fs, &dir, offset, &file)?;
        let beyond = checkpoint::list(source.fs, &dir)?.into_iter().filter(|found| *found > offset);
        for found in beyond {
            checkpoint::remove(source.fs, &dir, found)?;
        }
        Ok(())
    }

    /// Nobody knows what was stored here before the records that survived.
    fn raise_own_floors(&mut self) {
        for sequences in self.state.devices.values_mut().flat_map(|records| records.restarts.values_mut()) {
            let Sequences { ranges, floor, .. } = sequences;
            // What survives compaction is the last of each channel: anything below it may be gone.
            let bound = match self.is_compacted {
                true => ranges.end(),
                false => ranges.iter().next().map(|range| range.start),
            };
            *floor = (*floor).max(bound.unwrap_or(0));
        }
    }

    /// Of a restart that is not in the log at all nothing is known either way, and it may well be new: it is taken, unless
    /// sequences of it were lost or left out.
    fn raise_floor_behind_losses(&mut self, device: Device, restart: Restart, losses: &Sequences) {
        let own = self.state.sequences(device, restart);
        let said = [&losses.ranges, losses.settled.ranges()];
        let last = said.iter().filter_map(|ranges| ranges.end()).max();
        if let (true, Some(last)) = (own.ranges.is_empty(), last) {
            own.floor = own.floor.max(last);
        }
    }
}

/// The checkpoint, if it is one of this log.
fn own(source: &Source<'_>, log: usize, checkpoint: Checkpoint) -> Result<Checkpoint, String> {
    let (topic, partition) = source.routes.place(log);
    let Head { schema_id, partition: got, offset, .. } = checkpoint.head;
    let losses = source.topics.get(TopicId::LOSS).partitions();
    let starts: Vec<_> = losses.iter().map(|losses| losses.reader().start_offset()).collect();
    if checkpoint::lost_damage(&checkpoint.head, &starts) {
        return Err(format!("checkpoint {offset} does not know of damage whose losses were removed"));
    }
    if (schema_id, got as usize) == (source.routes.definition(topic).schema_id, partition) {
        return Ok(checkpoint);
    }
    Err(format!("checkpoint {offset} is one of the topic with schema id {schema_id}, partition {got}"))
}

/// What a coarse checkpoint says may lie in any log of readings or losses: one that ends before that checkpoint saw it end
/// was cut.
pub(super) fn notice_cuts(logs: &mut [Found], routes: &Routes) {
    let ends: Vec<_> =
        logs.iter().filter_map(|found| found.head.as_ref()).filter_map(|head| head.ends.clone()).flatten().collect();
    for (schema_id, partition, end) in ends {
        let Some(topic) = routes.settling().find(|topic| routes.definition(*topic).schema_id == schema_id) else {
            continue;
        };
        let Some(found) = logs.get_mut(routes.at(topic, partition as usize)) else { continue };
        // Its own checkpoint tells the identities up to where it was written.
        let known = found.report.checkpoint.unwrap_or(0).max(found.end());
        if end > known {
            found.report.is_cut = true;
            found.report.unnamed_offsets = found.report.unnamed_offsets.max(end - known);
        }
    }
}

/// Nobody knows what was stored before the records that survived where no checkpoint can be believed: below them nothing is
/// appended any more. Of messages they are: what a client sends once more is better there twice than nowhere.
pub(super) fn raise_floors(logs: &mut [Found], routes: &Routes) {
    let unknown: Vec<usize> =
        (0..logs.len()).filter(|log| logs[*log].role == Role::Readings && logs[*log].report.history_unknown).collect();
    for log in unknown {
        let (topic, partition) = routes.place(log);
        logs[log].raise_own_floors();
        for loss in routes.logs_of(TopicId::LOSS) {
            let losses = std::mem::take(&mut logs[loss].state);
            let here = |(_, device): &(Tenant, _)| {
                let device: &weir_protocol::DeviceId = device;
                routes.partition(topic, murmur2::hash(device.as_bytes())) == partition
            };
            for (device, records) in losses.devices.iter().filter(|(device, _)| here(device)) {
                for (restart, lost) in &records.restarts {
                    logs[log].raise_floor_behind_losses(*device, *restart, lost);
                }
            }
            logs[loss].state = losses;
        }
    }
}

//! Recovery: what the log says about every sequence, before anybody may send.
//!
//! Guarantees: S, D, L, ended restarts and descriptions are the union over all topics and partitions, in any
//! order; damage is skipped and reported, because what it hid is simply not in S; the logs are streamed.

use weir_protocol::RangeSet;
use weir_storage::{MalformedRecord, ReadError, Recovery};

use super::buried::Remains;
use super::channels::Channels;
use super::devices::{Devices, SchemaState};
use super::ledger::End;
use super::options::Limits;
use crate::record::dead_letter::Format;
use crate::record::loss::TAIL_UNKNOWN;
use crate::record::{Malformed, Value};
use crate::topics::{TopicId, Topics};

/// Bytes read at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// What starting found in the log.
#[derive(Clone, Debug, Default)]
pub struct RecoveryReport {
    /// What opening each partition found: truncated tails and damage.
    pub partitions: Vec<PartitionReport>,
    /// Readings in the log.
    pub readings: u64,
    /// Sequences dead-lettered.
    pub dead_lettered: u64,
    /// Sequences counted lost.
    pub lost: u64,
    /// Devices that the log knows.
    pub devices: u64,
    /// Records whose checksum holds but which are none of ours; they stay where they are.
    pub malformed: u64,
}

/// What opening one partition found.
#[derive(Clone, Debug)]
pub struct PartitionReport {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: u32,
    /// What was found.
    pub recovery: Recovery,
}

/// Rebuilds the state from everything that can be read.
pub(crate) fn recover(
    topics: &Topics,
    limits: Limits,
    partitions: Vec<PartitionReport>,
) -> Result<(Devices, RecoveryReport), ReadError> {
    let mut devices = Devices::new(limits);
    let mut report = RecoveryReport { partitions, ..RecoveryReport::default() };
    for topic in topics.all() {
        for partition in topic.partitions() {
            let reader = partition.reader();
            let (mut at, end) = (reader.start_offset(), reader.end_offset());
            while at < end {
                let chunk = reader.read(at, CHUNK_BYTES)?;
                for record in chunk.records() {
                    note(&mut devices, &mut report, record.map(|record| record.value));
                }
                // A reader that finds nothing more has come to damage that reaches to the end.
                at = if chunk.next_offset > at { chunk.next_offset } else { end };
            }
        }
    }
    report.devices = devices.len() as u64;
    for ledger in devices.iter_mut().flat_map(|device| device.restarts.values_mut()) {
        report.readings += ledger.stored.len();
        report.dead_lettered = report.dead_lettered.saturating_add(ledger.dead.len());
        // A device may claim any number; three such claims are more than a u64 holds.
        report.lost = report.lost.saturating_add(ledger.lost.len());
    }
    Ok((devices, report))
}

fn note(devices: &mut Devices, report: &mut RecoveryReport, value: Result<Option<&[u8]>, MalformedRecord>) {
    let decoded = value.ok().flatten().map_or(Err(Malformed::NotFramed), Value::decode);
    match decoded {
        Ok(value) => apply(devices, &value),
        Err(_) => report.malformed += 1,
    }
}

fn apply(devices: &mut Devices, value: &Value<'_>) {
    match value {
        Value::Reading(reading) => {
            let ledger = devices.restore_ledger(reading.tenant, reading.device, reading.restart);
            ledger.stored.insert(reading.sequence.0..reading.sequence.0.saturating_add(1));
        }
        Value::Loss(loss) => {
            let ledger = devices.restore_ledger(loss.tenant, loss.device, loss.restart);
            if loss.kind == TAIL_UNKNOWN {
                ledger.end = End::Recorded;
            }
            ledger.lost.union(&loss.ranges.iter().cloned().collect::<RangeSet>());
        }
        Value::DeadLetter(letter) => {
            if letter.format == Format::Description {
                devices.buried.insert(Remains::of(letter.tenant, letter.agent, letter.original));
            }
            for span in &letter.spans {
                let ledger = devices.restore_ledger(letter.tenant, span.device, span.restart);
                ledger.dead.insert(span.start.0..span.end.0);
            }
        }
        Value::Description(description) => {
            let channels = Channels::new(&description.channels).into();
            let device = devices.restore(description.tenant, description.device);
            device.schemas.insert(description.schema, SchemaState::Known(channels));
        }
    }
}

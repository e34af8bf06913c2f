//! One read of one partition for a subscriber: off the async threads, few at a time, into little memory.
//!
//! What it guarantees: only committed records whose checksum held, of one tenant, that a filter matches; every offset
//! that is passed without having been looked at is counted, as removed by retention or as damage. A read looks at
//! [`SCAN_BYTES`] of log, so that everybody's turn comes soon, and finds no more than its [`Budget`].

use std::sync::Arc;

use weir_protocol::Tenant;
use weir_storage::{Chunk, ReadError};

use super::{Message, Place};
use crate::mqtt::topic::matches;
use crate::topics::{Partition, Topic};

/// Bytes of log that one read looks at; then others have their turn.
pub(super) const SCAN_BYTES: usize = 1 << 20;
/// Bytes of log that are in memory at a time, but for a frame that is larger.
const BLOCK_BYTES: usize = 128 << 10;

/// What one read may find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Messages.
    pub messages: usize,
    /// Bytes of them; the message that crosses it is found all the same.
    pub bytes: usize,
}

/// Whose messages are looked for; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) tenant: Tenant,
    pub(super) filters: Arc<[Box<str>]>,
}

impl Wanted {
    /// Whether a message of `tenant` on `topic` is.
    pub(super) fn is(&self, tenant: Tenant, topic: &str) -> bool {
        tenant == self.tenant && self.filters.iter().any(|filter| matches(topic, filter))
    }
}

/// What a read found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) messages: Vec<Message>,
    /// Where to go on.
    pub(super) next: u64,
    /// Offsets that retention removed before they were read.
    pub(super) removed: u64,
    /// Offsets that are damaged.
    pub(super) damaged: u64,
    /// The disk refused.
    pub(super) failed: Option<ReadError>,
}

/// Reads the partition `number` of `topic` from `from` on, below `upto`. May block.
pub(super) fn read(topic: &Topic, number: u32, from: u64, upto: u64, wanted: &Wanted, budget: Budget) -> Found {
    let mut found = Found { next: from, ..Found::default() };
    let Some(partition) = topic.partitions().get(number as usize) else { return found };
    let (mut buffer, mut scanned, mut bytes) = (Vec::new(), 0, 0);
    while found.next < upto && scanned < SCAN_BYTES {
        let chunk = match next_chunk(partition, upto, buffer, &mut found) {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return found,
            Err(error) => {
                found.failed = Some(error);
                return found;
            }
        };
        scanned += chunk.bytes.len();
        // A record that a good checksum covers and that does not parse ends its frame.
        for record in chunk.records().filter_map(Result::ok).take_while(|record| record.offset < upto) {
            let wanted = |tenant: Tenant, topic: &str| wanted.is(tenant, topic);
            let Some(message) = Message::of_record(topic, number, &record, wanted) else { continue };
            bytes += message.bytes();
            found.messages.push(message);
            if found.messages.len() >= budget.messages || bytes >= budget.bytes {
                found.next = record.offset + 1;
                return found;
            }
        }
        found.next = chunk.next_offset.min(upto);
        buffer = chunk.bytes;
    }
    found
}

/// The message at `place` in `topic`; `None` if it cannot be had any more. May block.
pub(super) fn one(topic: &Topic, place: Place) -> Option<Message> {
    let partition = topic.partitions().get(place.partition as usize)?;
    let chunk = partition.reader().read(place.offset, 1).ok()?;
    let record = chunk.records().filter_map(Result::ok).find(|record| record.offset == place.offset)?;
    Message::of_record(topic, place.partition, &record, |_, _| true)
}

/// The next frames; `None` if there is nothing more to read now.
fn next_chunk(
    partition: &Partition,
    upto: u64,
    mut buffer: Vec<u8>,
    found: &mut Found,
) -> Result<Option<Chunk>, ReadError> {
    let from = found.next;
    let block = match partition.reader().read_block(from, BLOCK_BYTES, &mut buffer) {
        Ok(block) => block,
        Err(ReadError::OutOfRange { start, .. }) if start > from => {
            let next = start.min(upto);
            found.removed += next - from;
            found.next = next;
            return Ok((next < upto).then(|| Chunk { from: next, next_offset: next, ..Chunk::default() }));
        }
        Err(error) => return Err(error),
    };
    if !block.gaps.is_empty() {
        partition.suspect();
        // A gap may begin in front of what was asked for, or in an earlier read.
        let lost = |gap: &std::ops::Range<u64>| gap.end.min(upto).saturating_sub(gap.start.max(from));
        found.damaged += block.gaps.iter().map(|damage| lost(&damage.gap)).sum::<u64>();
    }
    if block.next_offset <= from {
        return Ok(None);
    }
    buffer.truncate(block.frames.end);
    buffer.drain(..block.frames.start);
    Ok(Some(Chunk { bytes: buffer, from, next_offset: block.next_offset, gaps: Vec::new() }))
}

//! Checkpoints: what all records of one log below an offset say, so that a log need not be read from its beginning
//! and retention cannot make the gateway forget what it has stored.
//!
//! Guarantees: a checkpoint is durable as a whole or not there; one that is damaged in any bit is not believed; a
//! checkpoint at offset X says exactly what the records below X say, the removed ones included, without those whose
//! loss as damage was committed by then.
//!
//! Files: `ranges-<offset as 20 digits>` beside the segments of the log. The last two are kept, so that one bad file
//! costs reading time and nothing else, and the one at the log's first offset, which says what was removed.
//!
//! Format, version 1, frozen; fixed integers are big endian:
//! ```text
//! magic "WRNG" | version u16 = 1 | topic u8 | zero u8 | partition u32
//! offset u64 | loss offset u64 | written i64, milliseconds since 1970 | body length u64
//! body: entries back to back                                      | CRC-32C u32 of everything before
//! ```
//! The topic is its place in `TopicId::ALL`. The loss offset, in a readings log: the offset behind the last record of
//! the loss log of the same partition whose damage is taken out already; elsewhere 0. Entries, with varints as LEB128:
//! ```text
//! 1 closed segment   base offset varint, closed at: milliseconds since 1970, varint (0 for before 1970)
//! 2 sequences        tenant, device, count of restarts, then each: restart u64, flags u8,
//!                    floor varint if flag 2, count of ranges, then each: start less the end before, length
//! 3 schemas          tenant, device, count, then each: hash u32, count of channels,
//!                    then each: id u16, kind u8, resolution f32, name, unit
//! 4 buried           count, then each: hash u64 of a description that is a dead letter
//! ```
//! Texts are a varint length and UTF-8. Flag 1: the restart ended with an unknown tail. Flag 2: there is a floor.

mod body;
mod files;
mod read;

pub(crate) use body::Body;
pub(crate) use files::verify;
pub(crate) use files::{list, load, prune, remove, store};
pub(crate) use read::{decode_state, verified};

use super::log_state::LogState;
use crate::topics::TopicId;

const MAGIC: [u8; 4] = *b"WRNG";
const VERSION: u16 = 1;
const HEAD_BYTES: usize = 44;
const CRC_BYTES: usize = 4;
/// The largest checkpoint. The state in memory is larger than its checkpoint, so memory ends first.
const MAX_BYTES: u64 = 1 << 30;

/// What a checkpoint is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) topic: TopicId,
    pub(crate) partition: u32,
    /// It covers every record below.
    pub(crate) offset: u64,
    /// See the module.
    pub(crate) loss_offset: u64,
    /// By the wall clock, in milliseconds since 1970.
    pub(crate) written_ms: i64,
}

/// A checkpoint that was read.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    pub(crate) head: Head,
    /// Base offsets of closed segments, and when each was closed, in milliseconds since 1970.
    pub(crate) closed: Vec<(u64, i64)>,
    pub(crate) state: LogState,
}

/// The file of a checkpoint; `closed` as in [`Checkpoint`], `body` without them.
pub(crate) fn encode(head: &Head, closed: impl IntoIterator<Item = (u64, i64)>, body: &[u8]) -> Vec<u8> {
    let mut segments = Body::default();
    closed.into_iter().for_each(|(base, closed_ms)| segments.segment(base, closed_ms));
    let segments = segments.finish();
    let length = segments.len() + body.len();
    let mut out = Vec::with_capacity(HEAD_BYTES + length + CRC_BYTES);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&[head.topic as u8, 0]);
    out.extend_from_slice(&head.partition.to_be_bytes());
    out.extend_from_slice(&head.offset.to_be_bytes());
    out.extend_from_slice(&head.loss_offset.to_be_bytes());
    out.extend_from_slice(&head.written_ms.to_be_bytes());
    out.extend_from_slice(&(length as u64).to_be_bytes());
    out.extend_from_slice(&segments);
    out.extend_from_slice(body);
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_be_bytes());
    out
}

#[cfg(test)]
mod tests;

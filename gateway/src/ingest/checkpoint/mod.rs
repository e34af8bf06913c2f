//! Checkpoints: what all records of one log below an offset say, so that a log need not be read from its beginning
//! and retention cannot make the gateway forget what it has stored.
//!
//! Guarantees: a checkpoint is durable as a whole or not there; one that is damaged in any bit is not believed; a
//! checkpoint at offset X says exactly what the records below X say, the removed ones included, without those whose
//! loss as damage was committed by then; where it is coarse, and at the first offset of a compacted log, it may say more,
//! but nothing that was not stored.
//!
//! Files: `ranges-<offset as 20 digits>` beside the segments of the log. The last two are kept, so that one bad file
//! costs reading time and nothing else, and the one at the log's first offset, which says what was removed.
//!
//! Formats, versions 1 and 2, frozen; fixed integers are big endian:
//! ```text
//! magic "WRNG" | version u16 = 1 | topic u8 | zero u8 | partition u32
//! offset u64 | loss offset u64 | written i64, milliseconds since 1970 | body length u64
//! body: entries back to back                                      | CRC-32C u32 of everything before
//! ```
//! The topic is its place in `TopicId::BUILT_IN`. The loss offset, in a readings log: the offset behind the last record of
//! the loss log of the same partition whose damage is taken out already; elsewhere 0.
//!
//! Version 2 is written where version 1 has no words: for topics that routes lead to, for descriptions, whose order
//! decides how they are judged, where a share is coarse ([`super::shares`]), where rules of agents left sequences out
//! ([`super::settled`]), and where sequences take turns, so that they are said in pages. Its head, with the same frame around it:
//! ```text
//! magic "WRNG" | version u16 = 2 | zero u16 | schema id of the topic u32 | partition u32
//! offset u64 | written i64 | body length u64
//! count u16, then each: partition of the losses u32, loss offset u64
//! count u16, then each: schema id of a topic of readings or of the losses u32, partition u32, end u64
//! ```
//! The ends are those of all logs of readings and losses, if anything is coarse or left out: what it says may lie in any of
//! them, so a log that is shorter than that has lost its end.
//!
//! Entries of both versions, with varints as LEB128:
//! ```text
//! 1 closed segment   base offset varint, closed at: milliseconds since 1970, varint (0 for before 1970)
//! 2 sequences        tenant, device, count of restarts, then each: restart u64, flags u8,
//!                    floor varint if flag 2, count of ranges, then each: start less the end before, length;
//!                    pages if flag 8
//! 3 schemas          tenant, device, count, then each: hash u32, count of channels,
//!                    then each: id u16, kind u8, resolution f32, name, unit
//! 4 buried           count, then each: hash u64 of a description that is a dead letter
//! 5 schemas          as 3, in the order in which they were described; in version 2 alone, where a device has several
//! 6 owner            tenant, device, agent; in version 2 alone, behind the schemas of the device
//! 7 left out         tenant, device, count of restarts, then each: restart u64, flags u8 (4 and 8), count of sequences,
//!                    count of ranges, then each: start less the end before, length; pages if flag 8; in version 2 alone,
//!                    of the losses, behind the sequences of the device
//!   pages            count, then each: block less the one behind the block before, back; 512 bytes if back is 0
//! ```
//! Texts are a varint length and UTF-8. Flag 1: the restart ended with an unknown tail. Flag 2: there is a floor. In version
//! 2 alone, flag 4: the sequences are coarse; flag 8: those that take turns are said in pages, in blocks of 4,096 that no
//! range reaches into. Block n begins with sequence 4,096 n. A page has a bit for each of its sequences, the first being the
//! lowest of the first byte; or it is as the page so many back, at most 128. So 10 million sequences that take turns in one way
//! are some kilobytes, and in no way that repeats 1.3 MB.

mod body;
mod files;
mod read;

pub(crate) use body::Body;
pub(crate) use files::verify;
pub(crate) use files::{list, load, prune, remove, store};
pub(crate) use read::{decode_state, verified};

use super::log_state::LogState;
use crate::record::Schema;
use crate::topics::TopicId;

const MAGIC: [u8; 4] = *b"WRNG";
const VERSION: u16 = 1;
const VERSION_2: u16 = 2;
const HEAD_BYTES: usize = 44;
const HEAD_BYTES_2: usize = 40;
const CRC_BYTES: usize = 4;
/// The largest checkpoint. The state in memory is larger than its checkpoint, so memory ends first.
const MAX_BYTES: u64 = 1 << 30;

/// For partitions of the losses, a loss offset; see the module.
pub(crate) type Losses = Vec<(u32, u64)>;
/// Schema id, partition and end of every log of readings.
pub(crate) type Ends = Vec<(u32, u32, u64)>;

/// What a checkpoint is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The schema id of its topic, which no other topic ever has.
    pub(crate) schema_id: u32,
    pub(crate) partition: u32,
    /// It covers every record below.
    pub(crate) offset: u64,
    pub(crate) losses: Losses,
    /// If anything is coarse or left out; none of them, but version 2, if anything is said in pages.
    pub(crate) ends: Option<Ends>,
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
    match head.in_version_1() {
        Some((topic, loss_offset)) => {
            out.extend_from_slice(&VERSION.to_be_bytes());
            out.extend_from_slice(&[topic, 0]);
            out.extend_from_slice(&head.partition.to_be_bytes());
            out.extend_from_slice(&head.offset.to_be_bytes());
            out.extend_from_slice(&loss_offset.to_be_bytes());
            out.extend_from_slice(&head.written_ms.to_be_bytes());
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
        None => head.put_version_2(&mut out, length as u64),
    }
    out.extend_from_slice(&segments);
    out.extend_from_slice(body);
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_be_bytes());
    out
}

/// Whether losses were removed that say what of a checkpoint is damaged; `starts` are the first offsets of the loss logs.
pub(crate) fn lost_damage(head: &Head, starts: &[u64]) -> bool {
    head.losses.iter().any(|(loss, offset)| starts.get(*loss as usize).is_some_and(|start| offset < start))
}

impl Head {
    /// Topic and loss offset, if version 1 can say all of it.
    fn in_version_1(&self) -> Option<(u8, u64)> {
        let topic = u8::try_from(self.schema_id.checked_sub(1)?).ok()?;
        let is_built_in = usize::from(topic) < TopicId::BUILT_IN.len();
        let loss_offset = match self.losses[..] {
            [] => 0,
            [(partition, offset)] if partition == self.partition => offset,
            _ => return None,
        };
        // Version 1 has no words for the order of descriptions.
        let is_ordered = self.schema_id == Schema::Description.id();
        (is_built_in && self.ends.is_none() && !is_ordered).then_some((topic, loss_offset))
    }

    fn put_version_2(&self, out: &mut Vec<u8>, length: u64) {
        out.extend_from_slice(&VERSION_2.to_be_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.schema_id.to_be_bytes());
        out.extend_from_slice(&self.partition.to_be_bytes());
        out.extend_from_slice(&self.offset.to_be_bytes());
        out.extend_from_slice(&self.written_ms.to_be_bytes());
        out.extend_from_slice(&length.to_be_bytes());
        // There are at most MAX_LOGS of either.
        out.extend_from_slice(&(self.losses.len() as u16).to_be_bytes());
        for (partition, offset) in &self.losses {
            out.extend_from_slice(&partition.to_be_bytes());
            out.extend_from_slice(&offset.to_be_bytes());
        }
        let ends = self.ends.as_deref().unwrap_or_default();
        out.extend_from_slice(&(ends.len() as u16).to_be_bytes());
        for (schema_id, partition, end) in ends {
            out.extend_from_slice(&schema_id.to_be_bytes());
            out.extend_from_slice(&partition.to_be_bytes());
            out.extend_from_slice(&end.to_be_bytes());
        }
    }
}

#[cfg(test)]
pub(crate) mod version_1;

#[cfg(test)]
mod tests;

//! Compaction: of the records below an offset, the last one of each key is kept.
//!
//! Guarantees:
//! - Offsets do not change: a record that is kept has the offset that it always had, the log starts and ends where it
//!   did, and reading from an offset that was compacted away goes on at the next record.
//! - The last record of each key stays, and so does every record without a key. A record with a key and no value says
//!   that the key is deleted; it goes once it lies below [`CompactionOptions::tombstones_before`], never before
//!   everything that it deletes is durably gone.
//! - Whenever the power goes, the log has the old records or the new ones, segment by segment from the front: a
//!   deleted key does not come back.
//! - A segment with damage is left as it is, and named; what can be read of it counts.
//! - Commits and readers go on ([`crate::log::upkeep`]); a reader that holds a segment goes on reading it.
//! - Memory: the keys of a pass ([`CompactionOptions::max_key_bytes`]), a window of the segment being read, a frame of the
//!   one being written. Room on disk: one segment at a time, at most half of what the cap leaves.
//!
//! How: only closed segments are compacted. A pass reads those that hold records not compared yet and notes
//! the last offset of each key ([`keys`]) until its memory is used up; judges every record from the start of
//! the log up to there ([`judge`]); and rewrites the segments that lose records, neighbours that fit into one segment
//! together ([`rewrite`]). A segment that comes out is an ordinary one but for this: its frames have fewer records
//! than offsets ([`crate::frame`]), and one of them ends at every base of a segment that it replaced.

mod judge;
mod keys;
mod pack;
pub(crate) mod rewrite;
mod source;

use crate::error::IoError;
use crate::log::upkeep::Upkeep;
use crate::reader::SegmentInfo;
use crate::recovery::Damage;
use crate::segments::Closed;
use judge::{Judge, Verdicts};
use keys::Keys;
use rewrite::{Group, Rewritten, rewrite};
use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError};

/// What is compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactionOptions {
    /// Only segments that lie wholly below this offset, and that readers may see.
    pub upto: u64,
    /// Records below this offset that have a key and no value go too, once nothing is left that they delete. Whoever
    /// reads the log from its start less often than such a record stays may not learn of the deletion.
    pub tombstones_before: u64,
    /// About the most memory that the keys of a pass take; with more keys there are several passes.
    pub max_key_bytes: usize,
}

impl Default for CompactionOptions {
    fn default() -> CompactionOptions {
        CompactionOptions { upto: u64::MAX, tombstones_before: 0, max_key_bytes: 64 * 1024 * 1024 }
    }
}

/// What a compaction did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compaction {
    /// Of the records below this offset only the last one of each key is left, except as the fields below say.
    pub compacted_below: u64,
    /// Records taken out.
    pub removed_records: u64,
    /// Segments that were rewritten, and how many they became.
    pub rewritten: (u64, u64),
    /// Bytes on disk of the segments rewritten, before and after.
    pub allocated: (u64, u64),
    /// Passes over the log.
    pub passes: u64,
    /// Damage met: its segments were left as they are. The first [`crate::recovery::MAX_LISTED`].
    pub damage: Vec<Damage>,
    /// Segments left as they are because there was no room to rewrite them, or because they turned out to be damaged
    /// only then. The next compaction tries again.
    pub left: u64,
    /// It was stopped, or the segments it worked on were removed: the next one goes on.
    pub is_cut_short: bool,
}

/// Whether compacting is worth it: the closed segments below `upto` that came behind `compacted_below` take more room
/// than those before it. So what is written for compaction is of the order of what is written for commits, and a log
/// takes about twice what its last records take.
pub fn is_due(segments: &[SegmentInfo], compacted_below: u64, upto: u64) -> bool {
    let Some((_, closed)) = segments.split_last() else { return false };
    let (old, new): (Vec<SegmentInfo>, Vec<SegmentInfo>) = closed
        .iter()
        .filter(|segment| segment.next_offset <= upto)
        .partition(|segment| segment.next_offset <= compacted_below);
    let allocated = |segments: &[SegmentInfo]| segments.iter().map(|segment| segment.allocated).sum::<u64>();
    allocated(&new) > allocated(&old)
}

/// Why a compaction ends early.
enum Halt<E> {
    Failed(E),
    /// Asked to stop.
    Stopped,
    /// A segment was removed meanwhile.
    Gone,
}

impl Halt<IoError> {
    fn into_other<E: From<IoError>>(self) -> Halt<E> {
        match self {
            Halt::Failed(error) => Halt::Failed(error.into()),
            Halt::Stopped => Halt::Stopped,
            Halt::Gone => Halt::Gone,
        }
    }
}

impl<E: From<IoError>> From<IoError> for Halt<E> {
    fn from(error: IoError) -> Halt<E> {
        Halt::Failed(error.into())
    }
}

/// Compacts the closed segments of a log. `before_swap` is called before the first file is replaced in each pass, when
/// it is known which segments that can be: it makes sure that nobody else will write into them.
pub(crate) fn compact<E: From<IoError>>(
    upkeep: &Upkeep,
    options: &CompactionOptions,
    stop: &AtomicBool,
    before_swap: &mut dyn FnMut() -> Result<(), E>,
) -> Result<Compaction, E> {
    let mut compacted = upkeep.compacted.lock().unwrap_or_else(PoisonError::into_inner);
    let mut compaction = Compaction::default();
    loop {
        compaction.passes += 1;
        let from = (*compacted).max(upkeep.shared.segments.start_offset());
        let ended = pass(upkeep, options, from, stop, before_swap, &mut compaction);
        match ended {
            Ok(Pass { judged, end }) => {
                *compacted = judged;
                compaction.compacted_below = judged.min(end);
                // What there is no room for is tried again by the next compaction.
                if judged >= end || judged <= from {
                    return Ok(compaction);
                }
            }
            Err(Halt::Failed(error)) => return Err(error),
            Err(Halt::Stopped | Halt::Gone) => {
                compaction.compacted_below = from;
                compaction.is_cut_short = true;
                return Ok(compaction);
            }
        }
    }
}

/// How far a pass came: all keys are compared below `judged`, and the segments end at `end`.
struct Pass {
    judged: u64,
    end: u64,
}

fn pass<E: From<IoError>>(
    upkeep: &Upkeep,
    options: &CompactionOptions,
    from: u64,
    stop: &AtomicBool,
    before_swap: &mut dyn FnMut() -> Result<(), E>,
    compaction: &mut Compaction,
) -> Result<Pass, Halt<E>> {
    // A record that reads as gone could come back, and what deletes it would be gone.
    upkeep.settle()?;
    let upto = options.upto.min(upkeep.shared.exposed());
    let mut segments = upkeep.shared.segments.closed();
    segments.retain(|segment| segment.next_offset <= upto);
    let Some(end) = segments.last().map(|last| last.next_offset) else { return Ok(Pass { judged: from, end: 0 }) };

    let keys = Keys::collect(upkeep, &segments, from.min(end)..end, options.max_key_bytes, stop)?;
    let judged = keys.end();
    segments.retain(|segment| segment.base_offset < judged);
    let tombstones_before = options.tombstones_before.min(judged);
    let mut judge = Judge::new(keys, tombstones_before);
    let verdicts = judge.look_through(upkeep, segments, stop)?;
    compaction.note_damage(&verdicts);

    let mut groups = VecDeque::from(Group::of(verdicts, upkeep.options.segment_limit()));
    if !groups.is_empty() {
        before_swap().map_err(Halt::Failed)?;
    }
    let mut left = None;
    while let Some(group) = groups.pop_front() {
        match rewrite(upkeep, &judge, group, stop, compaction)? {
            Rewritten::Done => {}
            // One by one, each makes room for the next.
            Rewritten::NoRoom(group) if group.segments().len() > 1 => {
                group.split().into_iter().rev().for_each(|single| groups.push_front(single));
            }
            // What stays for now is compared again next time, and until then nothing that deletes it goes.
            Rewritten::NoRoom(group) | Rewritten::Damaged(group) => {
                compaction.left += group.segments().len() as u64;
                let first = group.segments().first().map(|first| first.base_offset);
                left = left.or(first);
                judge.leave_from(first.unwrap_or(judged));
            }
        }
    }
    Ok(Pass { judged: left.unwrap_or(judged.max(from)), end })
}

impl Compaction {
    fn note_damage(&mut self, verdicts: &[(Arc<Closed>, Verdicts)]) {
        for damage in verdicts.iter().flat_map(|(_, verdicts)| &verdicts.damage) {
            if self.damage.len() < crate::recovery::MAX_LISTED && !self.damage.contains(damage) {
                self.damage.push(damage.clone());
            }
        }
    }
}

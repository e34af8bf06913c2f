//! Retention: whole closed segments go, from the front, by bytes or by age.
//!
//! Before they go, what they say is added to the checkpoint at the log's first offset: it says what was removed, and
//! with it the identities of a damaged stretch can be told, and the log can be read from its beginning if both other
//! checkpoints are bad. They go one by one, each with a checkpoint of its own before it, so that wherever a removal is
//! cut off, the log begins at an offset that has one. Only on a full disk that checkpoint comes after the removal, in
//! the room that it made.

use std::collections::BTreeMap;

use weir_storage::{IoError, ReadError, RemoveError, SegmentInfo};

use super::super::checkpoint::{self, Body, Checkpoint};
use super::super::log_state::LogState;
use super::ages::millis;
use super::{Ages, Keeper, Kept, Now};
use crate::topics::{Retention, Role, TopicId};

/// Bytes read at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// What one look at a log came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    /// Everything may stay.
    Nothing,
    /// The log begins here now.
    Upto(u64),
    /// Something is to go, and cannot yet.
    Waiting(Waits),
}

/// What retention waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    /// A checkpoint behind it: the older of the two does not cover it, or is not there.
    Checkpoint,
    /// A loss log: for the checkpoints of this log of readings, which say what of its damage is taken out.
    Readings(usize),
}

impl Keeper {
    /// Removes the oldest segment of a log if it need not be kept; `remove` asks the committer to.
    ///
    /// # Errors
    /// What could not be read, written or removed; the log is as it was, or begins at a later segment.
    pub(crate) fn retain(
        &mut self,
        log: usize,
        now: Now,
        remove: impl FnOnce(u64) -> Result<u64, RemoveError>,
    ) -> Result<Removal, String> {
        let kept = &self.logs[log];
        let start = kept.reader.start_offset();
        // Readings refer to descriptions for as long as there are readings.
        if kept.role == Role::Describe {
            return Ok(Removal::Nothing);
        }
        let segments = kept.reader.segments();
        let Some(wanted) = expired(&segments, &kept.closed, kept.retention, now) else { return Ok(Removal::Nothing) };
        let older = self.older(log).map_err(|error| error.to_string())?;
        let (covered, waits) = match &older {
            None => (0, Waits::Checkpoint),
            Some(older) => self.covered(log, older.head.offset).map_err(|error| error.to_string())?,
        };
        let next = segments.get(1).map(|segment| segment.base_offset);
        let Some(upto) = next.filter(|base| *base <= wanted.min(covered)) else {
            return Ok(Removal::Waiting(waits));
        };
        self.logs[log].removing = Some(upto);
        let retired = older.map_or(Ok(None), |older| self.retired(log, upto, older, now))?;
        let store = |file: &[u8]| checkpoint::store(&*self.fs, &self.logs[log].dir, upto, file);
        // On a full disk the room for the file is that of the segments which it describes.
        let late = match retired.as_deref().map_or(Ok(()), store) {
            Ok(()) => false,
            Err(error) if error.is_no_space() => true,
            Err(error) => return Err(error.to_string()),
        };
        let begins = remove(upto).map_err(|error| error.to_string())?;
        if let (true, Some(file)) = (late, &retired) {
            store(file).map_err(|error| error.to_string())?;
        }
        self.logs[log].removing = None;
        checkpoint::prune(&*self.fs, &self.logs[log].dir, &[begins]).map_err(|error| error.to_string())?;
        self.counters.removed_segments.add(u64::from(begins > start));
        Ok(Removal::Upto(begins))
    }

    /// The older of the last two checkpoints, read back and verified.
    pub(super) fn older(&self, log: usize) -> Result<Option<Checkpoint>, IoError> {
        let kept = &self.logs[log];
        let offsets = checkpoint::list(&*self.fs, &kept.dir)?;
        let [.., older, _] = offsets[..] else { return Ok(None) };
        let found = checkpoint::load(&*self.fs, &kept.dir, older);
        let found = found.and_then(|found| match self.lost_damage(&found.head) {
            true => Err(format!("checkpoint {older} does not know of damage whose losses were removed")),
            false => Ok(found),
        });
        Ok(found
            .inspect_err(|why| {
                tracing::warn!(why, "retention waits: a checkpoint cannot be believed, the next ones replace it");
            })
            .ok())
    }

    /// Whether losses were removed that say what of a checkpoint is damaged.
    fn lost_damage(&self, head: &checkpoint::Head) -> bool {
        let starts = self.routes.logs_of(TopicId::LOSS).map(|log| self.logs[log].reader.start_offset());
        checkpoint::lost_damage(head, &starts.collect::<Vec<_>>())
    }

    /// Up to where a log that is covered up to `covered` can go, and what a segment behind it waits for.
    fn covered(&self, log: usize, covered: u64) -> Result<(u64, Waits), IoError> {
        let kept = &self.logs[log];
        if kept.role != Role::Loss {
            return Ok((covered, Waits::Checkpoint));
        }
        Ok(match self.needed_by_readings(kept.partition)? {
            Some((needed, readings)) if needed < covered => (needed, Waits::Readings(readings)),
            _ => (covered, Waits::Checkpoint),
        })
    }

    /// Losses from this offset on may have to be taken out of a checkpoint of readings, and of which log.
    fn needed_by_readings(&self, partition: u32) -> Result<Option<(u64, usize)>, IoError> {
        let mut needed = None;
        for log in self.routes.stored().flat_map(|topic| self.routes.logs_of(topic)) {
            let kept = &self.logs[log];
            let start = kept.reader.start_offset();
            let mut offsets = checkpoint::list(&*self.fs, &kept.dir)?;
            // What was removed, or is to be compacted, was readable; the file that says so is not waited for.
            offsets.retain(|offset| *offset > start || (start == 0 && !kept.compact));
            if offsets.last() == Some(&kept.reader.end_offset()) {
                // Nothing comes any more, so the older one would be waited for without end: the newest is enough.
                offsets.drain(..offsets.len() - 1);
            }
            // One that cannot be believed is never used.
            for checkpoint in offsets.iter().filter_map(|offset| checkpoint::load(&*self.fs, &kept.dir, *offset).ok()) {
                let own = checkpoint.head.losses.iter().find(|(loss, _)| *loss == partition);
                needed = needed.into_iter().chain(own.map(|(_, offset)| (*offset, log))).min();
            }
        }
        Ok(needed)
    }

    /// The checkpoint for the segments below `upto` once they are gone: what the records below can be read to say. `None`
    /// if nobody knows what was removed before. `older` covers it.
    fn retired(&self, log: usize, upto: u64, older: Checkpoint, now: Now) -> Result<Option<Vec<u8>>, String> {
        let kept = &self.logs[log];
        if kept.compact {
            // What compaction took out cannot be read any more: the older checkpoint says it, with what is still there.
            let body = Body::of(&older.state);
            let said = (upto, older.head.losses, body.beside(older.head.ends));
            return Ok(Some(self.encode(log, said, &body.finish(), now)));
        }
        let Some(mut state) = self.removed(kept) else { return Ok(None) };
        read_into(&mut state, kept, kept.reader.start_offset(), upto, |_| true).map_err(|error| error.to_string())?;
        let Checkpoint { head, state: said, .. } = older;
        let is_coarse = state.coarsen(kept.role, &said, self.ranges_per_share);
        let body = Body::of(&state);
        let (losses, ends) = match is_coarse {
            // It may say what is still there, and that may be damaged some day.
            true => (head.losses, Some(head.ends.unwrap_or_default())),
            // What was removed was readable: no damage is to be taken out.
            false => {
                let ends = body.beside(body.names_ends().then(Vec::new));
                (head.losses.into_iter().map(|(loss, _)| (loss, u64::MAX)).collect(), ends)
            }
        };
        Ok(Some(self.encode(log, (upto, losses, ends), &body.finish(), now)))
    }

    /// What the records said that are no longer in the log; `None` if nobody knows.
    pub(super) fn removed(&self, kept: &Kept) -> Option<LogState> {
        match kept.reader.start_offset() {
            0 => Some(LogState::default()),
            start => checkpoint::load(&*self.fs, &kept.dir, start).ok().map(|checkpoint| checkpoint.state),
        }
    }
}

/// Adds what the records of `[from, upto)` say; how many offsets cannot be read. `pass` is asked after each chunk and may
/// stop it: then `None`.
pub(super) fn read_into(
    state: &mut LogState,
    kept: &Kept,
    from: u64,
    upto: u64,
    mut pass: impl FnMut(usize) -> bool,
) -> Result<Option<u64>, ReadError> {
    let (mut at, mut lost) = (from, 0);
    while at < upto {
        let mut chunk = kept.reader.read(at, CHUNK_BYTES)?;
        let next = if chunk.next_offset > at { chunk.next_offset } else { upto };
        state.note_below(&chunk, upto);
        at = next;
        let gaps = chunk.gaps.iter().map(|damage| damage.gap.start..damage.gap.end.min(upto));
        lost += gaps.map(|gap| gap.end.saturating_sub(gap.start)).sum::<u64>();
        if !pass(std::mem::take(&mut chunk.bytes).len()) {
            return Ok(None);
        }
    }
    Ok(Some(lost))
}

/// Up to where nothing need be kept; `None` if everything may stay. The last segment always stays.
fn expired(segments: &[SegmentInfo], closed: &BTreeMap<u64, i64>, retention: Retention, now: Now) -> Option<u64> {
    let mut total: u64 = segments.iter().map(|segment| segment.allocated).sum();
    let mut upto = None;
    let (_, old) = segments.split_last()?;
    for segment in old {
        let age = closed.get(&segment.base_offset).map_or(0, |at| Ages::at(now).saturating_sub(*at));
        let is_old = retention.age.is_some_and(|most| age > millis(most));
        let is_over = retention.bytes.is_some_and(|most| total > most);
        if !is_old && !is_over {
            break;
        }
        total -= segment.allocated;
        upto = Some(segment.next_offset);
    }
    upto
}

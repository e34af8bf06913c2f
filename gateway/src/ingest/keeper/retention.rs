//! Retention: whole closed segments go, from the front, by bytes or by age.
//!
//! Before they go, what they say is added to the checkpoint at the log's first offset: it says what was removed, and
//! with it the identities of a damaged stretch can be told, and the log can be read from its beginning if both other
//! checkpoints are bad. They go one by one, each with a checkpoint of its own before it, so that wherever a removal is
//! cut off, the log begins at an offset that has one. Only on a full disk that checkpoint comes after the removal, in
//! the room that it made.

use std::collections::BTreeMap;

use weir_storage::{IoError, ReadError, RemoveError, SegmentInfo};

use super::super::checkpoint::{self, Body};
use super::super::log_state::LogState;
use super::ages::millis;
use super::{Ages, Keeper, Kept, Now, Retention};
use crate::topics::TopicId;

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
    /// A loss log: for the checkpoints of the readings, which say what of its damage is taken out.
    Readings,
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
        if kept.topic == TopicId::Describe {
            return Ok(Removal::Nothing);
        }
        let segments = kept.reader.segments();
        let Some(wanted) = expired(&segments, &kept.closed, self.retention, now) else { return Ok(Removal::Nothing) };
        let (covered, waits) = self.covered(log).map_err(|error| error.to_string())?;
        let next = segments.get(1).map(|segment| segment.base_offset);
        let Some(upto) = next.filter(|base| *base <= wanted.min(covered)) else {
            return Ok(Removal::Waiting(waits));
        };
        self.logs[log].removing = Some(upto);
        let retired = self.retired(log, upto, now)?;
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

    /// The offset that the older of the last two checkpoints covers, read back and verified, and what a segment behind
    /// it waits for.
    fn covered(&self, log: usize) -> Result<(u64, Waits), IoError> {
        let kept = &self.logs[log];
        let offsets = checkpoint::list(&*self.fs, &kept.dir)?;
        let [.., older, _] = offsets[..] else { return Ok((0, Waits::Checkpoint)) };
        let covered = match checkpoint::load(&*self.fs, &kept.dir, older) {
            Ok(checkpoint) => checkpoint.head.offset,
            Err(why) => {
                tracing::warn!(why, "retention waits: a checkpoint cannot be believed, the next ones replace it");
                return Ok((0, Waits::Checkpoint));
            }
        };
        if kept.topic != TopicId::Loss {
            return Ok((covered, Waits::Checkpoint));
        }
        let needed = self.needed_by_readings(kept.partition)?;
        Ok((covered.min(needed), if needed < covered { Waits::Readings } else { Waits::Checkpoint }))
    }

    /// Losses from this offset on may have to be taken out of a checkpoint of the readings.
    fn needed_by_readings(&self, partition: u32) -> Result<u64, IoError> {
        let readings = &self.logs[self.routes.at(TopicId::Readings, partition as usize)];
        let mut needed = u64::MAX;
        for offset in checkpoint::list(&*self.fs, &readings.dir)? {
            // One that cannot be believed is never used.
            if let Ok(checkpoint) = checkpoint::load(&*self.fs, &readings.dir, offset) {
                needed = needed.min(checkpoint.head.loss_offset);
            }
        }
        Ok(needed)
    }

    /// The checkpoint for the segments below `upto` once they are gone: what the records below can be read to say.
    /// `None` if what was removed before is not known; then the checkpoint that is there, if any, has to do.
    fn retired(&self, log: usize, upto: u64, now: Now) -> Result<Option<Vec<u8>>, String> {
        let kept = &self.logs[log];
        let Some(mut state) = self.removed(kept) else { return Ok(None) };
        read_into(&mut state, kept, kept.reader.start_offset(), upto, |_| true).map_err(|error| error.to_string())?;
        let loss_offset = if kept.topic == TopicId::Readings { u64::MAX } else { 0 };
        Ok(Some(self.encode(log, (upto, loss_offset), &Body::of(&state).finish(), now)))
    }

    /// What the records said that are no longer in the log; `None` if nobody knows.
    pub(super) fn removed(&self, kept: &Kept) -> Option<LogState> {
        match kept.reader.start_offset() {
            0 => Some(LogState::default()),
            start => checkpoint::load(&*self.fs, &kept.dir, start).ok().map(|checkpoint| checkpoint.state),
        }
    }
}

/// Adds what the records of `[from, upto)` say; `pass` is asked after each chunk and may stop it.
pub(super) fn read_into(
    state: &mut LogState,
    kept: &Kept,
    from: u64,
    upto: u64,
    mut pass: impl FnMut(usize) -> bool,
) -> Result<bool, ReadError> {
    let mut at = from;
    while at < upto {
        let mut chunk = kept.reader.read(at, CHUNK_BYTES)?;
        let next = if chunk.next_offset > at { chunk.next_offset } else { upto };
        state.note_below(&chunk, upto);
        at = next;
        if !pass(std::mem::take(&mut chunk.bytes).len()) {
            return Ok(false);
        }
    }
    Ok(true)
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

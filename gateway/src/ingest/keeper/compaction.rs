//! Compaction of state topics: the last record of each key stays.
//!
//! Guarantees: only records below the older of the two kept checkpoints go, read back and verified, so what they said is
//! known for ever; and before they go, the checkpoint at the log's first offset says it too, so that reading the
//! log from there still finds everything that was ever stored in it.

use weir_storage::{Compaction, CompactionOptions, RemoveError, compaction};

use super::super::checkpoint::{self, Body};
use super::{Keeper, Now};

/// What one look at a log came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Compacted {
    /// It is not compacted, or has not grown enough.
    Nothing,
    /// It has grown, and the older checkpoint does not say so yet.
    Waiting,
    /// Done, or as far as it came.
    Done(Compaction),
}

impl Keeper {
    /// Compacts a log if it has grown enough; `compact` asks the committer to.
    ///
    /// # Errors
    /// What could not be read, written or compacted; no record is gone that was to stay.
    pub(crate) fn compact(
        &mut self,
        log: usize,
        now: Now,
        compact: impl FnOnce(&CompactionOptions) -> Result<Compaction, RemoveError>,
    ) -> Result<Compacted, String> {
        let kept = &self.logs[log];
        let segments = kept.reader.segments();
        if !kept.compact || !compaction::is_due(&segments, kept.compacted_below, u64::MAX) {
            return Ok(Compacted::Nothing);
        }
        let older = self.older(log).map_err(|error| error.to_string())?;
        let Some(older) = older.filter(|older| compaction::is_due(&segments, kept.compacted_below, older.head.offset))
        else {
            return Ok(Compacted::Waiting);
        };
        let (start, upto) = (kept.reader.start_offset(), older.head.offset);
        if start < upto {
            let body = Body::of(&older.state);
            let said = (start, older.head.losses, body.beside(older.head.ends));
            let file = self.encode(log, said, &body.finish(), now);
            checkpoint::store(&*self.fs, &kept.dir, start, &file).map_err(|error| error.to_string())?;
        }
        let options = CompactionOptions { upto, ..CompactionOptions::default() };
        let done = compact(&options).map_err(|error| error.to_string())?;
        self.logs[log].compacted_below = done.compacted_below;
        self.counters.compacted_records.add(done.removed_records);
        self.look(now);
        Ok(Compacted::Done(done))
    }
}

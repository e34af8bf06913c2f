//! Writing checkpoints.

use weir_storage::IoError;

use super::super::checkpoint::{self, Ends, Head, Losses};
use super::super::snapshots::Snapshot;
use super::{Ages, Keeper, Now};

impl Keeper {
    /// Notes which segments were closed since the last look.
    pub(crate) fn look(&mut self, now: Now) {
        for log in &mut self.logs {
            let segments = log.reader.segments();
            let Some((_, closed)) = segments.split_last() else { continue };
            let start = closed.first().map_or(u64::MAX, |first| first.base_offset);
            log.closed.retain(|base, _| *base >= start);
            for segment in closed {
                // Segments that compaction made one are as young as the youngest of them.
                let members = log.closed.range(segment.base_offset..segment.next_offset);
                let at = members.map(|(_, at)| *at).max().unwrap_or(Ages::at(now));
                log.closed.retain(|base, _| !(segment.base_offset..segment.next_offset).contains(base));
                log.closed.insert(segment.base_offset, at);
            }
        }
    }

    /// Makes a snapshot the newest checkpoint of its log.
    ///
    /// # Errors
    /// [`IoError`]; the checkpoints that were there are as they were.
    pub(crate) fn write(&mut self, snapshot: &Snapshot, now: Now) -> Result<(), IoError> {
        self.look(now);
        let ends = snapshot.ends.as_ref().map(|ends| self.routes.settled_ends(ends));
        let ends = ends.or(snapshot.has_pages.then(Vec::new));
        let file = self.encode(snapshot.log, (snapshot.offset, snapshot.losses.clone(), ends), &snapshot.body, now);
        let log = &mut self.logs[snapshot.log];
        // An older one may come behind a newer one that somebody asked for.
        if log.written.is_some_and(|written| written > snapshot.offset) {
            return Ok(());
        }
        checkpoint::store(&*self.fs, &log.dir, snapshot.offset, &file)?;
        log.written = Some(snapshot.offset);
        log.written_bytes = log.reader.allocated();
        self.counters.checkpoints.add(1);
        let start = log.reader.start_offset();
        checkpoint::prune(&*self.fs, &log.dir, &[start, log.removing.unwrap_or(start)])
    }

    /// Logs that have grown since their last checkpoint.
    pub(crate) fn grown(&self) -> Vec<usize> {
        let has_grown = |log: &super::Kept| {
            let end = log.reader.end_offset();
            end > log.written.unwrap_or(0)
        };
        (0..self.logs.len()).filter(|log| has_grown(&self.logs[*log])).collect()
    }

    /// Logs that have grown by more than this many bytes.
    pub(crate) fn grown_by(&self, bytes: u64) -> Vec<usize> {
        let has_grown = |log: &usize| {
            let kept = &self.logs[*log];
            kept.reader.allocated().saturating_sub(kept.written_bytes) > bytes
        };
        self.grown().into_iter().filter(has_grown).collect()
    }

    pub(super) fn encode(
        &self,
        log: usize,
        (offset, losses, ends): (u64, Losses, Option<Ends>),
        body: &[u8],
        now: Now,
    ) -> Vec<u8> {
        let kept = &self.logs[log];
        let (schema_id, partition) = (kept.schema_id, kept.partition);
        let written_ms = self.ages.wall_ms(Ages::at(now));
        let closed = kept.closed.iter().map(|(base, at)| (*base, self.ages.wall_ms(*at)));
        checkpoint::encode(&Head { schema_id, partition, offset, losses, ends, written_ms }, closed, body)
    }
}

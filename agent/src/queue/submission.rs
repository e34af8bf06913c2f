//! What goes into the queue together, and how that ended.

use std::ops::Range;
use std::sync::Arc;

use weir_storage::{Batch, CommitError, Completion, Submission, SubmitError};

use super::{Claims, ClaimsError, ClassId, Queue};

/// What a submission puts into the queue.
#[derive(Debug, Default)]
pub struct Entries {
    /// Records for the logs; each class at most once.
    pub batches: Vec<(ClassId, Batch)>,
    /// Claims beside them, durable after the records are.
    pub claims: Claims,
}

impl Entries {
    /// Records for `default`.
    pub fn of(batch: Batch) -> Self {
        Self { batches: vec![(ClassId::DEFAULT, batch)], ..Self::default() }
    }
}

/// How a submission ended.
#[derive(Debug)]
pub struct Committed {
    /// One for each batch, in order. A failed one does not take back the others: devices send again what was in it, and
    /// with it what was in the others.
    pub parts: Vec<CommittedPart>,
    /// Whether claims became coarser for those submitted; or why those submitted do not count. None counts if a part
    /// failed.
    pub claims: Result<bool, ClaimsError>,
}

/// How one batch of it ended.
#[derive(Debug)]
pub struct CommittedPart {
    /// Whose it is.
    pub class: ClassId,
    /// The offsets of its records, and the base of the segment that they began, if they did; or why none of them is in
    /// the queue.
    pub result: Result<(Range<u64>, Option<u64>), CommitError>,
    /// The batch, for reuse.
    pub spare: Batch,
}

impl Committed {
    /// Why something of it is not in the logs, if so.
    pub fn failure(&self) -> Option<&CommitError> {
        self.parts.iter().find_map(|part| part.result.as_ref().err())
    }
}

impl Queue {
    /// A batch as it is stored.
    fn sealed(&self, class: ClassId, mut batch: Batch) -> Batch {
        if !self.options.vault.seals() {
            return batch;
        }
        let log = self.log(class);
        let mut sealed = Batch::new();
        for record in batch.records() {
            let value = log.sealed(record.key, record.value.unwrap_or_default());
            // A record is at most a run and one frame, far below what a record may hold.
            let pushed = sealed.push(record.timestamp_ms, record.key, Some(&value), &[]);
            debug_assert!(pushed.is_ok(), "a section larger than a record");
        }
        sealed
    }

    /// Hands in records and claims to commit; `done` is called on another thread. An error means that it will not be
    /// called.
    pub fn submit(&self, entries: Entries, done: impl FnOnce(Committed) + Send + 'static) -> Result<(), SubmitError> {
        let Entries { batches, claims } = entries;
        let (file, rolled) = (Arc::clone(&self.claims), Arc::clone(&self.rolled));
        let done = Box::new(move |completion: Completion| {
            let part = |part: weir_storage::Part| CommittedPart {
                class: ClassId(part.log as u8),
                result: part.result.map(|offsets| (offsets, part.rolled)),
                spare: part.batch,
            };
            let parts: Vec<CommittedPart> = completion.parts.into_iter().map(part).collect();
            let began = parts.iter().any(|part| matches!(part.result, Ok((_, Some(_)))));
            let mut committed = Committed { parts, claims: Ok(false) };
            if committed.failure().is_none() {
                // On the thread of the commits: claims follow the records that they were decided on.
                committed.claims = file.add(&claims);
            }
            done(committed);
            if began {
                rolled.notify_one();
            }
        });
        let parts = batches.into_iter().map(|(class, batch)| (class.index(), self.sealed(class, batch))).collect();
        self.committer.submit(Submission { parts, done })
    }
}

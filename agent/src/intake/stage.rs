//! Sections on their way to the next commit, and what the commit will have acknowledged.
//!
//! Readings of one restart that follow on from each other become one run, so that a record of the queue
//! holds more than one frame's worth. Order within a restart is the order of arrival.

use std::collections::BTreeMap;

use weir_protocol::batch::{Claim, RestartEnd, RunBuilder, Section};
use weir_protocol::{RangeSet, Reading, SchemaHash, Sequence, items};
use weir_storage::Batch;

use super::LinkId;
use crate::queue::records::sequences;
use crate::queue::{Claims, Entries, Key};

/// A run is closed at this many encoded bytes: small enough to halve, large enough to pay.
const RUN_BYTES: usize = 16 * 1024;

/// The most bytes that wait for a commit, about; devices send again.
const MAX_BYTES: u64 = 256 * 1024;
/// The most restarts with claims beside the log that wait for a commit.
const MAX_BESIDE: usize = 1024;

/// What the commit of a batch acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Who waits for the acknowledgement.
    pub link: LinkId,
    /// The restart.
    pub key: Key,
    /// Where its history begins here, if it is new.
    pub from: Sequence,
    /// Everything below this is in the queue once the batch is.
    pub accepted: Sequence,
    /// Whether the batch says that the restart is over.
    pub ended: bool,
}

/// What is ready to commit.
#[derive(Debug)]
pub struct Staged {
    /// The records, and the claims beside the log.
    pub entries: Entries,
    /// What it acknowledges and holds.
    pub covered: Covered,
}

/// What a commit acknowledges, and what it holds.
#[derive(Debug, Default)]
pub struct Covered {
    /// What the records acknowledge.
    pub marks: Vec<Mark>,
    /// What the claims beside the log acknowledge, on top of it.
    pub claim_marks: Vec<Mark>,
    /// The sequences that the records name, coarsely.
    pub named: BTreeMap<Key, RangeSet>,
    /// How many readings are in it.
    pub readings: u64,
}

/// Sections that wait.
#[derive(Debug, Default)]
pub(super) struct Stage {
    batch: Batch,
    claims: Claims,
    runs: Vec<Run>,
    covered: Covered,
    encoded: Vec<u8>,
    timestamp_ms: i64,
}

#[derive(Debug)]
struct Run {
    key: Key,
    schema: SchemaHash,
    builder: RunBuilder,
    bytes: usize,
}

impl Stage {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.batch.is_empty() && self.runs.is_empty() && self.claims.is_empty()
    }

    /// Bytes that wait, about.
    pub(super) fn bytes(&self) -> u64 {
        (self.batch.byte_len() + self.runs.iter().map(|run| run.bytes + 96).sum::<usize>()) as u64
    }

    /// Whether nothing more is taken before a commit.
    pub(super) fn is_full(&self) -> bool {
        self.bytes() > MAX_BYTES || self.covered.claim_marks.len() > MAX_BESIDE
    }

    /// The time that the next records get, in milliseconds since 1970.
    pub(super) fn set_time(&mut self, timestamp_ms: i64) {
        self.timestamp_ms = timestamp_ms;
    }

    /// Appends the reading with sequence `sequence`, which follows on; `bytes` is its encoded size.
    pub(super) fn reading(
        &mut self,
        key: Key,
        schema: SchemaHash,
        sequence: Sequence,
        reading: &Reading<'_>,
        bytes: usize,
    ) {
        self.covered.readings += 1;
        let open = self.runs.iter().position(|run| run.key == key);
        let fits = |run: &Run| run.schema == schema && run.bytes + bytes <= RUN_BYTES;
        let at = match open {
            Some(at) if fits(&self.runs[at]) => at,
            closed => {
                if let Some(at) = closed {
                    self.close(at);
                }
                let builder = RunBuilder::new(key.0, key.1, schema, sequence);
                self.runs.push(Run { key, schema, builder, bytes: 0 });
                self.runs.len() - 1
            }
        };
        let run = &mut self.runs[at];
        run.builder.push(reading);
        run.bytes += bytes;
    }

    /// Appends a claim.
    pub(super) fn claim(&mut self, claim: Claim) {
        self.section((claim.device, claim.restart), &Section::Claim(claim));
    }

    /// Adds a claim beside the log; until the next commit nothing more of its restart goes into the log.
    pub(super) fn claim_beside(&mut self, claim: &Claim, mark: Mark) {
        let key = (claim.device, claim.restart);
        self.claims.add(key, claim.kind, claim.start.0..claim.end.0);
        put(&mut self.covered.claim_marks, mark);
    }

    /// Adds the end of a restart beside the log.
    pub(super) fn end_beside(&mut self, end: &RestartEnd, mark: Mark) {
        self.claims.add_end(end);
        put(&mut self.covered.claim_marks, mark);
    }

    /// Whether something of a restart goes beside the log with the next commit.
    pub(super) fn is_beside(&self, key: &Key) -> bool {
        self.covered.claim_marks.iter().any(|mark| mark.key == *key)
    }

    /// Appends the end of a restart.
    pub(super) fn end(&mut self, end: RestartEnd) {
        self.section((end.device, end.restart), &Section::End(end));
    }

    /// Notes what the commit of the records will have acknowledged.
    pub(super) fn mark(&mut self, mark: Mark) {
        put(&mut self.covered.marks, mark);
    }

    /// Everything that waits, and `spare` to collect the next.
    pub(super) fn take(&mut self, mut spare: Batch) -> Staged {
        while !self.runs.is_empty() {
            self.close(0);
        }
        spare.clear();
        let batch = core::mem::replace(&mut self.batch, spare);
        let entries = Entries { batch, claims: core::mem::take(&mut self.claims) };
        Staged { entries, covered: core::mem::take(&mut self.covered) }
    }

    /// Forgets everything that waits.
    pub(super) fn discard(&mut self) {
        self.batch.clear();
        self.runs.clear();
        (self.claims, self.covered) = Default::default();
    }

    fn section(&mut self, key: Key, section: &Section<'_>) {
        if let Some(at) = self.runs.iter().position(|run| run.key == key) {
            self.close(at);
        }
        self.record(section);
    }

    /// Moves an open run into the batch; the order of the others stays.
    fn close(&mut self, at: usize) {
        let run = self.runs.remove(at);
        self.record(&run.builder.section());
    }

    fn record(&mut self, section: &Section<'_>) {
        for (key, range) in sequences(section) {
            self.covered.named.entry(key).or_default().insert(range);
        }
        self.encoded.clear();
        items::push(&mut self.encoded, section);
        // A record is at most a run and one frame, far below what a record may hold.
        let pushed = self.batch.push(self.timestamp_ms, None, Some(&self.encoded), &[]);
        debug_assert!(pushed.is_ok(), "a section larger than a record");
    }
}

/// Adds a mark; a later one about the same restart takes the place of the one before.
fn put(marks: &mut Vec<Mark>, mark: Mark) {
    match marks.iter_mut().find(|other| other.link == mark.link && other.key == mark.key) {
        Some(other) => *other = Mark { from: other.from, ..mark },
        None => marks.push(mark),
    }
}

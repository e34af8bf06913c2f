//! The scrub: reads every log again, slowly, because opening reads only its end and bits rot where nobody looks.
//!
//! Damage that it finds, or that a reader met, is told by identity: what the gateway has stored there, less what was
//! removed ([`super::retention`]), less what can still be read. That becomes loss of the kind `damage`, once.

use std::collections::VecDeque;

use super::super::checkpoint;
use super::super::log_state::{Identities, LogState};
use super::super::snapshots::Snapshot;
use super::retention::read_into;
use super::{Keeper, Kept};
use crate::topics::Role;

/// Bytes read at a time.
const SLICE_BYTES: usize = 1 << 20;

/// Sequences of a log whose records cannot be read any more.
#[derive(Debug)]
pub(crate) struct Finding {
    /// The log that they were in.
    pub(crate) log: usize,
    pub(crate) identities: Identities,
    /// Offsets of which nobody can tell the identities, at most.
    pub(crate) unnamed: u64,
}

/// How far it has come.
#[derive(Debug, Default)]
pub(crate) struct Scrub {
    /// Logs to read, the next one in front.
    queue: VecDeque<usize>,
    /// Where in the one in front to go on.
    at: u64,
    has_gaps: bool,
}

impl Scrub {
    /// Begins again, with all logs.
    pub(crate) fn begin(&mut self, logs: usize) {
        *self = Self { queue: (0..logs).collect(), ..Self::default() };
    }

    /// Whether all logs were read.
    pub(crate) fn is_done(&self) -> bool {
        self.queue.is_empty()
    }

    fn next_log(&mut self) -> Option<usize> {
        (self.at, self.has_gaps) = (0, false);
        self.queue.pop_front()
    }
}

impl Keeper {
    /// Reads on. Bytes read, and the log that was finished if there is damage in it.
    pub(crate) fn scrub(&self, scrub: &mut Scrub) -> (usize, Option<usize>) {
        let Some(log) = scrub.queue.front().copied() else { return (0, None) };
        let reader = &self.logs[log].reader;
        let end = reader.end_offset();
        // Retention may have been here.
        scrub.at = scrub.at.max(reader.start_offset());
        if scrub.at >= end {
            let damaged = scrub.has_gaps.then_some(log);
            scrub.next_log();
            return (0, damaged);
        }
        match reader.read(scrub.at, SLICE_BYTES) {
            Ok(chunk) => {
                scrub.has_gaps |= chunk.gaps.iter().any(|damage| !damage.gap.is_empty());
                scrub.at = if chunk.next_offset > scrub.at { chunk.next_offset } else { end };
                self.counters.scrubbed_bytes.add(chunk.bytes.len() as u64);
                (chunk.bytes.len(), None)
            }
            Err(error) => {
                let kept = &self.logs[log];
                tracing::warn!(topic = &*kept.topic, partition = kept.partition, %error, "a log cannot be read");
                scrub.next_log();
                (0, None)
            }
        }
    }

    /// What the log said at the snapshot and nobody can read any more; `go_on` may stop it between two reads.
    ///
    /// # Errors
    /// Why it cannot be told.
    pub(crate) fn missing(&self, snapshot: &Snapshot, mut go_on: impl FnMut() -> bool) -> Result<Finding, String> {
        let log = snapshot.log;
        let kept = &self.logs[log];
        let start = kept.reader.start_offset();
        let Some(removed) = self.removed(kept) else {
            return Err(format!("the checkpoint at offset {start}, which says what was removed, cannot be read"));
        };
        let (_, known) = checkpoint::decode_state(&snapshot.body)?;
        let mut readable = LogState::default();
        match read_into(&mut readable, kept, start, snapshot.offset, |_| go_on()) {
            Ok(Some(lost)) => Ok(kept.finding(log, (&known, &removed, &readable), lost)),
            Ok(None) => Err("stopping".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Kept {
    /// What was known of the log, was not removed, and cannot be read, where `lost` offsets of it cannot be.
    fn finding(&self, log: usize, (known, removed, readable): (&LogState, &LogState, &LogState), lost: u64) -> Finding {
        // Compaction removes what it replaces, so what is not there need not be damaged.
        let identities = if self.compact { Identities::new() } else { known.without(removed, readable) };
        let named = identities.values().fold(0, |sum: u64, set| sum.saturating_add(set.len()));
        let is_exact = !self.compact && !known.has_coarse() && !removed.has_coarse();
        let unnamed = match is_exact {
            true => 0,
            // One loss has many sequences: none of those that are told need have lain at an offset of its own.
            false if self.role == Role::Loss => lost,
            false => lost.saturating_sub(named),
        };
        Finding { log, identities, unnamed }
    }
}

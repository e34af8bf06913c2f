//! One group: gather per log, stage in every dirty log, make all of it durable at once, complete in order.

use super::queue::{Control, Queue, Taken, Work};
use super::syncs::Syncs;
use super::{CommitterOptions, Completion, Part};
use crate::batch::Batch;
use crate::error::CommitError;
use crate::journal::{self, Journal};
use crate::log::Log;
use crate::log::commit::Staged;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

/// What the committer's thread owns.
pub(super) struct Group {
    logs: Vec<Log>,
    journal: Option<Journal>,
    syncs: Syncs,
}

/// The committer's thread.
pub(super) fn run(mut group: Group, queue: &Queue, options: CommitterOptions) -> Vec<Log> {
    let closing = AbandonOnDrop(queue);
    while let Some(Taken { works, controls }) = queue.take(options.max_group_bytes) {
        let start = Instant::now();
        for control in controls {
            group.obey(control);
        }
        if works.is_empty() {
            continue;
        }
        group.commit(works);
        if let Some(rest) = options.min_interval.checked_sub(start.elapsed()) {
            queue.pause(rest);
        }
    }
    drop(closing);
    group.end()
}

/// Even if a completion panics, nobody may wait for ever.
struct AbandonOnDrop<'a>(&'a Queue);

impl Drop for AbandonOnDrop<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// The part of a group that goes to one log.
struct Share<'a> {
    index: usize,
    log: &'a mut Log,
    /// Those that fit stand in front, `fitting` of them.
    batches: Vec<&'a mut Batch>,
    outcomes: Vec<&'a mut Option<Outcome>>,
    fitting: usize,
    state: State,
}

/// How far a share is.
enum State {
    Open,
    Staged(Staged),
    Ended(Result<Range<u64>, CommitError>),
}

/// How a part ended, and the segment that its group began.
struct Outcome {
    result: Result<Range<u64>, CommitError>,
    rolled: Option<u64>,
}

impl Outcome {
    fn failed(error: CommitError) -> Outcome {
        Outcome { result: Err(error), rolled: None }
    }
}

/// One part of a submission, and its outcome once there is one.
struct Slot {
    log: usize,
    batch: Batch,
    outcome: Option<Outcome>,
}

impl Group {
    /// Takes up to `threads` threads beside the one that commits.
    pub(super) fn new(logs: Vec<Log>, mut journal: Option<Journal>, threads: usize) -> io::Result<Group> {
        if let Some(journal) = &mut journal {
            journal.name(&logs)?;
        }
        Ok(Group { logs, journal, syncs: Syncs::new(threads) })
    }

    pub(super) fn logs(&self) -> &[Log] {
        &self.logs
    }

    fn obey(&mut self, control: Control) {
        // A caller that no longer waits needs no answer.
        match control {
            Control::VoidJournal { answer } => {
                let _ = answer.send(self.journal.as_mut().map_or(Ok(()), |journal| journal.void(&self.syncs)));
            }
            Control::Roll { log, answer } => {
                let _ = answer.send(self.logs.get_mut(log).map_or(Ok(()), Log::roll));
            }
        }
    }

    fn commit(&mut self, works: Vec<Work>) {
        let mut dones = Vec::with_capacity(works.len());
        let mut slots: Vec<Slot> = Vec::with_capacity(works.len());
        for work in works {
            let parts = work.submission.parts;
            dones.push((parts.len(), work.submission.done));
            slots.extend(parts.into_iter().map(|(log, batch)| Slot { log, batch, outcome: None }));
        }
        if let Err(error) = self.settle() {
            // A submission may rest on the failure of an earlier one in another log, so none goes on.
            slots.iter_mut().for_each(|slot| slot.outcome = Some(Outcome::failed(error.clone())));
        } else {
            let mut shares = share_out(&mut slots, &mut self.logs);
            shares.iter_mut().for_each(Share::stage);
            make_durable(&mut shares, self.journal.as_mut(), &self.syncs);
            shares.into_iter().for_each(Share::answer);
        }

        let mut slots = slots.into_iter();
        for (count, done) in dones {
            // Every slot has its outcome: its log index was checked when it was submitted.
            let parts = slots.by_ref().take(count).filter_map(|Slot { log, batch, outcome }| {
                outcome.map(|Outcome { result, rolled }| Part { log, result, rolled, batch })
            });
            done(Completion { parts: parts.collect() });
        }
    }

    /// Makes sure that what failed before stays void.
    fn settle(&mut self) -> Result<(), CommitError> {
        if let Some(journal) = &mut self.journal {
            journal.settle(&self.syncs)?;
        }
        self.logs.iter_mut().try_for_each(Log::settle)
    }

    fn end(self) -> Vec<Log> {
        if let Some(mut journal) = self.journal {
            // What it could not write to the segments is still in the file, and the next start redoes it.
            let _ = journal.void(&self.syncs);
        }
        self.logs.iter().for_each(Log::mark_end);
        self.logs
    }
}

/// Sorts the slots by log; only dirty logs get a share.
fn share_out<'a>(slots: &'a mut [Slot], logs: &'a mut [Log]) -> Vec<Share<'a>> {
    let mut shares: Vec<Share<'a>> = logs.iter_mut().enumerate().map(Share::new).collect();
    for Slot { log, batch, outcome } in slots {
        if let Some(share) = shares.get_mut(*log) {
            share.batches.push(batch);
            share.outcomes.push(outcome);
        }
    }
    shares.retain(|share| !share.batches.is_empty());
    shares
}

/// Syncs what is staged, by one sync of the journal or one of each log, and confirms it.
fn make_durable(shares: &mut [Share<'_>], journal: Option<&mut Journal>, syncs: &Syncs) {
    let staged: Vec<journal::Share<'_>> = shares.iter().filter_map(Share::staged).collect();
    let bytes = staged.iter().flat_map(|share| share.batches).map(|batch| batch.byte_len()).sum();
    let results: Vec<Result<(), CommitError>> = match journal {
        Some(journal) if journal.takes(staged.len(), bytes) => {
            let result = journal.commit(&staged, syncs).map_err(CommitError::from);
            vec![result; staged.len()]
        }
        _ => {
            let results = syncs.sync_all(staged.iter().map(|share| Arc::clone(&share.staged.segment)));
            let open = shares.iter().filter(|share| matches!(share.state, State::Staged(_)));
            results.into_iter().zip(open).map(|(result, share)| share.named("sync", result)).collect()
        }
    };
    let open = shares.iter_mut().filter(|share| matches!(share.state, State::Staged(_)));
    open.zip(results).for_each(|(share, result)| share.finish(result));
}

impl<'a> Share<'a> {
    fn new((index, log): (usize, &'a mut Log)) -> Share<'a> {
        Share { index, log, batches: Vec::new(), outcomes: Vec::new(), fitting: 0, state: State::Open }
    }

    fn stage(&mut self) {
        self.fitting = self.count_fitting();
        let next_offset = self.log.next_offset();
        self.state = match self.log.stage(&mut self.batches[..self.fitting]) {
            Ok(Some(staged)) => State::Staged(staged),
            Ok(None) => State::Ended(Ok(next_offset..next_offset)),
            Err(error) => State::Ended(Err(error)),
        };
    }

    fn staged(&self) -> Option<journal::Share<'_>> {
        let State::Staged(staged) = &self.state else { return None };
        Some(journal::Share { log: self.index, staged, batches: &self.batches[..self.fitting] })
    }

    /// Names the file in an error.
    fn named(&self, action: &'static str, result: io::Result<()>) -> Result<(), CommitError> {
        match &self.state {
            State::Staged(staged) => result.map_err(|error| self.log.path_error(action, staged, error)),
            State::Open | State::Ended(_) => Ok(()),
        }
    }

    /// What was staged is durable, or is not.
    fn finish(&mut self, result: Result<(), CommitError>) {
        let State::Staged(staged) = std::mem::replace(&mut self.state, State::Open) else { return };
        self.state = State::Ended(match result {
            Ok(()) => Ok(self.log.confirm(staged, &self.batches[..self.fitting])),
            Err(error) => {
                self.log.withdraw(staged);
                Err(error)
            }
        });
    }

    fn answer(self) {
        let State::Ended(committed) = self.state else { return };
        let rolled = self.log.take_rolled();
        let mut next_offset = committed.as_ref().map_or(0, |offsets| offsets.start);
        for (at, (batch, outcome)) in self.batches.into_iter().zip(self.outcomes).enumerate() {
            *outcome = Some(if at < self.fitting {
                let start = next_offset;
                next_offset += batch.record_count();
                Outcome { result: committed.clone().map(|_| start..next_offset), rolled }
            } else {
                Outcome::failed(self.log.refusal(batch.byte_len() as u64))
            });
        }
    }

    /// How many batches, from the first on, stay within the log's cap together.
    fn count_fitting(&self) -> usize {
        let mut bytes = 0;
        let fits = |batch: &&&mut Batch| {
            bytes += batch.byte_len() as u64;
            self.log.has_room(bytes)
        };
        self.batches.iter().take_while(fits).count()
    }
}

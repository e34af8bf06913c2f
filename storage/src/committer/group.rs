//! One group: gather per log, commit the dirty logs in parallel, complete in order.

use super::queue::{Control, Queue, Taken, Work};
use super::{CommitterOptions, Completion, Part};
use crate::batch::Batch;
use crate::error::CommitError;
use crate::log::Log;
use std::ops::Range;
use std::thread;
use std::time::Instant;

/// The committer's thread.
pub(super) fn run(mut logs: Vec<Log>, queue: &Queue, options: CommitterOptions) -> Vec<Log> {
    let closing = AbandonOnDrop(queue);
    while let Some(Taken { works, controls }) = queue.take(options.max_group_bytes) {
        let start = Instant::now();
        for control in controls {
            obey(control, &mut logs);
        }
        if works.is_empty() {
            continue;
        }
        commit(works, &mut logs, options.max_parallel_syncs);
        if let Some(rest) = options.min_interval.checked_sub(start.elapsed()) {
            queue.pause(rest);
        }
    }
    drop(closing);
    logs.iter().for_each(Log::mark_end);
    logs
}

/// Even if a completion panics, nobody may wait for ever.
struct AbandonOnDrop<'a>(&'a Queue);

impl Drop for AbandonOnDrop<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

fn obey(control: Control, logs: &mut [Log]) {
    let Control::RemoveBefore { log, offset, answer } = control;
    if let Some(log) = logs.get_mut(log) {
        // A caller that no longer waits needs no answer.
        let _ = answer.send(log.remove_before(offset));
    }
}

/// The part of a group that goes to one log.
struct Share<'a> {
    log: &'a mut Log,
    batches: Vec<(&'a mut Batch, &'a mut Option<Outcome>)>,
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

fn commit(works: Vec<Work>, logs: &mut [Log], max_parallel_syncs: usize) {
    let mut dones = Vec::with_capacity(works.len());
    let mut slots: Vec<Slot> = Vec::with_capacity(works.len());
    for work in works {
        let parts = work.submission.parts;
        dones.push((parts.len(), work.submission.done));
        slots.extend(parts.into_iter().map(|(log, batch)| Slot { log, batch, outcome: None }));
    }
    if let Err(error) = logs.iter_mut().try_for_each(Log::settle) {
        // A submission may rest on the failure of an earlier one in another log, so none goes on.
        slots.iter_mut().for_each(|slot| slot.outcome = Some(Outcome::failed(error.clone())));
    } else {
        let mut shares = share_out(&mut slots, logs);
        commit_shares(&mut shares, max_parallel_syncs);
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

/// Sorts the slots by log; only dirty logs get a share.
fn share_out<'a>(slots: &'a mut [Slot], logs: &'a mut [Log]) -> Vec<Share<'a>> {
    let mut shares: Vec<Share<'a>> = logs.iter_mut().map(|log| Share { log, batches: Vec::new() }).collect();
    for Slot { log, batch, outcome } in slots {
        if let Some(share) = shares.get_mut(*log) {
            share.batches.push((batch, outcome));
        }
    }
    shares.retain(|share| !share.batches.is_empty());
    shares
}

fn commit_shares(shares: &mut [Share<'_>], max_parallel_syncs: usize) {
    let per_thread = shares.len().div_ceil(max_parallel_syncs.max(1)).max(1);
    let mut chunks = shares.chunks_mut(per_thread);
    let Some(own) = chunks.next() else { return };
    thread::scope(|scope| {
        for chunk in chunks {
            // Spawning costs some 20 us where a sync costs milliseconds. What gets no thread is committed below.
            let _ = thread::Builder::new().spawn_scoped(scope, move || chunk.iter_mut().for_each(Share::commit));
        }
        own.iter_mut().for_each(Share::commit);
    });
    shares.iter_mut().filter(|share| share.is_open()).for_each(Share::commit);
}

impl Share<'_> {
    /// Whether nothing was tried yet.
    fn is_open(&self) -> bool {
        self.batches.iter().any(|(_, outcome)| outcome.is_none())
    }

    fn commit(&mut self) {
        let fitting = self.fitting();
        let (fit, refused) = self.batches.split_at_mut(fitting);
        let mut batches: Vec<&mut Batch> = fit.iter_mut().map(|(batch, _)| &mut **batch).collect();
        let committed = self.log.commit_group(&mut batches);
        let rolled = self.log.take_rolled();
        let mut next_offset = committed.as_ref().map_or(0, |offsets| offsets.start);
        for (batch, result) in fit {
            let start = next_offset;
            next_offset += batch.record_count();
            **result = Some(Outcome { result: committed.clone().map(|_| start..next_offset), rolled });
        }
        for (batch, result) in refused {
            **result = Some(Outcome::failed(self.log.refusal(batch.byte_len() as u64)));
        }
    }

    /// How many batches, from the first on, stay within the log's cap together.
    fn fitting(&self) -> usize {
        let mut bytes = 0;
        let fits = |(batch, _): &&(&mut Batch, _)| {
            bytes += batch.byte_len() as u64;
            self.log.has_room(bytes)
        };
        self.batches.iter().take_while(fits).count()
    }
}

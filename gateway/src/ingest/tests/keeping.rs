//! Driving the keeper step by step, and what it keeps in the directory of a log.

use std::path::{Path, PathBuf};

use weir_storage::IoError;

use super::super::checkpoint;
use super::super::damage::Job;
use super::super::keeper::{Now, Removal, Scrub};
use super::{ARRIVAL, Gateway};
use crate::topics::{TopicId, layout};

impl Gateway {
    /// The time by both clocks.
    pub(super) fn time(&self) -> Now {
        Now { elapsed: self.now, wall_ms: self.wall_ms }
    }

    /// Writes the snapshots that were begun; how the writing ended.
    pub(super) fn keep(&mut self) -> Result<(), IoError> {
        let mut ended = Ok(());
        loop {
            let running = self.engine.is_taking_snapshots();
            for snapshot in self.engine.step_snapshots() {
                ended = ended.and(self.keeper.write(&snapshot, self.time()));
            }
            if !running {
                return ended;
            }
        }
    }

    /// Writes a checkpoint of every log, as a stop does.
    pub(super) fn checkpoint(&mut self) {
        self.keep().expect("writes");
        self.engine.snapshot_all();
        self.keep().expect("writes");
    }

    /// One look of retention at every log, segment by segment.
    pub(super) fn retain(&mut self) -> Vec<Result<Removal, String>> {
        let now = self.time();
        self.keeper.look(now);
        let writer = &mut self.writer;
        let mut remove = |log: usize, offset| writer.remove_before(log, offset);
        let mut ended = Vec::new();
        for log in 0..self.keeper.logs.len() {
            let mut begins = None;
            let last = loop {
                match self.keeper.retain(log, now, |offset| remove(log, offset)) {
                    Ok(Removal::Upto(start)) => begins = Some(start),
                    Ok(Removal::Nothing) => break Ok(begins.map_or(Removal::Nothing, Removal::Upto)),
                    other => break other,
                }
            };
            ended.push(last);
        }
        ended
    }

    /// Reads every log again, and counts what was damaged; how many sequences those were.
    pub(super) fn scrub(&mut self) -> u64 {
        let mut scrub = Scrub::default();
        scrub.begin(self.keeper.logs.len());
        let mut damaged = Vec::new();
        while self.writer.void_journal().is_err() {}
        while !scrub.is_done() {
            damaged.extend(self.keeper.scrub(&mut scrub).1);
        }
        damaged.into_iter().map(|log| self.account(log).expect("can be told")).sum()
    }

    /// Counts what was damaged in one log.
    pub(super) fn account(&mut self, log: usize) -> Result<u64, String> {
        self.settle();
        self.engine.ask_snapshot(log, 1);
        let mut asked = None;
        while asked.is_none() {
            asked = self.engine.step_snapshots().into_iter().find(|snapshot| snapshot.asked == Some(1));
        }
        let finding = self.keeper.missing(&asked.expect("a snapshot"), || true)?;
        self.unnamed += finding.unnamed;
        let sequences = finding.identities.values().map(|set| set.len()).sum();
        let (done, _over) = std::sync::mpsc::channel();
        self.engine.lose(Job::new(finding, ARRIVAL, done));
        self.engine.advance();
        self.settle();
        Ok(sequences)
    }
}

pub(super) fn dir(topic: TopicId, partition: u32) -> PathBuf {
    layout::partition_dir(Path::new("/data"), TopicId::BUILT_IN_NAMES[topic.index()], partition)
}

/// The offsets of the checkpoints of a log.
pub(super) fn checkpoints(gateway: &Gateway, topic: TopicId, partition: u32) -> Vec<u64> {
    checkpoint::list(&gateway.fs, &dir(topic, partition)).expect("lists")
}

pub(super) fn checkpoint_path(topic: TopicId, partition: u32, offset: u64) -> PathBuf {
    dir(topic, partition).join(format!("ranges-{offset:020}"))
}

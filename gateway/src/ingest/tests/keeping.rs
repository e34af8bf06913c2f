//! Driving the keeper step by step, and what it keeps in the directory of a log.

use std::path::{Path, PathBuf};

use super::super::checkpoint;
use super::super::damage::Job;
use super::super::keeper::Scrub;
use super::{ARRIVAL, Gateway};
use crate::topics::{TopicId, layout};

impl Gateway {
    /// Writes a checkpoint of every log, as a stop does.
    pub(super) fn checkpoint(&mut self) {
        self.keep().expect("writes");
        self.engine.snapshot_all();
        self.keep().expect("writes");
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

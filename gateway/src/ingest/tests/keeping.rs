//! Driving the keeper step by step, and what it keeps in the directory of a log.

use std::path::{Path, PathBuf};

use super::super::checkpoint;
use super::Gateway;
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
        let damaged = loop {
            if let Some(damaged) = self.look_for_damage() {
                break damaged;
            }
        };
        damaged.into_iter().map(|log| self.count_damage(log).expect("can be told")).sum()
    }

    /// Counts what was damaged in one log.
    pub(super) fn count_damage(&mut self, log: usize) -> Result<u64, String> {
        self.settle();
        let accounted = self.account(log)?;
        self.unnamed += accounted.unnamed;
        self.settle();
        Ok(accounted.sequences)
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

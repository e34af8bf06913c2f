//! The directories of the topics, and opening their logs.
//!
//! ```text
//! <data>/topics/<topic>/partitions         a weir_storage::StateFile: the partition count, u32 big endian
//! <data>/topics/<topic>/<partition>/       the segments of one weir_storage::Log
//! <data>/topics/journal                    the weir_storage::journal of all of them
//! ```
//!
//! The count is written before the first partition is made. If the file is damaged, the directories say the
//! count, so the logs stay readable.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use weir_storage::{
    Fs, IoError, Journal, JournalOptions, Loaded, Log, LogOptions, OpenError, Recovery, Redone, StateFile, durable,
    journal,
};

use super::{TopicId, murmur2};

/// The most partitions of one topic.
pub const MAX_PARTITIONS: u32 = 64;

/// The directory of all topics.
pub(crate) const TOPICS: &str = "topics";

/// Why the topics could not be opened.
#[derive(Debug, Error)]
pub enum LayoutError {
    /// The filesystem refused.
    #[error(transparent)]
    Io(#[from] IoError),
    /// One partition could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The count of an existing topic is fixed.
    #[error("topic {topic} has {got} partitions, and the count is fixed: set topics.partitions = {got}, got {asked}")]
    Partitions {
        /// The topic.
        topic: &'static str,
        /// What it has.
        got: u32,
        /// What the settings ask for.
        asked: u32,
    },
    /// Outside the bounds.
    #[error("topics.partitions: got {0}, expected 1 to {MAX_PARTITIONS}")]
    Count(u32),
}

/// The logs of all topics in one list, as a committer takes them.
pub(crate) struct Opened {
    pub(crate) logs: Vec<Log>,
    pub(crate) routes: Routes,
    /// What opening found, log by log.
    pub(crate) recoveries: Vec<Recovery>,
    /// What the journal held.
    pub(crate) redone: Redone,
}

/// Which place in the list of logs a record goes to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Routes {
    partitions: u32,
}

impl Routes {
    pub(crate) const fn new(partitions: u32) -> Self {
        Self { partitions }
    }

    /// The partition of keys with this hash.
    pub(crate) fn partition(self, key_hash: u32) -> usize {
        murmur2::partition(key_hash, self.partitions) as usize
    }

    /// The log of a topic for keys with this hash.
    pub(crate) fn log(self, topic: TopicId, key_hash: u32) -> usize {
        self.at(topic, self.partition(key_hash))
    }

    /// The log of a partition.
    pub(crate) fn at(self, topic: TopicId, partition: usize) -> usize {
        topic as usize * self.partitions as usize + partition
    }

    /// Topic and partition of a log.
    pub(crate) fn place(self, log: usize) -> (TopicId, usize) {
        let partitions = self.partitions as usize;
        (TopicId::ALL[(log / partitions).min(TopicId::ALL.len() - 1)], log % partitions)
    }

    /// How many logs there are.
    pub(crate) fn logs(self) -> usize {
        TopicId::ALL.len() * self.partitions as usize
    }
}

/// The directory of a topic.
pub fn topic_dir(data: &Path, topic: TopicId) -> PathBuf {
    data.join(TOPICS).join(topic.name())
}

/// The directory of a partition.
pub fn partition_dir(data: &Path, topic: TopicId, partition: u32) -> PathBuf {
    topic_dir(data, topic).join(partition.to_string())
}

/// How many partitions a topic on disk has; 0 if it does not exist. Changes nothing.
///
/// # Errors
/// [`IoError`] when the directory cannot be read.
pub fn partition_count(fs: &Arc<dyn Fs>, data: &Path, topic: TopicId) -> Result<u32, IoError> {
    let dir = topic_dir(data, topic);
    if let Loaded::Good(payload) = count_file(fs, &dir).load()?
        && let Ok(bytes) = payload.try_into()
    {
        return Ok(u32::from_be_bytes(bytes).min(MAX_PARTITIONS));
    }
    if !fs.exists(&dir).map_err(IoError::on("look at", &dir))? {
        return Ok(0);
    }
    let names = fs.list(&dir).map_err(IoError::on("list", &dir))?;
    let numbers = names.iter().filter_map(|name| name.parse::<u32>().ok()).filter(|number| *number < MAX_PARTITIONS);
    Ok(numbers.max().map_or(0, |last| last + 1))
}

/// Opens every log, making what is missing.
pub(crate) fn open(fs: &Arc<dyn Fs>, data: &Path, partitions: u32, options: LogOptions) -> Result<Opened, LayoutError> {
    if !(1..=MAX_PARTITIONS).contains(&partitions) {
        return Err(LayoutError::Count(partitions));
    }
    let routes = Routes::new(partitions);
    let redone = journal::recover(fs, &data.join(TOPICS))?;
    let mut opened = Opened { logs: Vec::new(), routes, recoveries: Vec::new(), redone };
    for topic in TopicId::ALL {
        let dir = topic_dir(data, topic);
        durable::create_dir_all(&**fs, &dir)?;
        let got = partition_count(fs, data, topic)?;
        if got != 0 && got != partitions {
            return Err(LayoutError::Partitions { topic: topic.name(), got, asked: partitions });
        }
        let file = count_file(fs, &dir);
        if !matches!(file.load()?, Loaded::Good(_)) {
            file.replace(&partitions.to_be_bytes())?;
        }
        for partition in 0..partitions {
            let (log, recovery) = Log::open(Arc::clone(fs), &partition_dir(data, topic, partition), options)?;
            opened.logs.push(log);
            opened.recoveries.push(recovery);
        }
    }
    Ok(opened)
}

/// The journal of all logs, once they are open; without options the one that is there is removed.
pub(crate) fn journal(
    fs: &Arc<dyn Fs>,
    data: &Path,
    options: Option<JournalOptions>,
) -> Result<Option<Journal>, IoError> {
    let root = data.join(TOPICS);
    match options {
        Some(options) => Journal::open(Arc::clone(fs), &root, options).map(Some),
        None => Journal::remove(fs, &root).map(|()| None),
    }
}

fn count_file(fs: &Arc<dyn Fs>, dir: &Path) -> StateFile {
    StateFile::new(Arc::clone(fs), &dir.join("partitions"))
}

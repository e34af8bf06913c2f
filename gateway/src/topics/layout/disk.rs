//! The directories of the topics, as they are found. Nothing here changes anything.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_storage::{Fs, IoError, Loaded, StateFile};

use crate::topics::TopicId;
use crate::topics::definition::{MAX_PARTITIONS, check_name};

/// The directory of all topics.
pub(crate) const TOPICS: &str = "topics";
/// The file that says how many partitions a topic has.
const COUNT: &str = "partitions";

/// The directory of a topic.
pub fn topic_dir(data: &Path, topic: &str) -> PathBuf {
    data.join(TOPICS).join(topic)
}

/// The directory of a partition.
pub fn partition_dir(data: &Path, topic: &str, partition: u32) -> PathBuf {
    topic_dir(data, topic).join(partition.to_string())
}

/// How many partitions a topic on disk has; 0 if it does not exist. Changes nothing.
///
/// # Errors
/// [`IoError`] when the directory cannot be read.
pub fn partition_count(fs: &Arc<dyn Fs>, data: &Path, topic: &str) -> Result<u32, IoError> {
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

/// The topics on the disk beside the built-in ones, ascending. Changes nothing.
///
/// # Errors
/// [`IoError`] when the directory cannot be read.
pub fn routed_on_disk(fs: &Arc<dyn Fs>, data: &Path) -> Result<Vec<String>, IoError> {
    let root = data.join(TOPICS);
    if !fs.exists(&root).map_err(IoError::on("look at", &root))? {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for name in fs.list(&root).map_err(IoError::on("list", &root))? {
        let is_built_in = name == TopicId::READINGS_NAME;
        if !is_built_in && check_name(&name).is_ok() && fs.exists(&root.join(&name).join(COUNT)).unwrap_or(false) {
            found.push(name);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// What says how many partitions the topic in `dir` has.
pub(super) fn count_file(fs: &Arc<dyn Fs>, dir: &Path) -> StateFile {
    StateFile::new(Arc::clone(fs), &dir.join(COUNT))
}

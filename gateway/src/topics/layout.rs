//! Opening the logs of the topics: what there is to be ([`plan`]), of what is there ([`disk`]).
//!
//! ```text
//! <data>/topics/<topic>/partitions         a weir_storage::StateFile: the partition count, u32 big endian
//! <data>/topics/<topic>/<partition>/       the segments of one weir_storage::Log
//! <data>/topics/journal                    the weir_storage::journal of all of them
//! ```
//!
//! The count is written before the first partition is made. If the file is damaged, the directories say the
//! count, so the logs stay readable. What else is fixed is in the [`catalog`](super::catalog). A topic that the settings
//! no longer name is opened like any other.

mod disk;
mod plan;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use weir_storage::{
    Fs, IoError, Journal, JournalOptions, Loaded, Log, LogOptions, OpenError, Recovery, Redone, durable, journal,
};

use super::TopicId;
use super::definition::{Definition, Format, MAX_LOGS, MAX_PARTITIONS, MAX_ROUTED, NameError, Retention};
use super::routes::Routes;
use super::rules::Route;
use super::stores::Store;
pub(crate) use disk::TOPICS;
use disk::count_file;
pub use disk::{partition_count, partition_dir, routed_on_disk, topic_dir};
use plan::{Plan, define};

/// What settings say of one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defined {
    /// How many partitions it is made with.
    pub partitions: Option<u32>,
    /// How its values are written; Avro if nothing is said when it is made.
    pub format: Option<Format>,
    /// Whether the last record of each key is kept and earlier ones go; not so if nothing is said when it is made.
    pub compact: Option<bool>,
    /// Bytes on disk of all its partitions; `None` for the bound of all topics.
    pub retention_bytes: Option<u64>,
    /// Age of a segment since it was closed; `None` for the bound of all topics.
    pub retention_age: Option<Duration>,
}

/// What settings say of all topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routing {
    /// The first that matches wins; what matches none goes to `readings`.
    pub routes: Vec<Route>,
    /// Where messages of MQTT clients go; the first that matches wins.
    pub stores: Vec<Store>,
    /// What topics have of their own.
    pub defined: BTreeMap<String, Defined>,
}

/// What the topics are to be.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Partitions of each topic that is not defined otherwise, 1 to [`MAX_PARTITIONS`].
    pub partitions: u32,
    /// What each of these partitions may keep.
    pub retention: Retention,
    /// Routes, and what topics have of their own.
    pub routing: &'a Routing,
}

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
    #[error("topic {topic} has {got} partitions, and the count is fixed: set {key} = {got}, got {asked}")]
    Partitions {
        /// The topic.
        topic: String,
        /// What it has.
        got: u32,
        /// What the settings ask for.
        asked: u32,
        /// The key that asks for it.
        key: &'static str,
    },
    /// Format and compaction of an existing topic are fixed.
    #[error(
        "topic {topic} was made with {key} = {got}, and that is fixed: got {asked}; route to a topic of another name"
    )]
    Fixed {
        /// The topic.
        topic: String,
        /// `format` or `compact`.
        key: &'static str,
        /// What it has.
        got: String,
        /// What the settings ask for.
        asked: String,
    },
    /// Outside the bounds.
    #[error("topics.partitions: got {0}, expected 1 to {MAX_PARTITIONS}")]
    Count(u32),
    /// No name of a topic.
    #[error("topic {name:?}: {error}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        error: NameError,
    },
    /// More topics than there may be.
    #[error(
        "got {0} topics beside those that every gateway has, expected at most {MAX_ROUTED}; those on the disk count"
    )]
    Topics(usize),
    /// More partitions than there may be.
    #[error("got {0} partitions of all topics, expected at most {MAX_LOGS}; topics that are on the disk count")]
    Logs(usize),
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

/// The topics that are on the disk, with what the settings say of them if that fits; none if not even the built-in ones are
/// all there. Changes nothing.
///
/// # Errors
/// [`LayoutError`] when the filesystem refuses.
pub fn existing(fs: &Arc<dyn Fs>, data: &Path, asked: Asked<'_>) -> Result<Vec<Definition>, LayoutError> {
    let partitions = partition_count(fs, data, TopicId::READINGS_NAME)?;
    if partitions == 0 {
        return Ok(Vec::new());
    }
    let (asked, plain) = (Asked { partitions, ..asked }, Routing::default());
    let defined = define(fs, data, asked).or_else(|_| define(fs, data, Asked { routing: &plain, ..asked }));
    let mut found = Vec::new();
    for definition in defined?.definitions {
        let is_there = partition_count(fs, data, &definition.name)? > 0;
        match TopicId::BUILT_IN_NAMES.contains(&&*definition.name) {
            // The very first start was cut off.
            true if !is_there => return Ok(Vec::new()),
            _ if is_there => found.push(definition),
            _ => {}
        }
    }
    Ok(found)
}

/// Opens every log, making what is missing.
pub(crate) fn open(
    fs: &Arc<dyn Fs>,
    data: &Path,
    asked: Asked<'_>,
    options: LogOptions,
) -> Result<Opened, LayoutError> {
    let Plan { definitions, rules, stores, catalog } = define(fs, data, asked)?;
    durable::create_dir_all(&**fs, &data.join(TOPICS))?;
    if let Some(catalog) = &catalog.changed {
        catalog.store(fs, data)?;
    }
    let routes = Routes::new(definitions, rules, stores);
    let redone = journal::recover(fs, &data.join(TOPICS))?;
    let mut opened = Opened { logs: Vec::new(), routes, recoveries: Vec::new(), redone };
    for definition in opened.routes.definitions() {
        let dir = topic_dir(data, &definition.name);
        durable::create_dir_all(&**fs, &dir)?;
        catalog.now.store_copy(fs, data, &definition.name)?;
        let file = count_file(fs, &dir);
        if !matches!(file.load()?, Loaded::Good(_)) {
            file.replace(&definition.partitions.to_be_bytes())?;
        }
        for partition in 0..definition.partitions {
            let (log, recovery) =
                Log::open(Arc::clone(fs), &partition_dir(data, &definition.name, partition), options)?;
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

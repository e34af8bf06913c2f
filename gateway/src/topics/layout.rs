//! The directories of the topics, and opening their logs.
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

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use weir_storage::{
    Fs, IoError, Journal, JournalOptions, Loaded, Log, LogOptions, OpenError, Recovery, Redone, StateFile, durable,
    journal,
};

use super::TopicId;
use super::catalog::{Catalog, Fixed};
use super::definition::{
    Definition, Format, MAX_LOGS, MAX_PARTITIONS, MAX_ROUTED, NameError, Retention, Role, check_name,
};
use super::routes::Routes;
use super::rules::{Route, Rules};
use super::stores::{Store, Stores};

/// The directory of all topics.
pub(crate) const TOPICS: &str = "topics";

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

/// What topics there are to be, and what leads to them.
struct Plan {
    definitions: Vec<Definition>,
    rules: Rules,
    stores: Stores,
    catalog: Fixing,
}

/// What is fixed about topics, and the same once more if it is to be stored.
struct Fixing {
    now: Catalog,
    changed: Option<Catalog>,
}

/// Every topic: the built-in ones, those that the settings name, those that the disk has.
fn define(fs: &Arc<dyn Fs>, data: &Path, asked: Asked<'_>) -> Result<Plan, LayoutError> {
    if !(1..=MAX_PARTITIONS).contains(&asked.partitions) {
        return Err(LayoutError::Count(asked.partitions));
    }
    let routed = names(fs, data, asked.routing)?;
    let there = routed_on_disk(fs, data)?;
    let before = Catalog::load(fs, data, &[&there[..], &[TopicId::READINGS_NAME.to_owned()]].concat())?;
    let mut catalog = before.clone();

    let mut definitions: Vec<_> = TopicId::BUILT_IN
        .into_iter()
        .map(|topic| Definition::built_in(topic, asked.partitions, asked.retention))
        .collect();
    for definition in &mut definitions {
        let name = definition.name.to_string();
        fixed_count(fs, data, &name, asked.partitions, "topics.partitions")?;
        if definition.role == Role::Readings {
            let plain = Fixed { schema_id: definition.schema_id, format: Format::Avro, compact: false };
            let is_there = partition_count(fs, data, &name)? > 0;
            let made = catalog.get(&name).or(is_there.then_some(plain));
            let fixed = fix(&mut catalog, &name, (made, Some(plain.schema_id)), asked.routing.defined.get(&name))?;
            (definition.format, definition.compact) = (fixed.format, fixed.compact);
        }
        let shape = (definition.partitions, definition.compact);
        definition.retention = retention(asked, asked.routing.defined.get(&name), shape);
    }
    for name in routed {
        let defined = asked.routing.defined.get(&name);
        let asked_count = defined.and_then(|defined| defined.partitions);
        let key = "topics.define.partitions";
        let is_asked = asked_count.is_some();
        let count = asked_count.unwrap_or(asked.partitions);
        let partitions = match partition_count(fs, data, &name)? {
            0 => count,
            got if !is_asked => got,
            _ => fixed_count(fs, data, &name, count, key)?,
        };
        let made = catalog.get(&name);
        let asked_for = of_use(asked.routing, &name, defined, made)?;
        let fixed = fix(&mut catalog, &name, (made, None), Some(&asked_for))?;
        definitions.push(Definition {
            retention: retention(asked, defined, (partitions, fixed.compact)),
            name: name.into(),
            role: if fixed.format == Format::Raw { Role::Messages } else { Role::Readings },
            partitions,
            format: fixed.format,
            schema_id: fixed.schema_id,
            compact: fixed.compact,
            routes: Vec::new(),
        });
    }
    let logs = definitions.iter().map(|definition| definition.partitions as usize).sum();
    if logs > MAX_LOGS {
        return Err(LayoutError::Logs(logs));
    }
    let rules = rules(&mut definitions, &asked.routing.routes);
    let stores = stores(&mut definitions, &asked.routing.stores);
    let changed = (catalog != before).then(|| catalog.clone());
    Ok(Plan { definitions, rules, stores, catalog: Fixing { now: catalog, changed } })
}

/// The names of the topics beside the built-in ones: those on the disk first, so that they keep their order.
fn names(fs: &Arc<dyn Fs>, data: &Path, routing: &Routing) -> Result<Vec<String>, LayoutError> {
    let mut names = routed_on_disk(fs, data)?;
    let defined = routing.defined.keys().filter(|name| !TopicId::BUILT_IN_NAMES.contains(&name.as_str()));
    let stores = routing.stores.iter().map(|store| &store.topic);
    for name in routing.routes.iter().map(|route| &route.topic).chain(stores).chain(defined) {
        if name == TopicId::READINGS_NAME || names.contains(name) {
            continue;
        }
        check_name(name).map_err(|error| LayoutError::Name { name: name.clone(), error })?;
        names.push(name.clone());
    }
    if names.len() > MAX_ROUTED {
        return Err(LayoutError::Topics(names.len()));
    }
    Ok(names)
}

/// The count of a topic, if that is what it has or it is not there yet.
fn fixed_count(fs: &Arc<dyn Fs>, data: &Path, topic: &str, asked: u32, key: &'static str) -> Result<u32, LayoutError> {
    match partition_count(fs, data, topic)? {
        0 => Ok(asked),
        got if got == asked => Ok(got),
        got => Err(LayoutError::Partitions { topic: topic.to_owned(), got, asked, key }),
    }
}

/// What the settings say of a topic by what they use it for: readings or messages.
fn of_use(
    routing: &Routing,
    name: &str,
    defined: Option<&Defined>,
    made: Option<Fixed>,
) -> Result<Defined, LayoutError> {
    let mut defined = defined.cloned().unwrap_or_default();
    if routing.stores.iter().any(|store| store.topic == name) {
        defined.format.get_or_insert(Format::Raw);
    }
    let is_raw = defined.format.or(made.map(|made| made.format)) == Some(Format::Raw);
    if is_raw && routing.routes.iter().any(|route| route.topic == name) {
        let (got, asked) = (Format::Raw.to_string(), "a topic of readings".to_owned());
        return Err(LayoutError::Fixed { topic: name.to_owned(), key: "format", got, asked });
    }
    Ok(defined)
}

/// What is fixed about a topic, which is fixed now if it was not.
fn fix(
    catalog: &mut Catalog,
    name: &str,
    (made, schema_id): (Option<Fixed>, Option<u32>),
    defined: Option<&Defined>,
) -> Result<Fixed, LayoutError> {
    let asked = defined.map_or((None, None), |defined| (defined.format, defined.compact));
    let Some(fixed) = made else {
        let (format, compact) = (asked.0.unwrap_or_default(), asked.1.unwrap_or_default());
        return Ok(match schema_id {
            Some(schema_id) if (format, compact) == Default::default() => Fixed { schema_id, format, compact },
            schema_id => catalog.fix(name, schema_id, format, compact),
        });
    };
    let differs = |key, got: String, asked: String| LayoutError::Fixed { topic: name.to_owned(), key, got, asked };
    match asked {
        (Some(format), _) if format != fixed.format => {
            Err(differs("format", fixed.format.to_string(), format.to_string()))
        }
        (_, Some(compact)) if compact != fixed.compact => {
            Err(differs("compact", fixed.compact.to_string(), compact.to_string()))
        }
        _ => Ok(fixed),
    }
}

/// What one partition of a topic may keep. A compacted topic keeps the state of each channel, however old, unless it is
/// told otherwise itself.
fn retention(asked: Asked<'_>, defined: Option<&Defined>, (partitions, compact): (u32, bool)) -> Retention {
    let all = if compact { Retention::default() } else { asked.retention };
    let all_bytes = all.bytes.map(|bytes| bytes.saturating_mul(u64::from(asked.partitions)));
    let bytes = defined.and_then(|defined| defined.retention_bytes).or(all_bytes);
    Retention {
        bytes: bytes.map(|bytes| bytes / u64::from(partitions.max(1))),
        age: defined.and_then(|defined| defined.retention_age).or(all.age),
    }
}

/// The rules with their topics; each topic is told its own.
fn rules(definitions: &mut [Definition], routes: &[Route]) -> Rules {
    let mut rules = Vec::new();
    for route in routes {
        // Every topic that a route names was defined above.
        if let Some(at) = definitions.iter().position(|definition| *definition.name == *route.topic) {
            definitions[at].routes.push(route.to_string());
            rules.push((route.clone(), TopicId::at(at)));
        }
    }
    Rules::new(rules)
}

/// The stores with their topics; each topic is told its own.
fn stores(definitions: &mut [Definition], stores: &[Store]) -> Stores {
    let mut found = Vec::new();
    for store in stores {
        // Every topic that a store names was defined above.
        if let Some(at) = definitions.iter().position(|definition| *definition.name == *store.topic) {
            definitions[at].routes.push(format!("mqtt {}", store.filter));
            found.push((store.clone(), TopicId::at(at)));
        }
    }
    Stores::new(found)
}

const COUNT: &str = "partitions";

fn count_file(fs: &Arc<dyn Fs>, dir: &Path) -> StateFile {
    StateFile::new(Arc::clone(fs), &dir.join(COUNT))
}

//! What topics there are to be, of what settings say and what the disk has.
//!
//! What it guarantees: what was fixed when a topic was made stays (partitions, format, compaction, schema id), or the settings
//! are refused; a topic that the settings no longer name is there all the same; there are no more topics and partitions than
//! there may be.

use std::path::Path;
use std::sync::Arc;

use weir_storage::Fs;

use super::disk::{partition_count, routed_on_disk};
use super::{Asked, Defined, LayoutError, Routing};
use crate::topics::TopicId;
use crate::topics::catalog::{Catalog, Fixed};
use crate::topics::definition::{
    Definition, Format, MAX_LOGS, MAX_PARTITIONS, MAX_ROUTED, Retention, Role, check_name,
};
use crate::topics::rules::{Route, Rules};
use crate::topics::stores::{Store, Stores};

/// What topics there are to be, and what leads to them.
pub(super) struct Plan {
    pub(super) definitions: Vec<Definition>,
    pub(super) rules: Rules,
    pub(super) stores: Stores,
    pub(super) catalog: Fixing,
}

/// What is fixed about topics, and the same once more if it is to be stored.
pub(super) struct Fixing {
    pub(super) now: Catalog,
    pub(super) changed: Option<Catalog>,
}

/// Every topic: the built-in ones, those that the settings name, those that the disk has.
pub(super) fn define(fs: &Arc<dyn Fs>, data: &Path, asked: Asked<'_>) -> Result<Plan, LayoutError> {
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

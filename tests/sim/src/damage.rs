//! Bits that flip on a disk, and what that may cost.
//!
//! They flip in closed segments only: one in the last commit before a kill cannot be told from a commit that was
//! interrupted, and costs what that one costs.

use std::collections::BTreeMap;
use std::path::Path;

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::Value as Json;
use weir_agent::queue::class::log_dir;
use weir_agent::queue::records::{Found, sequences};
use weir_agent::queue::{ClassId, DEFAULT_CLASS, Queue};
use weir_gateway::http::page;
use weir_gateway::sim::Gateway;
use weir_gateway::topics::{TopicId, Topics};
use weir_lab::census::Page;
use weir_lab::ledger::RestartKey;
use weir_protocol::{DeviceId, RangeSet, Restart};
use weir_storage::fs::Mode;
use weir_storage::{FaultyFs, Fs as _, ReadError};

/// Records read at once.
const LIMIT: usize = 1000;

/// Identities that lay where a bit flipped.
pub(crate) type Spoilt = BTreeMap<RestartKey, RangeSet>;

/// Flips a bit of a queue below `data`; what was in the same segment. `None`: nothing is closed, or can be read.
pub(crate) fn of_queue(disk: &FaultyFs, data: &Path, queue: &Queue, random: &mut StdRng) -> Option<Spoilt> {
    let segments = queue.reader(ClassId::DEFAULT).segments();
    let (_, closed) = segments.split_last()?;
    let segment = closed.get(random.random_range(0..closed.len().max(1)))?;
    let mut spoilt = Spoilt::new();
    let walked = queue.log(ClassId::DEFAULT).walk(segment.base_offset..segment.next_offset, |found| {
        if let Found::Entry(entry) = found {
            sequences(&entry.section).for_each(|(key, range)| spoilt.entry(key).or_default().insert(range));
        }
        Ok::<_, ReadError>(())
    });
    walked.ok()?;
    let file = log_dir(data, DEFAULT_CLASS).join(format!("{:020}.log", segment.base_offset));
    flip(disk, &file, random).then_some(spoilt)
}

/// Flips a bit of what the gateway keeps of readings; what was in the same segment.
pub(crate) fn of_log(disk: &FaultyFs, topics: &Topics, random: &mut StdRng) -> Option<Spoilt> {
    let topic = topics.all().iter().find(|topic| topic.name() == TopicId::READINGS_NAME)?;
    let number = random.random_range(0..topic.partitions().len());
    let partition = &topic.partitions()[number];
    let segments = partition.reader().segments();
    let (_, closed) = segments.split_last()?;
    let segment = closed.get(random.random_range(0..closed.len().max(1)))?;
    let (mut spoilt, mut from) = (Spoilt::new(), segment.base_offset);
    while from < segment.next_offset {
        let read = page::read(partition, number, from, LIMIT).ok()?;
        let page = Page::parse(&page::to_json(topic, partition, number, read)).ok()?;
        for record in page.records.iter().filter(|record| offset(record) < Some(segment.next_offset)) {
            let Some((key, sequence)) = identity(&record["value"]) else { continue };
            spoilt.entry(key).or_default().insert(sequence..sequence + 1);
        }
        from = page.next;
    }
    flip(disk, &Gateway::segment(TopicId::READINGS_NAME, number as u32, segment.base_offset), random).then_some(spoilt)
}

fn offset(record: &Json) -> Option<u64> {
    record["offset"].as_u64()
}

/// Whose sequence a record of a reading is.
pub(crate) fn identity(value: &Json) -> Option<(RestartKey, u64)> {
    let number = |name: &str| value[name].as_u64().or_else(|| value[name].as_str()?.parse().ok());
    let device = DeviceId::new(value["device"].as_str()?).ok()?;
    Some(((device, Restart(number("restart")?)), number("sequence")?))
}

/// Flips a bit somewhere in a file.
fn flip(disk: &FaultyFs, file: &Path, random: &mut StdRng) -> bool {
    let size = disk.open(file, Mode::Read).and_then(|file| file.size()).unwrap_or(0);
    size > 0 && disk.flip_bit(file, random.random_range(0..size), random.random_range(0..8))
}

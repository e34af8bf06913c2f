//! The gateway's JSON, taken apart. Whatever is not as documented is an error with what was found.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Context, Result, anyhow};
use serde_json::Value as Json;
use weir_protocol::{DeviceId, Restart};

use crate::ledger::RestartKey;

/// Records of one partition, and where to go on.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The records.
    pub records: Vec<Json>,
    /// The offset to ask for next.
    pub next: u64,
    /// Damaged places that were skipped.
    pub gaps: Vec<Range<u64>>,
}

/// Offsets that cannot be read any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The offsets.
    pub offsets: Range<u64>,
}

impl Page {
    /// Reads what the gateway answers about one partition.
    pub fn parse(json: &Json) -> Result<Self> {
        let records = json["records"].as_array().context("no `records`")?.clone();
        let next = number(&json["next"]).context("no `next`")?;
        let gaps = json["gaps"].as_array().map(Vec::as_slice).unwrap_or_default();
        let gaps = gaps.iter().map(|gap| Ok(number(&gap["from"])?..number(&gap["to"])?)).collect::<Result<_>>()?;
        Ok(Self { records, next, gaps })
    }
}

/// The partitions, and an offset of each: `start`, the first that it still has, or `end`, its next one.
pub(super) fn bounds(json: &Json, bound: &str) -> Result<BTreeMap<(String, u32), u64>> {
    let mut all = BTreeMap::new();
    for topic in json.as_array().context("no list of topics")? {
        let name = topic["topic"].as_str().context("a topic without `topic`")?;
        let partitions = topic["partitions"].as_array().context("a topic without `partitions`")?;
        for partition in partitions {
            let which = u32::try_from(number(&partition["partition"])?).context("the number of a partition")?;
            all.insert((name.to_owned(), which), number(&partition[bound]).context("a partition without its bounds")?);
        }
    }
    Ok(all)
}

/// A number, or a number in a string as 64 bits need it in JSON.
pub(super) fn number(json: &Json) -> Result<u64> {
    json.as_u64()
        .or_else(|| json.as_str().and_then(|text| text.parse().ok()))
        .ok_or_else(|| anyhow!("{json} is not a number from 0 to 2^64"))
}

pub(super) fn span(json: &Json) -> Result<Range<u64>> {
    Ok(number(&json["start"])?..number(&json["end"])?)
}

pub(super) fn key(json: &Json) -> Result<RestartKey> {
    let device = json["device"].as_str().context("no `device`")?;
    let device = DeviceId::new(device).with_context(|| format!("device {device:?}"))?;
    Ok((device, Restart(number(&json["restart"]).context("restart")?)))
}

/// The spans of a dead letter: whose, which, and whether they were counted lost before.
pub(super) fn dead(json: &Json) -> Result<Vec<(RestartKey, Range<u64>, bool)>> {
    let spans = json["spans"].as_array().context("no `spans`")?;
    spans.iter().map(|s| Ok((key(s)?, span(s)?, s["heals"].as_bool().context("no `heals`")?))).collect()
}

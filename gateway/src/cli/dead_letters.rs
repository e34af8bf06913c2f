//! `deadletter list` and `deadletter show`.

use serde_json::Value;

use super::Failed;
use super::print::{Printer, bare};
use super::source::Source;
use crate::config::Config;
use crate::http::page::Start;
use crate::moment;
use crate::redrive::Place;
use crate::topics::TopicId;

const TOPIC: &str = TopicId::DEAD_LETTER_NAME;
/// Dead letters asked for at a time; each may hold the bytes of a whole batch.
const PAGE: usize = 50;

pub(super) fn list(config: &Config, limit: Option<u64>, printer: &mut Printer) -> Result<(), Failed> {
    super::block_on(async {
        let source = Source::open(config).await?;
        let partitions = source.topic(TOPIC).await?["partitions"].as_array().map_or(0, Vec::len);
        let mut left = limit.unwrap_or(u64::MAX);
        for partition in 0..partitions {
            let mut start = Start::Earliest;
            loop {
                let page = source.letters(partition, start, PAGE).await?;
                for record in page["records"].as_array().map_or(&[][..], Vec::as_slice) {
                    if left == 0 {
                        return Ok(());
                    }
                    left -= 1;
                    printer.line(summary(record), record)?;
                }
                let next = Start::Offset(page["next"].as_u64().unwrap_or_default());
                if page["next"] == page["end"] || start == next {
                    break;
                }
                start = next;
            }
        }
        Ok(())
    })
}

pub(super) fn show(config: &Config, place: &str, printer: &mut Printer) -> Result<(), Failed> {
    let Place { partition, offset } = place.parse().map_err(Failed::usage)?;
    let start = Start::Offset(offset);
    let page = super::block_on(async { Source::open(config).await?.letters(partition as usize, start, 1).await })?;
    let record = page["records"].get(0).filter(|record| record["offset"] == offset);
    let record = record.ok_or_else(|| Failed::runtime(format!("{place}: there is no dead letter")))?;
    let mut text = summary(record);
    for span in record["value"]["spans"].as_array().map_or(&[][..], Vec::as_slice) {
        let (device, restart) = (bare(&span["device"]), bare(&span["restart"]));
        text.push_str(&format!("\n  {device} restart {restart} sequences {} to {}", span["start"], span["end"]));
    }
    text.push_str(&format!(
        "\n  original ({}, base64): {}",
        bare(&record["value"]["format"]),
        bare(&record["value"]["original"])
    ));
    printer.line(text, record)
}

/// Place, time, sender, reason.
fn summary(record: &Value) -> String {
    let value = &record["value"];
    let position = value["position"].as_u64().map_or_else(String::new, |position| format!(" at byte {position}"));
    let redriven = match (record["redriven"]["stored"].as_u64(), record["redriven"]["of"].as_u64()) {
        (Some(stored), Some(of)) if stored >= of => "  (stored since)".to_owned(),
        (Some(stored @ 1..), Some(of)) => format!("  ({stored} of {of} stored since)"),
        _ => String::new(),
    };
    format!(
        "{}:{}  {}  {} from {}: {}{position}{redriven}",
        record["partition"],
        record["offset"],
        moment::format(record["timestamp_ms"].as_i64().unwrap_or_default()),
        bare(&record["key"]),
        bare(&value["agent"]),
        bare(&value["reason"])
    )
}

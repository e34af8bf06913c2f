//! `topic list`, `topic describe`, `topic verify`.

use std::sync::Arc;

use serde_json::{Value, json};
use weir_protocol::settings::{ByteSize, Period};
use weir_storage::{Fs, RealFs, journal};

use super::Failed;
use super::print::{Printer, bare};
use super::source::{Source, existing, no_data};
use crate::access::{audit, credentials};
use crate::config::Config;
use crate::groups::offsets;
use crate::http::page;
use crate::ingest::checkpoint;
use crate::topics::layout;
use crate::{retained, sessions};

pub(super) fn list(config: &Config, printer: &mut Printer) -> Result<(), Failed> {
    let topics = super::block_on(async { Source::open(config).await?.topics().await })?;
    for topic in topics {
        let partitions = topic["partitions"].as_array().map_or(&[][..], Vec::as_slice);
        let sum = |of: &dyn Fn(&Value) -> u64| partitions.iter().map(of).sum::<u64>();
        let records = sum(&|p| number(p, "end").saturating_sub(number(p, "start")));
        let bytes = sum(&|p| number(p, "bytes"));
        let text = format!(
            "{:<16} {:>2} partitions  {:<8} {records} records  {bytes} bytes on disk",
            bare(&topic["topic"]),
            partitions.len(),
            bare(&topic["format"])
        );
        printer.line(text, &topic)?;
    }
    Ok(())
}

pub(super) fn describe(config: &Config, name: &str, printer: &mut Printer) -> Result<(), Failed> {
    let topic = super::block_on(async { Source::open(config).await?.topic(name).await })?;
    let mut text = about(name, &topic);
    for partition in topic["partitions"].as_array().map_or(&[][..], Vec::as_slice) {
        text.push_str(&format!(
            "\npartition {}  offsets {} to {}  {} bytes on disk",
            partition["partition"], partition["start"], partition["end"], partition["bytes"]
        ));
    }
    printer.line(text, &topic)
}

/// What a topic is, line by line.
fn about(name: &str, topic: &Value) -> String {
    let mut text = match topic["schema_id"].as_u64() {
        Some(id) => format!("{name}, schema {id}"),
        None => format!("{name}, {}", bare(&topic["format"])),
    };
    if topic["compact"] == true {
        text.push_str(", compacted: the last record of each key is kept");
    }
    let bytes = topic["retention_bytes"].as_u64().map(|bytes| ByteSize(bytes).to_string());
    let age = topic["retention_ms"].as_u64().map(|millis| Period::millis(millis).to_string());
    let kept: Vec<_> = bytes.into_iter().chain(age).collect();
    let kept = if kept.is_empty() { "everything".to_owned() } else { kept.join(", ") };
    text.push_str(&format!("\nkeeps {kept}"));
    for route in topic["routes"].as_array().into_iter().flatten() {
        text.push_str(&format!("\nroute: {}", bare(route)));
    }
    text
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_default()
}

/// The topics that the gateway keeps for itself, of one partition each; those of later versions are not there yet.
const INTERNAL: [&str; 5] = [offsets::TOPIC, sessions::TOPIC, retained::TOPIC, credentials::TOPIC, audit::TOPIC];

/// Checks the files, those of internal topics too; exit code 1 if anything is damaged.
pub(super) fn verify(config: &Config, name: Option<&str>, printer: &mut Printer) -> Result<(), Failed> {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let known = existing(&fs, config)?;
    if known.is_empty() {
        return Err(no_data(config));
    }
    let mut known: Vec<_> = known.iter().map(|topic| (topic.name(), topic.partitions())).collect();
    for internal in INTERNAL {
        let dir = layout::partition_dir(&config.data, internal, 0);
        if fs.exists(&dir).map_err(Failed::runtime)? {
            known.push((internal, 1));
        }
    }
    let chosen: Vec<_> = known.iter().filter(|(topic, _)| name.is_none_or(|name| name == *topic)).collect();
    if chosen.is_empty() {
        let known = known.iter().map(|(topic, _)| *topic).collect::<Vec<_>>().join(", ");
        return Err(Failed::usage(format!("no topic {:?}; there are {known}", name.unwrap_or_default())));
    }
    let mut damages = 0;
    for (topic, partitions) in chosen {
        for partition in 0..*partitions {
            damages += verify_partition(&*fs, config, topic, partition, printer)?;
        }
    }
    match damages {
        0 => Ok(()),
        many if awaits_redo(&*fs, config)? => Err(Failed::runtime(format!(
            "{many} damages, but the gateway was killed or lost its power: the journal holds commits that its next start \
             writes into these files. Start it, then verify again"
        ))),
        1 => Err(Failed::runtime("1 damage; everything else can be read")),
        many => Err(Failed::runtime(format!("{many} damages; everything else can be read"))),
    }
}

/// Whether no gateway runs, and the last one left commits in the journal alone.
fn awaits_redo(fs: &dyn Fs, config: &Config) -> Result<bool, Failed> {
    let waits = journal::awaits_redo(fs, &config.data.join(layout::TOPICS)).map_err(Failed::runtime)?;
    Ok(waits && matches!(super::block_on(Source::open(config))?, Source::Files(_)))
}

/// Checks one partition; how many damages it has.
fn verify_partition(
    fs: &dyn Fs,
    config: &Config,
    topic: &str,
    partition: u32,
    printer: &mut Printer,
) -> Result<u64, Failed> {
    let dir = layout::partition_dir(&config.data, topic, partition);
    let found = weir_storage::verify(fs, &dir).map_err(Failed::runtime)?;
    let (checkpoints, bad) = checkpoint::verify(fs, &dir).map_err(Failed::runtime)?;
    let mut text = format!(
        "{topic}/{partition}: {} segments, {} records, offsets {} to {}, {checkpoints} checkpoints, {} damages",
        found.segments,
        found.records,
        found.offsets.start,
        found.offsets.end,
        found.damage_count + bad.len() as u64
    );
    for damage in &found.damage {
        let lost = match damage.gap.end - damage.gap.start {
            0 => "no offset lost".to_owned(),
            1 => format!("offset {} lost", damage.gap.start),
            many => format!("offsets {} to {} lost ({many})", damage.gap.start, damage.gap.end - 1),
        };
        let file = dir.join(&damage.file);
        text.push_str(&format!("\n  {} at byte {}, {} bytes: {lost}", file.display(), damage.position, damage.bytes));
    }
    for why in &bad {
        text.push_str(&format!("\n  checkpoint {why}; the gateway uses another, and replaces it in time"));
    }
    let damage: Vec<Value> = found.damage.iter().map(page::gap).collect();
    let json = json!({
        "topic": topic,
        "partition": partition,
        "directory": dir.display().to_string(),
        "segments": found.segments,
        "records": found.records,
        "start": found.offsets.start,
        "end": found.offsets.end,
        "checkpoints": checkpoints,
        "bad_checkpoints": bad,
        "damages": found.damage_count,
        "lost_offsets": found.lost_offsets,
        "tail_bytes": found.tail_bytes,
        "damage": damage,
    });
    printer.line(text, &json)?;
    Ok(found.damage_count + bad.len() as u64)
}

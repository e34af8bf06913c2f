//! `schema list`, `schema show` and `schema check`.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};
use weir_protocol::batch::describe;
use weir_protocol::{Channel, ChannelId, ValueKind};

use super::print::Printer;
use super::source::Source;
use super::{Failed, SchemaCheckArgs};
use crate::config::Config;
use crate::http::page::Start;
use crate::schemas::evolution::{self, Broken, Register};
use crate::topics::murmur2;

const DESCRIPTIONS: &str = "weir.describe";
/// Descriptions asked for at a time.
const PAGE: usize = 1000;
/// The largest file that is taken for a description.
const MAX_FILE: u64 = 1 << 20;

pub(super) fn list(config: &Config, printer: &mut Printer) -> Result<(), Failed> {
    for schema in super::block_on(async { Source::open(config).await?.schemas().await })? {
        let (id, subject) = (schema["id"].as_u64().unwrap_or_default(), super::print::bare(&schema["subject"]));
        printer.line(format_args!("{id:>4}  {subject}"), &schema)?;
    }
    Ok(())
}

pub(super) fn show(config: &Config, name: &str, printer: &mut Printer) -> Result<(), Failed> {
    let schemas = super::block_on(async { Source::open(config).await?.schemas().await })?;
    let id: Option<u64> = name.parse().ok();
    let is_meant = |schema: &&Value| {
        let topic = schema["subject"].as_str().and_then(|subject| subject.strip_suffix("-value"));
        schema["subject"] == name || topic == Some(name) || id.is_some_and(|id| schema["id"] == id)
    };
    let found = schemas.iter().find(is_meant);
    let found =
        found.ok_or_else(|| Failed::usage(format!("no schema {name:?}; `schema list` shows those there are")))?;
    printer.line(super::print::bare(&found["schema"]).trim_end(), found)
}

/// A description, as `weir.describe` and files have it.
#[derive(Debug, Deserialize)]
struct Described {
    device: Option<String>,
    schema: Option<String>,
    channels: Vec<DescribedChannel>,
}

#[derive(Debug, Deserialize)]
struct DescribedChannel {
    id: u16,
    name: String,
    unit: String,
    kind: ValueKind,
    #[serde(default)]
    resolution: f32,
}

impl DescribedChannel {
    fn channel(&self) -> Channel<'_> {
        let Self { id, name, unit, kind, resolution } = self;
        Channel { id: ChannelId(*id), name, unit, kind: *kind, resolution: *resolution }
    }
}

impl Described {
    fn channels(&self) -> impl Iterator<Item = Channel<'_>> {
        self.channels.iter().map(DescribedChannel::channel)
    }
}

pub(super) fn check(config: &Config, args: &SchemaCheckArgs, printer: &mut Printer) -> Result<(), Failed> {
    let asked = args.file.as_deref().map(read).transpose()?;
    let device = args.device.clone().or_else(|| asked.as_ref().and_then(|asked| asked.device.clone()));
    let device = device.ok_or_else(|| Failed::usage("whose channels are these? Name the device with --device"))?;
    let stored = super::block_on(async { descriptions(&Source::open(config).await?, &device).await })?;
    let mut register = Register::default();
    let mut checked = Vec::new();
    for description in &stored {
        checked.push((description, register.describe(description.channels())));
    }
    if let Some(asked) = &asked {
        checked = vec![(asked, register.describe(asked.channels()))];
    } else if stored.is_empty() {
        return Err(Failed::runtime(format!(
            "no description of {device:?} is in the log; `device list` shows devices"
        )));
    }
    let broken: usize = checked.iter().map(|(_, broken)| broken.len()).sum();
    for (description, broken) in &checked {
        report(&device, description, broken, printer)?;
    }
    let what = if broken == 1 { "channel breaks a rule" } else { "channels break a rule" };
    if broken == 0 {
        Ok(())
    } else {
        Err(Failed::runtime(format!("{broken} {what}: the readings become dead letters")))
    }
}

/// Says of one description what it breaks.
fn report(device: &str, description: &Described, broken: &[Broken<'_>], printer: &mut Printer) -> Result<(), Failed> {
    let schema = description.schema.as_deref().unwrap_or("this description");
    let mut lines = Vec::new();
    let mut found = Vec::new();
    for broken in broken {
        let Some(is) = description.channels.iter().find(|channel| channel.id == broken.id.0) else { continue };
        let kinds = [broken.was.kind, is.kind].map(evolution::name);
        lines.push(format!("  {broken}; {} is {} in {:?}", is.name, kinds[1], is.unit));
        found.push(json!({
            "id": is.id,
            "name": is.name,
            "rule": broken.rule.as_str(),
            "was": {"unit": broken.was.unit, "kind": kinds[0]},
            "is": {"unit": is.unit, "kind": kinds[1]},
        }));
    }
    let count = description.channels.len();
    let verdict = if broken.is_empty() { "breaks nothing".to_owned() } else { format!("breaks {}", broken.len()) };
    let channels = if count == 1 { "channel" } else { "channels" };
    let mut text = format!("{device}  {schema}  {count} {channels}, {verdict}");
    lines.iter().for_each(|line| {
        text.push('\n');
        text.push_str(line);
    });
    let json =
        json!({"device": device, "schema": description.schema, "compatible": broken.is_empty(), "broken": found});
    printer.line(text, &json)
}

/// What is in a file: the payload of a `describe` message, or JSON.
fn read(path: &Path) -> Result<Described, Failed> {
    let failed = |error: &dyn std::fmt::Display| Failed::usage(format!("{}: {error}", path.display()));
    let size = std::fs::metadata(path).map_err(|error| failed(&error))?.len();
    if size > MAX_FILE {
        return Err(failed(&format!("got {size} bytes, expected at most {MAX_FILE}")));
    }
    let bytes = std::fs::read(path).map_err(|error| failed(&error))?;
    if bytes.starts_with(b"WD") {
        let description = describe::decode(&bytes).map_err(|error| failed(&error))?;
        let channel = |channel: Channel<'_>| DescribedChannel {
            id: channel.id.0,
            name: channel.name.to_owned(),
            unit: channel.unit.to_owned(),
            kind: channel.kind,
            resolution: channel.resolution,
        };
        return Ok(Described {
            device: Some(description.device.to_string()),
            schema: Some(description.schema.to_string()),
            // All of them decoded once already.
            channels: description.channels.iter().filter_map(Result::ok).map(channel).collect(),
        });
    }
    let expected = r#"expected {"device": "pump-1", "channels": [{"id": 0, "name": "temperature", "unit": "Cel", "kind": "float"}]}"#;
    serde_json::from_slice(&bytes)
        .map_err(|error| failed(&format!("{error}; {expected}, or the payload of a describe message")))
}

/// The descriptions of a device, in the order in which they were stored.
async fn descriptions(source: &Source, device: &str) -> Result<Vec<Described>, Failed> {
    let count = source.topic(DESCRIPTIONS).await?["partitions"].as_array().map_or(0, Vec::len);
    let partition = murmur2::partition(murmur2::hash(device.as_bytes()), count.max(1) as u32) as usize;
    let mut found = Vec::new();
    let mut start = Start::Earliest;
    loop {
        let page = source.page(DESCRIPTIONS, partition, start, PAGE).await?;
        for record in page["records"].as_array().map_or(&[][..], Vec::as_slice) {
            if record["value"]["device"] == device {
                found.push(Described::deserialize(&record["value"]).map_err(Failed::runtime)?);
            }
        }
        let next = Start::Offset(page["next"].as_u64().unwrap_or_default());
        if page["next"] == page["end"] || start == next {
            return Ok(found);
        }
        start = next;
    }
}

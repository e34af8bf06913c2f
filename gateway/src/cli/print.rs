//! Printing data: lines for people, or one JSON value per line.

use std::fmt::Display;
use std::io::{self, BufWriter, StdoutLock, Write};

use serde_json::Value;

use super::{Failed, Output};
use crate::moment;

/// Writes to stdout.
pub(super) struct Printer {
    output: Output,
    out: BufWriter<StdoutLock<'static>>,
}

impl Printer {
    pub(super) fn new(output: Output) -> Self {
        Self { output, out: BufWriter::new(io::stdout().lock()) }
    }

    /// Prints `text` or `json`, whichever was asked for, at once.
    pub(super) fn line(&mut self, text: impl Display, json: &Value) -> Result<(), Failed> {
        match self.output {
            Output::Text => writeln!(self.out, "{text}")?,
            Output::Json => writeln!(self.out, "{json}")?,
        }
        Ok(self.out.flush()?)
    }

    /// Prints a record; readings in the words that people use for them.
    pub(super) fn record(&mut self, record: &Value) -> Result<(), Failed> {
        let at = |key: &str| &record[key];
        let time = moment::format(at("timestamp_ms").as_i64().unwrap_or_default());
        let place = format!("{}:{}", at("partition"), at("offset"));
        let value = at("value");
        let text = match (value.get("channel"), value.get("sequence")) {
            (Some(channel), Some(sequence)) => {
                let heals = if value["heals"] == true { "  heals" } else { "" };
                let (device, restart, unit) = (bare(at("key")), bare(&value["restart"]), bare(&value["unit"]));
                let reading = format!("{} = {} {unit}", bare(channel), bare(&value["value"]));
                format!("{place:<8} {time}  {device} {restart}/{sequence}  {}{heals}", reading.trim_end())
            }
            _ => format!("{place:<8} {time}  {}  {value}", bare(at("key"))),
        };
        self.line(text, record)
    }

    /// Says that part of the log cannot be read.
    pub(super) fn gap(&mut self, gap: &Value) -> Result<(), Failed> {
        let text = format!(
            "damage: offsets {} to {} of partition {} are lost ({} at byte {})",
            gap["from"],
            gap["to"],
            gap["partition"],
            bare(&gap["file"]),
            gap["position"]
        );
        self.line(text, &serde_json::json!({"gap": gap}))
    }
}

/// A JSON value without the quotes of a text.
pub(super) fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

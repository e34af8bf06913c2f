//! Printing data: lines for people, or one JSON value per line.
//!
//! What it guarantees: names and values, which strangers choose, cannot command the terminal that they are shown on.

use std::borrow::Cow;
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
            Output::Text => writeln!(self.out, "{}", harmless(&text.to_string()))?,
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
            _ if value.get("payload").is_some() => {
                let identity = match (&value["restart"], &value["sequence"]) {
                    (Value::String(restart), sequence) => format!(" {restart}/{sequence}"),
                    _ => String::new(),
                };
                let (client, topic) = (bare(&value["client"]), bare(&value["topic"]));
                format!("{place:<8} {time}  {client}{identity}  {topic}  {}", bare(&value["payload"]))
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

/// The text with its control characters written out, but for ends of lines and tabs.
fn harmless(text: &str) -> Cow<'_, str> {
    let commands = |found: char| found.is_control() && !matches!(found, '\n' | '\t');
    if !text.contains(commands) {
        return text.into();
    }
    let written = |found: char| match commands(found) {
        true => found.escape_debug().to_string(),
        false => found.to_string(),
    };
    text.chars().map(written).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_command_a_terminal_is_written_out() {
        assert_eq!(harmless("pump-1 temperature = 21.5 °C\n\tnext"), "pump-1 temperature = 21.5 °C\n\tnext");
        assert_eq!(harmless("\u{1b}]0;owned\u{7}\u{9b}2J\r"), "\\u{1b}]0;owned\\u{7}\\u{9b}2J\\r");
    }
}

//! What a program prints: one reading a line, as `name value [unit]` or as a JSON object.
//!
//! ```text
//! temperature 21.5 Cel
//! door true
//! {"name": "state", "value": "on line", "unit": "1", "time": 1795262400.25}
//! ```
//!
//! The unit is a UCUM code and `1` without one. A number is a double, but for whole ones that no double is. `time` is in seconds since
//! 1970 by the clock of this machine, and now without one. Empty lines and those that begin with `#` say nothing.

use std::borrow::Cow;

use serde::Deserialize;
use weir_protocol::{Clock, Timestamp, Value};

use crate::source::clock::SampleTime;
use crate::source::feed::Sample;
use crate::source::number;

/// The longest line, in bytes.
pub(super) const MAX_LINE: usize = 1024;
/// The most bytes of a line that are shown to a person.
const SHOWN: usize = 60;

/// A line that says something.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    value: Printed<'a>,
    #[serde(borrow, default = "no_unit")]
    unit: Cow<'a, str>,
    time: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Printed<'a> {
    Boolean(bool),
    Whole(i64),
    Number(f64),
    #[serde(borrow)]
    Text(Cow<'a, str>),
}

fn no_unit() -> Cow<'static, str> {
    Cow::Borrowed("1")
}

/// Reads a line; nothing if it says nothing.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Line<'_>>, String> {
    let wrong = |expected: &str| format!("got {:?}, expected {expected}", shown(bytes));
    let text = std::str::from_utf8(bytes).map_err(|_| wrong("UTF-8"))?.trim();
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    if text.starts_with('{') {
        let form = r#"{"name": "temperature", "value": 21.5, "unit": "Cel"}"#;
        let line: Line<'_> = serde_json::from_str(text).map_err(|error| wrong(&format!("{form}: {error}")))?;
        let possible = |time: &f64| (0.0..1e12).contains(time);
        return match line.time {
            Some(time) if !possible(&time) => Err(wrong("a time in seconds since 1970")),
            _ => Ok(Some(line)),
        };
    }
    let mut words = text.split_ascii_whitespace();
    let (Some(name), Some(value), unit, None) = (words.next(), words.next(), words.next(), words.next()) else {
        return Err(wrong("name value [unit], such as: temperature 21.5 Cel"));
    };
    let value = match value {
        "true" => Printed::Boolean(true),
        "false" => Printed::Boolean(false),
        number => match number::parse(number) {
            Some(Value::Integer(number)) => Printed::Whole(number),
            Some(Value::Double(number)) => Printed::Number(number),
            _ => return Err(wrong("a number, true or false after the name; texts are written as JSON")),
        },
    };
    Ok(Some(Line { name: name.into(), value, unit: unit.unwrap_or("1").into(), time: None }))
}

impl Line<'_> {
    /// The reading that it is, printed `now`. A time that it names is believed as far as the clock of this machine.
    pub(super) fn sample(&self, now: SampleTime) -> Sample<'_> {
        let value = match &self.value {
            Printed::Boolean(value) => Value::Boolean(*value),
            Printed::Whole(value) => number::whole(*value),
            Printed::Number(value) => Value::Double(*value),
            Printed::Text(value) => Value::Text(value),
        };
        let at = match self.time {
            Some(seconds) if now.clock == Clock::Synchronised => {
                SampleTime { time: Timestamp((seconds * 1e6).round() as i64), clock: now.clock }
            }
            _ => now,
        };
        Sample { name: &self.name, unit: &self.unit, resolution: 0.0, value, at }
    }
}

/// The beginning of a line, for a person.
pub(super) fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]).into_owned();
    if bytes.len() > SHOWN { format!("{text}...") } else { text }
}

/// Cuts what is printed into lines. Holds one line.
#[derive(Default)]
pub(super) struct Lines {
    held: Vec<u8>,
    /// The rest of a line that is too long is skipped.
    skips: bool,
}

impl Lines {
    /// Takes what was printed, and gives what it ends: a line, or the beginning of one that is too long.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut take: impl FnMut(Result<&[u8], &[u8]>)) {
        while !bytes.is_empty() {
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let (part, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            bytes = rest.get(1..).unwrap_or_default();
            if !self.skips {
                let room = (MAX_LINE + 1).saturating_sub(self.held.len());
                self.held.extend_from_slice(&part[..part.len().min(room)]);
                if self.held.len() > MAX_LINE {
                    take(Err(&self.held));
                    self.held.clear();
                    self.skips = true;
                }
            }
            if end.is_some() {
                if !std::mem::take(&mut self.skips) {
                    take(Ok(&self.held));
                }
                self.held.clear();
            }
        }
    }

    /// The last line, if nothing ended it.
    pub(super) fn finish(&mut self, mut take: impl FnMut(&[u8])) {
        if !self.held.is_empty() && !self.skips {
            take(&self.held);
        }
        self.held.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SampleTime = SampleTime { time: Timestamp(7), clock: Clock::Synchronised };

    fn sample(text: &str) -> Result<Option<(String, String, String, SampleTime)>, String> {
        let line = parse(text.as_bytes())?;
        let said =
            |sample: Sample<'_>| (sample.name.into(), format!("{:?}", sample.value), sample.unit.into(), sample.at);
        Ok(line.map(|line| said(line.sample(NOW))))
    }

    #[test]
    fn a_line_is_a_reading_with_its_unit() {
        let cases = [
            ("temperature 21.5 Cel", ("temperature", "Double(21.5)", "Cel")),
            (" load\t1e-2 ", ("load", "Double(0.01)", "1")),
            ("count 3", ("count", "Double(3.0)", "1")),
            ("serial 9007199254740993", ("serial", "Integer(9007199254740993)", "1")),
            (r#"{"name": "serial", "value": 9007199254740993}"#, ("serial", "Integer(9007199254740993)", "1")),
            ("door true", ("door", "Boolean(true)", "1")),
            (r#"{"name": "flow", "value": -1, "unit": "m3/h"}"#, ("flow", "Double(-1.0)", "m3/h")),
            (r#"{"value": "on \"line\"", "name": "state"}"#, ("state", r#"Text("on \"line\"")"#, "1")),
        ];
        for (line, (name, value, unit)) in cases {
            assert_eq!(sample(line), Ok(Some((name.into(), value.into(), unit.into(), NOW))), "{line}");
        }
        for silent in ["", "  ", "# a remark"] {
            assert_eq!(sample(silent), Ok(None), "{silent:?}");
        }
    }

    #[test]
    fn a_line_that_is_none_is_refused_with_what_was_expected() {
        let cases = [
            ("temperature", r#"got "temperature", expected name value [unit], such as: temperature 21.5 Cel"#),
            ("a 1 Cel more", "expected name value [unit]"),
            ("a NaN", "expected a number, true or false after the name"),
            ("a on", "texts are written as JSON"),
            (r#"{"name": "a"}"#, "missing field `value`"),
            (r#"{"name": "a", "value": 1, "colour": 2}"#, "unknown field `colour`"),
            (r#"{"name": "a", "value": 1, "time": -1}"#, "expected a time in seconds since 1970"),
        ];
        for (line, expected) in cases {
            let refused = sample(line).expect_err(line);
            assert!(refused.contains(expected), "{refused}");
        }
        assert!(parse(&[b'a', 0xff, b'1']).is_err());
    }

    #[test]
    fn a_time_of_its_own_is_believed_as_far_as_the_clock_of_this_machine() {
        let line = br#"{"name": "a", "value": 1, "time": 1795262400.25}"#;
        let line = parse(line).expect("a good line").expect("that says something");
        let expected = SampleTime { time: Timestamp(1_795_262_400_250_000), clock: Clock::Synchronised };
        assert_eq!(line.sample(NOW).at, expected);
        let uptime = SampleTime { clock: Clock::Uptime, ..NOW };
        assert_eq!(line.sample(uptime).at, uptime);
    }

    #[test]
    fn lines_are_found_wherever_the_reads_end_and_a_long_one_is_skipped() {
        let long = "x".repeat(MAX_LINE + 1);
        let most = "y".repeat(MAX_LINE);
        let text = format!("a 1\n{long}zzz\n{most}\n\nb 2");
        for size in [1, 2, 7, 1000, text.len()] {
            let (mut lines, mut found) = (Lines::default(), Vec::new());
            for part in text.as_bytes().chunks(size) {
                lines.feed(part, |line| found.push(line.map(<[u8]>::to_vec).map_err(<[u8]>::len)));
            }
            lines.finish(|line| found.push(Ok(line.to_vec())));
            let expected =
                [Ok(b"a 1".to_vec()), Err(MAX_LINE + 1), Ok(most.clone().into()), Ok(vec![]), Ok(b"b 2".to_vec())];
            assert_eq!(found, expected, "in reads of {size}");
        }
    }
}

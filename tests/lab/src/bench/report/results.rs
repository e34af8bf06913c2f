//! What was measured, by measure, each with what it was measured on.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::super::found::Found;
use super::super::machine;

/// All measures by their names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in super::super) struct Results(pub(in super::super) BTreeMap<String, Ran>);

/// A measure that was taken.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in super::super) struct Ran {
    /// When, in UTC.
    pub(in super::super) when: String,
    /// What was typed.
    pub(in super::super) command: String,
    /// Processor, cores, memory, kernel, version.
    pub(in super::super) machine: String,
    /// What the logs were on.
    pub(in super::super) disk: String,
    /// Processes that wanted a processor in the minute before it began and the one before it ended; the second has what was
    /// measured in it.
    pub(in super::super) load: [f64; 2],
    /// How long it took.
    pub(in super::super) seconds: f64,
    /// A slice shows that it runs, not how fast it is.
    pub(in super::super) quick: bool,
    /// What must be known besides.
    #[serde(default)]
    pub(in super::super) note: String,
    /// What came of it.
    pub(in super::super) found: Found,
}

/// The begin of a measure.
pub(in super::super) struct Start {
    when: String,
    load: f64,
    begun: Instant,
}

impl Start {
    /// Now.
    pub(in super::super) fn now() -> Self {
        Self { when: now(), load: load(), begun: Instant::now() }
    }

    /// Its end, with what was found.
    pub(in super::super) fn ended(self, command: String, quick: bool, found: Found) -> Ran {
        Ran {
            when: self.when,
            command,
            machine: machine::describe(),
            disk: machine::disk(&std::env::temp_dir()),
            load: [self.load, load()],
            seconds: self.begun.elapsed().as_secs_f64().round(),
            quick,
            note: String::new(),
            found,
        }
    }
}

/// As coreutils say it.
fn now() -> String {
    let said = Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]).output();
    said.map_or_else(|_| "unknown".to_owned(), |said| String::from_utf8_lossy(&said.stdout).trim().to_owned())
}

/// The load average of the last minute (proc(5)).
fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or(0.0)
}

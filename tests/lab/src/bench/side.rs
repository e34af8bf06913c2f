//! One side of a comparison: a server that is loaded in turns with its peers.

use std::fs;

use anyhow::Result;

use super::load::Outcome;
use super::table::{median, short};

/// A tick of the counters in /proc (proc(5), USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

/// What came of its turns.
#[derive(Clone, Default)]
pub(super) struct Side {
    /// Answered publishes a second.
    pub(super) rates: Vec<f64>,
    /// Processor time of the server for one publish, in microseconds.
    pub(super) cpu_micros: Vec<f64>,
    /// The last turn.
    pub(super) last: Option<Outcome>,
}

impl Side {
    /// One turn of the server `pid`.
    pub(super) fn turn(&mut self, pid: i32, load: impl FnOnce() -> Result<Outcome>) -> Result<()> {
        self.turn_of(&[pid], load)
    }

    /// One turn of a server of several processes.
    pub(super) fn turn_of(&mut self, pids: &[i32], load: impl FnOnce() -> Result<Outcome>) -> Result<()> {
        let so_far = || pids.iter().map(|pid| cpu_seconds(*pid)).sum::<f64>();
        let before = so_far();
        let outcome = tokio::task::block_in_place(load)?;
        let cpu = so_far() - before;
        self.rates.push(outcome.rate());
        self.cpu_micros.push(cpu * 1e6 / outcome.publishes as f64);
        self.last = Some(outcome);
        Ok(())
    }

    /// Processor seconds for a million readings, turn by turn.
    pub(super) fn cpu_for_a_million_readings(&self) -> Vec<f64> {
        let each = self.last.map_or(1.0, |o| o.readings as f64 / o.publishes.max(1) as f64);
        self.cpu_micros.iter().map(|micros| micros / each).collect()
    }
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (rate, cpu) = (median(self.rates.clone()), median(self.cpu_micros.clone()));
        write!(f, "{} publishes/s, {cpu:.1} us CPU each", short(rate))
    }
}

/// Processor time of a process so far (proc(5), fields 14 and 15 of stat).
pub(crate) fn cpu_seconds(pid: i32) -> f64 {
    cpu_of(&format!("/proc/{pid}/stat"))
}

/// The same of whatever this file in /proc is about.
pub(crate) fn cpu_of(stat: &str) -> f64 {
    let stat = fs::read_to_string(stat).unwrap_or_default();
    // The name, in parentheses, may hold anything; the numbers follow the last one.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / TICKS_PER_SECOND
}

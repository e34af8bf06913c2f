//! The table of what is where, per device; redrawn in place on a terminal, as lines elsewhere.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use weir_protocol::DeviceId;

use crate::census::Census;
use crate::ledger::Ledger;

/// How often it is printed where it cannot be redrawn.
const LINES_EVERY: Duration = Duration::from_secs(5);
/// Over how long rates are taken.
const RATE_OVER: Duration = Duration::from_secs(2);
/// The gateway's counter of repeats that it dropped.
const REPEATS: &str = "weir_gateway_readings_repeated_total";

/// One device over all its restarts.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    sampled: u64,
    accepted: u64,
    shipped: u64,
    logged: u64,
    again: u64,
    dead: u64,
    lost: u64,
    in_flight: u64,
}

/// The table and what it needs to redraw itself.
#[derive(Debug)]
pub(super) struct Table {
    terminal: bool,
    drawn: usize,
    last: Option<Instant>,
    /// Sampled and logged when the rates were last taken, and the rates.
    marks: BTreeMap<DeviceId, (u64, u64)>,
    marked: Instant,
    rates: BTreeMap<DeviceId, (f64, f64)>,
    repeats: Option<u64>,
}

impl Table {
    /// For stdout.
    pub(super) fn new() -> Self {
        Self {
            terminal: io::stdout().is_terminal(),
            drawn: 0,
            last: None,
            marks: BTreeMap::new(),
            marked: Instant::now(),
            rates: BTreeMap::new(),
            repeats: None,
        }
    }

    /// A line that stays above the table.
    pub(super) fn say(&mut self, line: &str) {
        self.erase();
        println!("{line}");
    }

    /// Takes the gateway's own count from its metrics; it starts again with the gateway.
    pub(super) fn repeats(&mut self, metrics: Option<&str>) {
        let line = metrics.and_then(|text| text.lines().find(|line| line.starts_with(REPEATS)));
        self.repeats =
            line.and_then(|line| line.rsplit(' ').next()).and_then(|n| n.parse::<f64>().ok()).map(|n| n as u64);
    }

    /// Draws it, if it is time.
    pub(super) fn draw(&mut self, ledger: &Ledger, census: &Census) -> io::Result<()> {
        let rows = rows(ledger, census);
        self.take_rates(&rows);
        if !self.terminal && self.last.is_some_and(|last| last.elapsed() < LINES_EVERY) {
            return Ok(());
        }
        self.last = Some(Instant::now());
        let text = self.text(&rows);
        self.erase();
        self.drawn = if self.terminal { text.lines().count() } else { 0 };
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    fn erase(&mut self) {
        if self.drawn > 0 {
            // Up so many lines, then clear to the end of the screen (ECMA-48, CUU and ED).
            print!("\x1b[{}A\x1b[J", self.drawn);
            self.drawn = 0;
        }
    }

    fn take_rates(&mut self, rows: &BTreeMap<DeviceId, Row>) {
        let seconds = self.marked.elapsed();
        if seconds < RATE_OVER {
            return;
        }
        for (device, row) in rows {
            let (sampled, logged) = self.marks.insert(*device, (row.sampled, row.logged)).unwrap_or((0, 0));
            let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds.as_secs_f64();
            self.rates.insert(*device, (rate(row.sampled, sampled), rate(row.logged, logged)));
        }
        self.marked = Instant::now();
    }

    fn text(&self, rows: &BTreeMap<DeviceId, Row>) -> String {
        let mut text = format!(
            "{:<22} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8} {:>6} {:>6} {:>9} {:>9} {:>9}\n",
            "device",
            "sampled",
            "acked",
            "queued",
            "shipped",
            "in log",
            "again",
            "dead",
            "lost",
            "in flight",
            "sampled/s",
            "logged/s"
        );
        for (device, row) in rows {
            let (sampling, logging) = self.rates.get(device).copied().unwrap_or_default();
            let _ = writeln!(
                text,
                "{device:<22} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8} {:>6} {:>6} {:>9} {sampling:>9.0} {logging:>9.0}",
                row.sampled,
                row.accepted,
                row.accepted.saturating_sub(row.shipped),
                row.shipped,
                row.logged,
                row.again,
                row.dead,
                row.lost,
                row.in_flight,
            );
        }
        let repeats = self.repeats.map_or("unknown".to_owned(), |n| n.to_string());
        let _ = writeln!(text, "repeats dropped by the gateway since it started: {repeats}");
        text
    }
}

fn rows(ledger: &Ledger, census: &Census) -> BTreeMap<DeviceId, Row> {
    let mut rows: BTreeMap<DeviceId, Row> = BTreeMap::new();
    for ((device, restart), facts) in ledger.pages() {
        let row = rows.entry(device).or_default();
        row.sampled += facts.known_end();
        // A source inside the agent is seen when it is published; what is queued before is the agent's own.
        row.accepted += if facts.on_cable { facts.agent_accepted } else { facts.known_end() };
        row.shipped += facts.gateway_acked.len();
        row.again += facts.published_again;
        let covered = census.restarts.get(&(device, restart)).map_or(0, |stored| stored.covered().len());
        row.in_flight += facts.known_end().saturating_sub(covered);
    }
    for ((device, _), stored) in &census.restarts {
        let row = rows.entry(*device).or_default();
        row.logged += stored.readings.len();
        row.dead += stored.dead.len();
        row.lost += stored.lost.len() - stored.left_out().len();
    }
    rows
}

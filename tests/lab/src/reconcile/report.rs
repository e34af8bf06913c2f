//! The reconciliation in print.

use std::collections::BTreeMap;
use std::fmt;

use weir_protocol::RangeSet;

use super::Finding;
use crate::kafka::compare::Comparison;
use crate::ledger::RestartKey;

/// One restart, in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Whose.
    pub key: RestartKey,
    /// The sequence that its next sample would have taken.
    pub next: u64,
    /// Sequences with a reading.
    pub stored: u64,
    /// Sequences that are only dead-lettered.
    pub dead: u64,
    /// Sequences that are only counted lost.
    pub lost: u64,
    /// Sequences that the rules of an agent left out.
    pub reduced: u64,
    /// Records that replaced an earlier verdict.
    pub healed: u64,
    /// Sequences without any verdict.
    pub in_flight: u64,
    /// It ended with an unknown tail.
    pub tail_unknown: bool,
    /// Sequences lost, by kind.
    pub kinds: BTreeMap<String, u64>,
}

/// What came of a reconciliation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Every restart.
    pub rows: Vec<Row>,
    /// Everything that must not be.
    pub findings: Vec<Finding>,
    /// Records that Kafka and HTTP both showed, if both were read.
    pub over_kafka: Option<u64>,
}

/// Rows that are printed one by one; of a longer list the sums alone.
const ROWS: usize = 40;
/// Findings that are printed; more are counted.
const FINDINGS: usize = 40;

impl Report {
    /// Whether every promise was kept.
    pub fn holds(&self) -> bool {
        self.findings.is_empty()
    }

    /// Whether something of this kind was found.
    pub fn has(&self, what: &str) -> bool {
        self.findings.iter().any(|finding| finding.what.contains(what))
    }

    /// Takes what came of reading the log both ways.
    pub fn compared(&mut self, comparison: Comparison) {
        self.over_kafka = Some(comparison.records);
        let what = "Kafka and HTTP differ";
        let finding = |evidence| Finding { key: None, what, evidence, sequences: RangeSet::new() };
        self.findings.extend(comparison.differences.into_iter().map(finding));
    }

    /// Sequences of all rows that the rules of agents left out.
    pub fn reduced(&self) -> u64 {
        self.rows.iter().map(|row| row.reduced).sum()
    }

    /// All rows as one: next, stored, dead-lettered, lost and in flight.
    pub fn total(&self) -> (u64, u64, u64, u64, u64) {
        self.rows.iter().fold((0, 0, 0, 0, 0), |sum, row| {
            (sum.0 + row.next, sum.1 + row.stored, sum.2 + row.dead, sum.3 + row.lost, sum.4 + row.in_flight)
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<22} {:>20} {:>10} {:>10} {:>8} {:>8} {:>8} {:>9}",
            "device", "restart", "sampled", "stored", "dead", "lost", "healed", "in flight"
        )?;
        for row in self.rows.iter().take(ROWS) {
            let (device, restart) = row.key;
            let tail = if row.tail_unknown { "  tail unknown" } else { "" };
            writeln!(
                f,
                "{device:<22} {:>20} {:>10} {:>10} {:>8} {:>8} {:>8} {:>9}{tail}",
                restart.0, row.next, row.stored, row.dead, row.lost, row.healed, row.in_flight
            )?;
        }
        if self.rows.len() > ROWS {
            writeln!(f, "... and {} restarts more", self.rows.len() - ROWS)?;
        }
        let (next, stored, dead, lost, in_flight) = self.total();
        let reduced = self.reduced();
        let equals = if next == stored + dead + lost + reduced + in_flight { "=" } else { "is not" };
        // Only where rules left something out.
        let left_out = if reduced > 0 { format!(" + {reduced} left out by rules") } else { String::new() };
        writeln!(
            f,
            "{next} sampled {equals} {stored} stored{left_out} + {dead} dead-lettered + {lost} counted lost + {in_flight} in flight"
        )?;
        for finding in self.findings.iter().take(FINDINGS) {
            match finding.key {
                Some((device, restart)) => {
                    writeln!(f, "BROKEN {device} restart {restart}: {}: {}", finding.what, finding.evidence)?;
                }
                None => writeln!(f, "BROKEN {}: {}", finding.what, finding.evidence)?,
            }
        }
        if self.findings.len() > FINDINGS {
            writeln!(f, "... and {} findings more", self.findings.len() - FINDINGS)?;
        }
        if let Some(records) = self.over_kafka {
            writeln!(f, "{records} records read over Kafka and over HTTP")?;
        }
        match self.findings.len() {
            0 => write!(f, "It holds: every acknowledged reading is in the log, and none is there twice."),
            1 => write!(f, "It does NOT hold: 1 finding."),
            n => write!(f, "It does NOT hold: {n} findings."),
        }
    }
}

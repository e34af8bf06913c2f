//! The measures in Markdown, as they stand in the README.

use std::fmt;

use super::machine;

/// One line of the table.
#[derive(Clone, Debug)]
pub(super) struct Measure {
    /// What was measured.
    pub(super) what: String,
    /// What came of it, with its unit; `None` if it could not be measured.
    pub(super) got: Option<String>,
    /// What it is measured against, or why it was not measured.
    pub(super) reference: String,
    /// What it should be.
    pub(super) goal: String,
}

/// All measures.
#[derive(Debug, Default)]
pub(super) struct Table(Vec<Measure>);

impl Table {
    pub(super) fn extend(&mut self, measures: Vec<Measure>) {
        self.0.extend(measures);
    }

    /// Whether nothing was skipped.
    pub(super) fn ran(&self) -> bool {
        self.0.iter().all(|measure| measure.got.is_some())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| measure | result | reference | goal |\n|---|---|---|---|")?;
        for Measure { what, got, reference, goal } in &self.0 {
            let got = got.as_deref().unwrap_or("SKIPPED");
            writeln!(f, "| {what} | {got} | {reference} | {goal} |")?;
        }
        write!(f, "\n{}", machine::describe())
    }
}

/// The middle of some numbers; 0 of none.
pub(super) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(0.0)
}

/// A number a person can read: `1.23 M`, `45.6 k`, `789`.
pub(super) fn short(number: f64) -> String {
    match number {
        n if n >= 1e6 => format!("{:.2} M", n / 1e6),
        n if n >= 1e4 => format!("{:.1} k", n / 1e3),
        n if n >= 100.0 => format!("{n:.0}"),
        n => format!("{n:.2}"),
    }
}

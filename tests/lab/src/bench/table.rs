//! A measure as a row of a table in Markdown, and numbers as people read them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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

impl Measure {
    /// The head of a table of them.
    pub(super) const HEAD: &str = "| measure | result | reference | goal |\n|---|---|---|---|";
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, got, reference, goal } = self;
        write!(f, "| {what} | {} | {reference} | {goal} |", got.as_deref().unwrap_or("SKIPPED"))
    }
}

/// The middle of some numbers; 0 of none.
pub(super) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(0.0)
}

/// The middle and the ends of some numbers: `0.91 (0.88 to 0.95)`.
pub(super) fn spread(numbers: &[f64]) -> String {
    let low = numbers.iter().copied().fold(f64::INFINITY, f64::min);
    let high = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    match numbers.len() {
        0 => "nothing".to_owned(),
        1 => short(low),
        _ => format!("{} ({} to {})", short(median(numbers.to_vec())), short(low), short(high)),
    }
}

/// What each turn of `ours` is of the turn of `theirs` beside it.
pub(super) fn ratios(ours: &[f64], theirs: &[f64]) -> Vec<f64> {
    ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs.max(f64::MIN_POSITIVE)).collect()
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

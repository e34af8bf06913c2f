//! What a measure finds: rows of text, contests with every turn of every side, plots. All of it can be written down, so that
//! a report is made again without measuring again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Measure;
use super::side::Side;
use crate::plot::Plot;

/// What a measure found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Found {
    /// The same work by several, in turns.
    #[serde(default)]
    pub(super) contests: Vec<Contest>,
    /// Results beside what they are measured against.
    #[serde(default)]
    pub(super) measures: Vec<Measure>,
    /// Plots besides those of the contests.
    #[serde(default)]
    pub(super) figures: Vec<Figure>,
    /// Every turn that the measures are made of, under a name that says the unit.
    #[serde(default)]
    pub(super) turns: BTreeMap<String, Vec<f64>>,
}

/// The same work by several, in turns; the first is the one that is compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Contest {
    /// Of its plot's file.
    pub(super) name: String,
    /// What they do.
    pub(super) title: String,
    /// Of what is counted: `publishes/s`, `ms`.
    pub(super) unit: String,
    /// Ratios say something here.
    pub(super) compared: bool,
    /// In the order of the table.
    pub(super) contenders: Vec<Contender>,
}

/// One of those who take part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Contender {
    /// Who it is.
    pub(super) card: Card,
    /// What came of each turn, in the unit of the contest.
    pub(super) turns: Vec<f64>,
    /// Processor time of its servers for one answer, in microseconds, turn by turn; empty if that was not looked at.
    #[serde(default)]
    pub(super) cpu_micros: Vec<f64>,
    /// What the first of the contest should be of it.
    #[serde(default)]
    pub(super) goal: String,
    /// Why it did not take part, and what to type.
    #[serde(default)]
    pub(super) skipped: Option<String>,
}

/// Who takes part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Card {
    /// With its version.
    pub(super) name: String,
    /// What is true when it has answered.
    pub(super) means: String,
    /// How it was set up.
    pub(super) settings: String,
}

/// A plot and the name of its file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Figure {
    /// Of the file, without its ending.
    pub(super) name: String,
    /// What it shows.
    pub(super) plot: Plot,
}

impl Contest {
    /// Whether there is something to draw.
    pub(super) fn is_drawn(&self) -> bool {
        self.contenders.iter().any(|one| one.turns.iter().any(|turn| *turn > 0.0))
    }
}

impl Contender {
    /// One that took its turns.
    pub(super) fn of(card: Card, side: Side, goal: &str) -> Self {
        Self { card, turns: side.rates, cpu_micros: side.cpu_micros, goal: goal.to_owned(), skipped: None }
    }

    /// One that cannot take part.
    pub(super) fn skipped(name: &str, why: &str) -> Self {
        eprintln!("SKIPPED {name}: {why}");
        let card = Card { name: name.to_owned(), ..Card::default() };
        Self { card, skipped: Some(why.to_owned()), ..Self::default() }
    }
}

impl Found {
    /// With these turns written down.
    pub(super) fn with_turns<'a>(mut self, turns: impl IntoIterator<Item = (&'a str, &'a [f64])>) -> Self {
        self.turns.extend(turns.into_iter().map(|(name, turns)| (name.to_owned(), turns.to_vec())));
        self
    }

    /// Whether nothing was skipped.
    pub(super) fn is_whole(&self) -> bool {
        let contenders = self.contests.iter().flat_map(|contest| &contest.contenders);
        self.measures.iter().all(|measure| measure.got.is_some()) && contenders.into_iter().all(|c| c.skipped.is_none())
    }
}

impl From<Vec<Measure>> for Found {
    fn from(measures: Vec<Measure>) -> Self {
        Self { measures, ..Self::default() }
    }
}

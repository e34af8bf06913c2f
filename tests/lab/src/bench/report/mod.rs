//! The report that `cargo lab bench --report FILE` keeps: a page, its plots, and everything that was measured.
//!
//! ```text
//! tests/BENCHMARKS.md               the page, written anew each time
//! tests/benchmarks/results.json     every turn of every measure, and what each was measured on
//! tests/benchmarks/<plot>.svg       the plots, likewise
//! ```
//!
//! A run replaces the measures that it took, and leaves the others as they were. Page and plots follow from the results alone: the
//! same results are the same bytes.

mod page;
mod results;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub(super) use page::section;
pub(super) use results::{Ran, Results, Start};

use crate::plot::Dots;

/// Where the parts of a report are.
#[derive(Clone, Debug)]
pub(super) struct Report {
    page: PathBuf,
    beside: PathBuf,
}

impl Report {
    /// That of a page; what belongs to it lies in a directory of the page's name, in small letters.
    pub(super) fn at(page: &Path) -> Result<Self> {
        let name = page.file_stem().and_then(|name| name.to_str());
        let name = name.with_context(|| format!("{} is no name of a page", page.display()))?;
        Ok(Self { page: page.to_owned(), beside: page.with_file_name(name.to_lowercase()) })
    }

    /// What was measured so far.
    pub(super) fn results(&self) -> Result<Results> {
        let path = self.beside.join("results.json");
        match fs::read(&path) {
            Ok(json) => {
                serde_json::from_slice(&json).with_context(|| format!("{} is not as it was written", path.display()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Results::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Puts a measure in the place of what it was before, and writes everything.
    pub(super) fn replace(&self, name: &str, ran: Ran) -> Result<()> {
        let mut results = self.results()?;
        results.0.insert(name.to_owned(), ran);
        self.write(&results)
    }

    /// Writes results, plots and page.
    pub(super) fn write(&self, results: &Results) -> Result<()> {
        fs::create_dir_all(&self.beside).with_context(|| format!("cannot make {}", self.beside.display()))?;
        let write =
            |path: &Path, text: &str| fs::write(path, text).with_context(|| format!("cannot write {}", path.display()));
        let json = serde_json::to_string_pretty(results).context("results as JSON")?;
        write(&self.beside.join("results.json"), &(json + "\n"))?;
        for (name, svg) in plots(results)? {
            write(&self.beside.join(name), &svg)?;
        }
        let beside = self.beside.file_name().unwrap_or_default().to_string_lossy().into_owned();
        write(&self.page, &page::markdown(results, &beside))
    }
}

/// The plots, each with the name of its file.
fn plots(results: &Results) -> Result<Vec<(String, String)>> {
    let mut plots = Vec::new();
    for found in results.0.values().map(|ran| &ran.found) {
        for contest in found.contests.iter().filter(|contest| contest.is_drawn()) {
            let rows = contest.contenders.iter().map(|one| (one.card.name.clone(), one.turns.clone()));
            let dots = Dots { title: contest.title.clone(), axis: contest.unit.clone(), rows: rows.collect() };
            plots.push((format!("{}.svg", contest.name), dots.svg()?));
        }
        for figure in &found.figures {
            plots.push((format!("{}.svg", figure.name), figure.plot.svg()?));
        }
    }
    Ok(plots)
}

#[cfg(test)]
mod tests;

//! How many inputs each target was given, over all runs that kept the same tally: a text file of lines `target inputs`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Inputs by target.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Tally(BTreeMap<String, u64>);

impl Tally {
    /// The tally in a file; a new one if there is no file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text).with_context(|| format!("{} is no tally; move it away", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().enumerate().map(|(number, line)| {
            let (target, inputs) = line.split_once(' ').with_context(|| format!("line {}: {line:?}", number + 1))?;
            Ok((target.to_owned(), inputs.trim().parse().with_context(|| format!("line {}: {line:?}", number + 1))?))
        });
        lines.collect::<Result<_>>().map(Self)
    }

    /// Adds inputs of a target.
    pub(crate) fn add(&mut self, target: &str, inputs: u64) {
        *self.0.entry(target.to_owned()).or_default() += inputs;
    }

    /// Inputs of a target so far.
    pub(crate) fn of(&self, target: &str) -> u64 {
        self.0.get(target).copied().unwrap_or(0)
    }

    /// Inputs of all targets.
    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Writes it.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text: String = self.0.iter().map(|(target, inputs)| format!("{target} {inputs}\n")).collect();
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn runs_add_up_by_target_and_what_is_no_tally_is_left_alone() {
        let path = std::env::temp_dir().join(format!("weir-fuzz-tally-{}", std::process::id()));
        for _ in 0..2 {
            let mut tally = Tally::read(&path).unwrap();
            tally.add("batch", 100);
            tally.add("http", 1);
            tally.write(&path).unwrap();
        }
        let tally = Tally::read(&path).unwrap();
        assert_eq!((tally.of("batch"), tally.of("http"), tally.of("serial"), tally.total()), (200, 2, 0, 202));
        std::fs::write(&path, "batch many\n").unwrap();
        let error = Tally::read(&path).unwrap_err();
        assert!(format!("{error:#}").contains("line 1"), "{error:#}");
        std::fs::remove_file(path).unwrap();
    }
}

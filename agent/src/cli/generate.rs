//! `config`, `completions`, `man`: what this program knows of itself, as files for others.

use std::io::{Write, stdout};
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use super::arguments::Cli;
use super::{Failure, print, written};

/// The settings file with every key and its default; tests hold it against the settings.
const SAMPLE: &str = include_str!("../../../deploy/agent.toml");

pub(super) fn sample() -> Result<(), Failure> {
    print(SAMPLE.trim_end())
}

pub(super) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "weir-agent", &mut script);
    written(stdout().write_all(&script))
}

pub(super) fn man(dir: Option<&Path>) -> Result<(), Failure> {
    let Some(dir) = dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(|error| Failure::Failed(error.to_string()))?;
        return written(stdout().write_all(&page));
    };
    let made = std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(Cli::command(), dir));
    made.map_err(|error| Failure::Failed(format!("{}: {error}", dir.display())))
}

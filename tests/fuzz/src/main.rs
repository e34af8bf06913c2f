//! `weir-fuzz`: the deterministic fuzzer.
//!
//! ```text
//! weir-fuzz run [--rounds N] [--tally FILE] [TARGET ...]
//!                                           N times the usual count of inputs of each target, from WEIR_SEED
//! weir-fuzz replay TARGET FILE              one input, as a failure prints it
//! weir-fuzz seeds                           writes corpus/ anew
//! ```
//!
//! An input that panics, or that makes its target hold more memory than its bound, is kept in a file, and the command
//! that replays it is printed. The input that is being tried lies in a file too, for the case that the process dies.

mod run;
mod tally;

use std::alloc::System;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use peakmem_alloc::{INSTRUMENTED_SYSTEM, PeakMemAlloc};
use weir_fuzz::{ALL, Target, find};

#[global_allocator]
static MEMORY: &PeakMemAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Tries mutated input on every decoder that reads from outside
#[derive(Debug, Parser)]
#[command(name = "weir-fuzz")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Try the corpus and mutations of it
    Run {
        /// How many times the usual count of inputs
        #[arg(long, default_value_t = 1)]
        rounds: u64,
        /// Where mutation starts
        #[arg(long, env = "WEIR_SEED", default_value_t = 20_261_121)]
        seed: u64,
        /// Add what was tried to the counts in this file, and print the sums
        #[arg(long, value_name = "FILE")]
        tally: Option<PathBuf>,
        /// The targets; all without them
        targets: Vec<String>,
    },
    /// Try one input
    Replay {
        /// The target
        target: String,
        /// The input
        file: PathBuf,
    },
    /// Write the corpus anew
    Seeds,
}

fn main() -> Result<ExitCode> {
    let good = match Cli::parse().command {
        Command::Run { rounds, seed, tally, targets } => {
            let targets = targets.iter().map(|name| named(name)).collect::<Result<Vec<_>>>()?;
            let targets = if targets.is_empty() { ALL.iter().collect() } else { targets };
            run::all(&targets, (seed, rounds), tally.as_deref())?
        }
        Command::Replay { target, file } => run::replay(named(&target)?, &file)?,
        Command::Seeds => seeds()?,
    };
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn named(name: &str) -> Result<&'static Target> {
    let known = || ALL.iter().map(|target| target.name).collect::<Vec<_>>().join(", ");
    find(name).with_context(|| format!("no target {name}; there are {}", known()))
}

fn seeds() -> Result<bool> {
    for target in ALL {
        let dir = target.corpus();
        std::fs::create_dir_all(&dir)?;
        for (name, bytes) in (target.seeds)() {
            ensure!(
                bytes.len() <= target.max_len && !bytes.is_empty(),
                "{} {name}: {} bytes",
                target.name,
                bytes.len()
            );
            std::fs::write(dir.join(name), bytes)?;
        }
    }
    Ok(true)
}

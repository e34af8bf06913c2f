//! `weir-sim --seeds 0..10000`: so many worlds, on all cores; `weir-sim --seed 17`: one, and its story if it fails.

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Parser;
use weir_sim::{Options, Outcome};

/// Lines of a story that are printed; `--all` prints it whole.
const SHOWN: usize = 400;

/// Runs whole Weirs in one process, on virtual time, network and disks, and judges each.
#[derive(Parser)]
#[command(name = "weir-sim")]
struct Arguments {
    /// Seeds, as in 0..200
    #[arg(long, value_parser = range, default_value = "0..200", conflicts_with = "seed")]
    seeds: Range<u64>,
    /// One seed, with its story if it fails
    #[arg(long)]
    seed: Option<u64>,
    /// With --seed: the story whatever comes of it, and all of it
    #[arg(long, requires = "seed")]
    all: bool,
    /// Worlds at a time [default: one for each core]
    #[arg(long)]
    jobs: Option<usize>,
    /// Plants a fault, which at least one seed must catch
    #[cfg(feature = "plant")]
    #[arg(long)]
    plant: Option<weir_sim::Plant>,
}

fn range(text: &str) -> Result<Range<u64>> {
    let (from, to) = text.split_once("..").context("expected FROM..TO, as in 0..200")?;
    let (from, to) = (from.parse()?, to.parse()?);
    if from >= to {
        bail!("expected FROM..TO with FROM below TO, as in 0..200");
    }
    Ok(from..to)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.seed {
        Some(seed) => one(seed, &arguments),
        None => many(&arguments),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl Arguments {
    fn options(&self, told: bool) -> Options {
        Options {
            told,
            #[cfg(feature = "plant")]
            plant: self.plant,
        }
    }
}

/// What is wrong with a world, in words; `None`: nothing.
fn wrong(outcome: &Outcome) -> Option<String> {
    let judgement = &outcome.judgement;
    (!judgement.holds()).then(|| format!("{}\n{}", judgement.wrong.join("\n"), judgement.report))
}

fn one(seed: u64, arguments: &Arguments) -> Result<bool> {
    let outcome = weir_sim::run(seed, &arguments.options(true))?;
    let wrong = wrong(&outcome);
    if wrong.is_some() || arguments.all {
        let story = outcome.trace.story();
        let from = if arguments.all { 0 } else { story.len().saturating_sub(SHOWN) };
        story[from..].iter().for_each(|line| println!("{line}"));
    }
    println!("seed {seed}: {:.1} s of its time, trace {:016x}", outcome.micros as f64 / 1e6, outcome.hash);
    println!("{}", outcome.judgement.report);
    outcome.judgement.wrong.iter().for_each(|wrong| println!("WRONG {wrong}"));
    Ok(wrong.is_none())
}

fn many(arguments: &Arguments) -> Result<bool> {
    let began = Instant::now();
    let jobs = match arguments.jobs {
        Some(jobs) => jobs.max(1),
        None => std::thread::available_parallelism().context("cannot count the cores")?.get(),
    };
    let (next, lived) = (AtomicU64::new(arguments.seeds.start), AtomicU64::new(0));
    let (failed, counted) = (Mutex::new(Vec::new()), Mutex::new(BTreeMap::<String, u64>::new()));
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= arguments.seeds.end {
                        return;
                    }
                    let ran = catch_unwind(AssertUnwindSafe(|| weir_sim::run(seed, &arguments.options(false))));
                    let wrong = match ran {
                        Ok(Ok(outcome)) => {
                            lived.fetch_add(outcome.micros, Ordering::Relaxed);
                            let mut counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
                            let kinds = outcome.judgement.report.rows.iter().flat_map(|row| &row.kinds);
                            kinds.for_each(|(kind, lost)| *counted.entry(kind.clone()).or_default() += lost);
                            drop(counted);
                            wrong(&outcome)
                        }
                        Ok(Err(error)) => Some(error.to_string()),
                        Err(_) => Some("it panicked; the message is above".to_owned()),
                    };
                    if let Some(wrong) = wrong {
                        println!(
                            "seed {seed}:\n{wrong}\nreplay with: cargo run --release -p weir-sim -- --seed {seed}\n"
                        );
                        failed.lock().unwrap_or_else(PoisonError::into_inner).push(seed);
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.sort_unstable();
    let (seeds, seconds) = (arguments.seeds.end - arguments.seeds.start, began.elapsed().as_secs_f64());
    let lived = lived.into_inner() as f64 / 3.6e9;
    println!("{seeds} seeds in {seconds:.1} s ({:.0} a second), {lived:.1} h of virtual time", seeds as f64 / seconds);
    let counted = counted.into_inner().unwrap_or_else(PoisonError::into_inner);
    let counted: Vec<_> = counted.iter().map(|(kind, lost)| format!("{lost} {kind}")).collect();
    println!("counted as lost in all of them: {}", counted.join(", "));
    if !failed.is_empty() {
        println!("{} failed: {failed:?}", failed.len());
    }
    Ok(failed.is_empty())
}

//! Trying inputs one after the other, and what is said of those that fail.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, Result};
use peakmem_alloc::PeakMemAllocTrait;
use weir_fuzz::mutate::Mutator;
use weir_fuzz::{Target, dictionary};

use crate::MEMORY;
use crate::tally::Tally;

/// Where the last panic was, and what it said.
static PANIC: Mutex<String> = Mutex::new(String::new());

/// Runs targets, and prints at the end how many inputs each was given, with `tally` in all runs; false if an input failed.
pub(crate) fn all(targets: &[&'static Target], (seed, rounds): (u64, u64), tally: Option<&Path>) -> Result<bool> {
    note_panics();
    // Before the work: a file that is no tally is said at once.
    let mut before = tally.map(Tally::read).transpose()?.unwrap_or_default();
    println!("{:<18} {:>12} {:>8} {:>12} {:>12}", "target", "inputs", "seconds", "most memory", "bound");
    let (mut good, mut now) = (true, Tally::default());
    for target in targets {
        let (tried, held) = one(target, seed, rounds)?;
        good &= held;
        now.add(target.name, tried);
        before.add(target.name, tried);
        // After each target: a long run may be broken off.
        tally.map_or(Ok(()), |path| before.write(path))?;
    }
    let all = |of: u64| if tally.is_some() { format!(" {of:>16}") } else { String::new() };
    println!("\n{:<18} {:>12}{}", "target", "inputs", if tally.is_some() { "      in all runs" } else { "" });
    for target in targets {
        println!("{:<18} {:>12}{}", target.name, now.of(target.name), all(before.of(target.name)));
    }
    println!("{:<18} {:>12}{}", "all", now.total(), all(before.total()));
    Ok(good)
}

/// Tries one input and says what came of it.
pub(crate) fn replay(target: &Target, file: &Path) -> Result<bool> {
    let input = fs::read(file).with_context(|| file.display().to_string())?;
    note_panics();
    match attempt(target, &input) {
        Ok(most) => {
            println!("{}: {} bytes of input, at most {most} bytes of memory", target.name, input.len());
            Ok(true)
        }
        Err(why) => {
            println!("{}: {why}", target.name);
            Ok(false)
        }
    }
}

/// How many inputs were tried, and whether all of them held.
fn one(target: &Target, seed: u64, rounds: u64) -> Result<(u64, bool)> {
    let start = Instant::now();
    let corpus = corpus(target)?;
    let words = fs::read_to_string(target.dictionary()).with_context(|| target.dictionary().display().to_string())?;
    let words = dictionary::parse(&words)?;
    let mut mutator = Mutator::new(seed, &corpus, &words, target.max_len);
    let trying = scratch()?.join(format!("{}.trying", target.name));
    let trail = File::create(&trying)?;
    let count = corpus.len() as u64 + target.inputs * rounds;
    let mut most = 0;
    for index in 0..count {
        let input = corpus.get(index as usize).cloned().unwrap_or_else(|| mutator.next_input());
        trail.set_len(input.len() as u64)?;
        trail.write_all_at(&input, 0)?;
        match attempt(target, &input) {
            Ok(held) => most = most.max(held),
            Err(why) => {
                let kept = scratch()?.join(format!("{}-{seed}-{index}", target.name));
                fs::write(&kept, &input)?;
                println!("{}: input {index} of seed {seed}: {why}", target.name);
                println!("  replay: cargo run --release -p weir-fuzz -- replay {} {}", target.name, kept.display());
                return Ok((index + 1, false));
            }
        }
    }
    fs::remove_file(trying)?;
    let seconds = start.elapsed().as_secs_f32();
    println!("{:<18} {count:>12} {seconds:>8.1} {most:>12} {:>12}", target.name, target.memory);
    Ok((count, true))
}

/// The most memory that the input took, in bytes, or what is wrong.
fn attempt(target: &Target, input: &[u8]) -> Result<usize, String> {
    MEMORY.reset_peak_memory();
    let run = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let most = MEMORY.get_peak_memory();
    match run {
        Err(_) => Err(PANIC.lock().map(|said| said.clone()).unwrap_or_default()),
        Ok(()) if most > target.memory => Err(format!("held {most} bytes, expected at most {}", target.memory)),
        Ok(()) => Ok(most),
    }
}

fn note_panics() {
    std::panic::set_hook(Box::new(|panic| {
        if let Ok(mut said) = PANIC.lock() {
            *said = panic.to_string();
        }
    }));
}

/// The seeds, in the order of their names, so that a run can be repeated.
fn corpus(target: &Target) -> Result<Vec<Vec<u8>>> {
    let dir = target.corpus();
    let entries = fs::read_dir(&dir).with_context(|| dir.display().to_string())?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    files.sort();
    files.iter().map(|file| Ok(fs::read(file)?)).collect()
}

/// Where inputs that fail are kept.
fn scratch() -> Result<PathBuf> {
    let dir = std::env::temp_dir().join("weir-fuzz");
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

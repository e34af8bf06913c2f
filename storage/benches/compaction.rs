//! Compacting a log of 1 GB, 10 million records of 1,000 keys: time, memory, and what commits beside it feel.
//!
//! `cargo bench -p weir-storage --bench compaction`; runs alternate. Each run is a process of its own, so that its peak
//! memory (VmHWM of proc(5)) is its own, on hard links to the same files: compaction never writes into one in place.
//! References: a plain read of the same files, and the same commits beside such reads: a machine that has nothing else to
//! do answers a sync later.

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use std::{fs, thread};
use weir_storage::{
    Batch, Committer, CommitterOptions, CompactionOptions, Log, LogOptions, RealFs, RecoveryMode, Submission,
};

const RECORDS: u64 = 10_000_000;
const KEYS: u64 = 1_000;
const RECORDS_PER_COMMIT: u64 = 2_000;
const VALUE_BYTES: usize = 88;
const ROUNDS: usize = 3;
/// Commits beside reads go on for about as long as those beside a compaction.
const READING: Duration = Duration::from_secs(4);
/// Tells a process of its own what to measure, and where.
const ROLE: &str = "WEIR_COMPACTION";

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result<()> {
    if let Ok(role) = std::env::var(ROLE) {
        let (what, dir) = role.split_once(':').ok_or("expected a role and a directory")?;
        return measure(what, Path::new(dir));
    }
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(()); // `cargo test --all-targets` comes here; it measures nothing.
    }
    let temporary = tempfile::tempdir()?;
    let filled = temporary.path().join("filled");
    let bytes = fill(&filled)?;
    println!("{RECORDS} records, {KEYS} keys, {} MiB", bytes >> 20);
    for _ in 0..ROUNDS {
        for what in ["read", "compact", "reading", "beside"] {
            let dir = temporary.path().join("run");
            link(&filled, &dir)?;
            let role = format!("{what}:{}", dir.display());
            let run = Command::new(std::env::current_exe()?).env(ROLE, role).status()?;
            fs::remove_dir_all(&dir)?;
            if !run.success() {
                return Err(format!("{what}: {run}").into());
            }
        }
    }
    Ok(())
}

fn options() -> LogOptions {
    LogOptions { recovery: RecoveryMode::Tail, ..LogOptions::default() }
}

fn fill(dir: &Path) -> Result<u64> {
    let (mut log, _) = Log::open(Arc::new(RealFs), dir, options())?;
    let mut batch = Batch::new();
    for first in (0..RECORDS).step_by(RECORDS_PER_COMMIT as usize) {
        batch.clear();
        for record in first..first + RECORDS_PER_COMMIT {
            // Spread, so that no segment is without its share of last values.
            let key = format!("device-{:04}", record.wrapping_mul(2_654_435_761) % KEYS);
            batch.push(record as i64, Some(key.as_bytes()), Some(&[7; VALUE_BYTES]), &[])?;
        }
        log.commit(&mut batch)?;
    }
    log.mark_end();
    Ok(log.allocated())
}

fn link(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        // The last segment takes commits: a copy of its own.
        if name == "lock" || name.to_string_lossy().starts_with(&last_base(from)?) {
            fs::copy(from.join(&name), to.join(&name))?;
        } else {
            fs::hard_link(from.join(&name), to.join(&name))?;
        }
    }
    Ok(())
}

fn last_base(dir: &Path) -> Result<String> {
    let mut names = fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    let last = names.by_ref().collect::<std::io::Result<Vec<_>>>()?;
    let last = last.into_iter().filter(|name| name.ends_with(".log")).max().ok_or("no segment")?;
    Ok(last.trim_end_matches(".log").to_owned())
}

fn measure(what: &str, dir: &Path) -> Result<()> {
    let begin = Instant::now();
    match what {
        "read" => {
            let bytes = read_all(dir)?;
            told(what, begin, &format!("{} MiB read", bytes >> 20))
        }
        "compact" => {
            let (log, _) = Log::open(Arc::new(RealFs), dir, options())?;
            let compaction = log.compact(&CompactionOptions::default(), &AtomicBool::new(false))?;
            let (segments, left) = (compaction.rewritten, log.allocated() >> 20);
            told(
                what,
                begin,
                &format!("{} records out, segments {segments:?}, {left} MiB left", compaction.removed_records),
            )
        }
        _ => {
            let (log, _) = Log::open(Arc::new(RealFs), dir, options())?;
            let committer = Committer::spawn(vec![log], CommitterOptions::default())?;
            let ended = AtomicBool::new(false);
            let latencies = thread::scope(|scope| -> Result<Vec<Duration>> {
                let beside = scope.spawn(|| {
                    let done = match what {
                        "beside" => {
                            let compaction = committer.compact(0, &CompactionOptions::default(), &ended);
                            compaction.map(|_| ()).map_err(|error| error.to_string())
                        }
                        _ => {
                            while begin.elapsed() < READING {
                                read_all(dir).map_err(|error| error.to_string())?;
                            }
                            Ok(())
                        }
                    };
                    ended.store(true, Ordering::Release);
                    done
                });
                let mut latencies = Vec::new();
                while !ended.load(Ordering::Acquire) {
                    latencies.push(commit(&committer)?);
                }
                beside.join().map_err(|_| "a thread panicked")??;
                Ok(latencies)
            })?;
            let mut sorted = latencies;
            sorted.sort_unstable();
            let at =
                |part: usize| sorted.get(sorted.len() * part / 1000).copied().unwrap_or_default().as_secs_f64() * 1e3;
            let figures =
                format!("{} commits, ms: p50 {:.2}, p99 {:.2}, p999 {:.2}", sorted.len(), at(500), at(990), at(999));
            told(what, begin, &figures)
        }
    }
}

/// Commits 32 records of 200 bytes and waits until they are durable.
fn commit(committer: &Committer) -> Result<Duration> {
    let mut batch = Batch::new();
    for _ in 0..32 {
        batch.push(0, Some(b"beside"), Some(&[7; 200]), &[])?;
    }
    let (answer, answered) = mpsc::sync_channel(1);
    let done = Box::new(move |completion: weir_storage::Completion| drop(answer.send(completion)));
    let begin = Instant::now();
    committer.submit(Submission { parts: vec![(0, batch)], done }).map_err(|error| error.to_string())?;
    answered.recv()?;
    Ok(begin.elapsed())
}

fn read_all(dir: &Path) -> Result<u64> {
    let mut buffer = vec![0; 256 * 1024];
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let mut file = fs::File::open(entry?.path())?;
        loop {
            match std::io::Read::read(&mut file, &mut buffer)? {
                0 => break,
                read => bytes += read as u64,
            }
        }
    }
    Ok(bytes)
}

fn told(what: &str, begin: Instant, figures: &str) -> Result<()> {
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default().trim();
    println!("{what:<8} {:>7.0} ms, peak {peak}: {figures}", begin.elapsed().as_secs_f64() * 1e3);
    Ok(())
}

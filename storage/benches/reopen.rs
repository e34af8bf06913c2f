//! Opening a log of 256 MB and draining it: time and memory, by the tail and as a whole.
//!
//! `cargo bench -p weir-storage --bench reopen`; runs alternate. Each run is a process of its own, so that its peak
//! memory (VmHWM of proc(5)) is its own. The reference is a plain read of the same files.

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;
use weir_storage::{Batch, Log, LogOptions, RealFs, RecoveryMode};

const LOG_BYTES: u64 = 256 << 20;
const SEGMENT_BYTES: u64 = 16 << 20;
const RECORD_BYTES: usize = 200;
const RECORDS_PER_COMMIT: usize = 1_000;
const ROUNDS: usize = 5;
/// Tells a process of its own what to measure, and where.
const ROLE: &str = "WEIR_REOPEN";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    if let Ok(role) = std::env::var(ROLE) {
        let (what, dir) = role.split_once(':').ok_or("expected a role and a directory")?;
        return measure(what, Path::new(dir));
    }
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(()); // `cargo test --all-targets` comes here; it measures nothing.
    }
    let temporary = tempfile::tempdir()?;
    fill(temporary.path())?;
    println!("{:<8} {:>10} {:>10} {:>12} {:>12}", "", "open ms", "drain ms", "MiB at open", "MiB drained");
    for _ in 0..ROUNDS {
        for what in ["tail", "full", "plain"] {
            let role = format!("{what}:{}", temporary.path().display());
            let run = Command::new(std::env::current_exe()?).env(ROLE, role).status()?;
            if !run.success() {
                return Err(format!("{what}: {run}").into());
            }
        }
    }
    Ok(())
}

fn options(recovery: RecoveryMode) -> LogOptions {
    LogOptions { segment_bytes: SEGMENT_BYTES, recovery, ..LogOptions::default() }
}

fn fill(dir: &Path) -> Result<()> {
    let (mut log, _) = Log::open(Arc::new(RealFs), dir, options(RecoveryMode::Tail))?;
    let mut batch = Batch::new();
    while log.allocated() < LOG_BYTES {
        batch.clear();
        for _ in 0..RECORDS_PER_COMMIT {
            batch.push(0, None, Some(&[7; RECORD_BYTES]), &[])?;
        }
        log.commit(&mut batch)?;
    }
    Ok(())
}

fn measure(what: &str, dir: &Path) -> Result<()> {
    let start = Instant::now();
    let (open_ms, at_open) = match what {
        "plain" => (0.0, peak_mib()?),
        _ => {
            let mode = if what == "tail" { RecoveryMode::Tail } else { RecoveryMode::Full };
            let (log, _) = Log::open(Arc::new(RealFs), dir, options(mode))?;
            let opened = (start.elapsed().as_secs_f64() * 1e3, peak_mib()?);
            drain(&log)?;
            opened
        }
    };
    if what == "plain" {
        read_plainly(dir)?;
    }
    let drain_ms = start.elapsed().as_secs_f64() * 1e3 - open_ms;
    println!("{what:<8} {open_ms:>10.1} {drain_ms:>10.0} {at_open:>12.1} {:>12.1}", peak_mib()?);
    Ok(())
}

fn drain(log: &Log) -> Result<()> {
    let reader = log.reader();
    let (mut at, mut records) = (reader.start_offset(), 0);
    while at < reader.end_offset() {
        let chunk = reader.read(at, 64 * 1024)?;
        records += chunk.records().count() as u64;
        at = chunk.next_offset;
    }
    if records == log.next_offset() { Ok(()) } else { Err("records are missing".into()) }
}

fn read_plainly(dir: &Path) -> Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let mut file = std::fs::File::open(entry?.path())?;
        std::io::copy(&mut file, &mut std::io::sink())?;
    }
    Ok(())
}

/// Peak resident memory of this process.
fn peak_mib() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM in /proc/self/status")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

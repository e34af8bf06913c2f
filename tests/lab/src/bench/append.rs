//! Durable append: the log against the same bytes by plain write and fdatasync, in turns.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use weir_storage::{Batch, Log, LogOptions, RealFs};

use super::Measure;
use super::table::{median, short};
use crate::deployment::Scratch;

/// Records of one commit.
const RECORDS: usize = 1000;
/// Bytes of one record.
const RECORD: usize = 200;
/// Bytes of one commit.
const COMMIT: usize = RECORDS * RECORD;
/// Records of a commit of 20 kB, the smallest that the write goal is for.
const SMALL: usize = 100;
const SMALL_COMMITS: usize = 200;
/// Turns, each of several commits of either side.
const TURNS: usize = 20;
const COMMITS: usize = 25;

pub(super) fn run(quick: bool) -> Result<Vec<Measure>> {
    let scratch = Scratch::new()?;
    let mut log = open(&scratch.join("log"))?;
    let mut raw = File::create(scratch.join("raw")).context("cannot make a file to compare with")?;
    let bytes: Vec<u8> = (0..COMMIT).map(|i| (i * 31 % 251) as u8).collect();
    let (turns, commits) = if quick { (4, 5) } else { (TURNS, COMMITS) };
    let (mut ratios, mut rates) = (Vec::new(), Vec::new());
    for turn in 0..=turns {
        let plain = timed(|| (0..commits).try_for_each(|_| write(&mut raw, &bytes)))?;
        let ours = timed(|| (0..commits).try_for_each(|_| commit(&mut log, &bytes)))?;
        // The first turn warms both sides.
        if turn > 0 {
            ratios.push(plain.as_secs_f64() / ours.as_secs_f64());
            rates.push((commits * RECORDS) as f64 / ours.as_secs_f64());
        }
    }
    let measures = vec![
        Measure {
            what: format!("durable append, {RECORDS} x {RECORD} B a commit"),
            got: Some(format!("{:.2} of raw, {} records/s", median(ratios), short(median(rates)))),
            reference: "write + fdatasync of the same bytes".to_owned(),
            goal: "0.9".to_owned(),
        },
        amplification(&scratch, &bytes)?,
    ];
    drop(log);
    scratch.remove()?;
    Ok(measures)
}

fn open(dir: &Path) -> Result<Log> {
    let (log, _) = Log::open(Arc::new(RealFs), dir, LogOptions::default()).context("cannot open a log")?;
    Ok(log)
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let begun = Instant::now();
    work()?;
    Ok(begun.elapsed())
}

fn write(file: &mut File, bytes: &[u8]) -> Result<()> {
    file.write_all(bytes).and_then(|()| file.sync_data()).context("cannot write to the temporary directory")
}

fn commit(log: &mut Log, bytes: &[u8]) -> Result<()> {
    let mut batch = Batch::new();
    for record in bytes.chunks(RECORD) {
        batch.push(0, None, Some(record), &[]).context("a record of the benchmark")?;
    }
    log.commit(&mut batch).context("commit")?;
    Ok(())
}

/// What the disk is given for a byte of payload, and how much of that is the log's own: the last block of a file is
/// written again by the next commit, whoever appends.
fn amplification(scratch: &Scratch, bytes: &[u8]) -> Result<Measure> {
    let part = &bytes[..SMALL * RECORD];
    let payload = (SMALL_COMMITS * part.len()) as f64;
    let dir = scratch.join("small");
    let mut log = open(&dir)?;
    let begun = given_to_the_disk()?;
    (0..SMALL_COMMITS).try_for_each(|_| commit(&mut log, part))?;
    let ours = given_to_the_disk()? - begun;

    let mut raw = File::create(scratch.join("small-raw")).context("cannot make a file to compare with")?;
    let begun = given_to_the_disk()?;
    (0..SMALL_COMMITS).try_for_each(|_| write(&mut raw, part))?;
    let plain = given_to_the_disk()? - begun;

    let mut length = 0;
    for entry in std::fs::read_dir(&dir).context("the log has no directory")? {
        length += entry.and_then(|entry| entry.metadata()).context("a file of the log")?.len();
    }
    Ok(Measure {
        what: format!("bytes written per payload byte, {SMALL} x {RECORD} B a commit"),
        got: Some(format!("{:.2}; length of the files {:.2}", ours as f64 / payload, length as f64 / payload)),
        reference: format!("write + fdatasync of the payload: {:.2}", plain as f64 / payload),
        goal: "1.15".to_owned(),
    })
}

/// Bytes of pages that this process made the kernel write (proc(5), write_bytes of io); 0 on a filesystem in memory.
fn given_to_the_disk() -> Result<u64> {
    let io = std::fs::read_to_string("/proc/self/io").context("cannot read /proc/self/io")?;
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).context("no write_bytes in /proc/self/io")
}

//! What durability costs on top of the disk: a commit of 1000 records of 200 bytes against a raw write and
//! `fdatasync` of the same bytes, alternating in one run, so that the ratio holds where absolute times do not.
//!
//! ```text
//! cargo bench -p weir-storage --bench append [-- --dir DIR] [--rounds N]
//! ```
//!
//! Prints one `name value unit` a line. `append_ratio` is raw time by our time (1 = durability is free),
//! `bytes_written_per_payload_byte` what the kernel sent to the device for our side.

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_storage::{Batch, Log, LogOptions, RealFs};

const RECORD_BYTES: usize = 200;
const RECORDS: usize = 1000;
const DEFAULT_ROUNDS: usize = 300;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        return Ok(()); // `cargo test --all-targets` comes here; it measures nothing.
    }
    let option = |name| arguments.iter().position(|argument| argument == name).and_then(|at| arguments.get(at + 1));
    let rounds = option("--rounds").map_or(Ok(DEFAULT_ROUNDS), |rounds| rounds.parse())?;
    let parent = option("--dir").map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = parent.join(format!("weir-append-{}", std::process::id()));
    fs::create_dir(&dir)?;
    let measured = measure(&dir, rounds);
    fs::remove_dir_all(&dir)?;
    measured
}

fn measure(dir: &Path, rounds: usize) -> Result<(), Box<dyn Error>> {
    let value = [0x5a; RECORD_BYTES];
    let (mut log, _) = Log::open(Arc::new(RealFs), &dir.join("log"), LogOptions::default())?;
    let mut raw_file = File::create(dir.join("raw"))?;
    let mut batch = Batch::new();
    fill(&mut batch, &value)?;
    log.commit(&mut batch)?;
    let same_bytes = log.reader().read(0, usize::MAX)?.bytes;
    raw_file.write_all(&same_bytes)?;
    raw_file.sync_data()?;

    let mut raw = Vec::with_capacity(rounds);
    let mut ours = Vec::with_capacity(rounds);
    let mut written = 0;
    for round in 0..rounds * 2 {
        // Raw, ours, ours, raw: neither side always follows the other.
        if matches!(round % 4, 0 | 3) {
            let start = Instant::now();
            raw_file.write_all(&same_bytes)?;
            raw_file.sync_data()?;
            raw.push(start.elapsed());
        } else {
            let before = device_bytes()?;
            let start = Instant::now();
            batch.clear();
            fill(&mut batch, &value)?;
            log.commit(&mut batch)?;
            ours.push(start.elapsed());
            written += device_bytes()? - before;
        }
    }
    let payload = (rounds * RECORDS * RECORD_BYTES) as f64;
    let (small, raw_small) = small_commits(&mut log, &mut raw_file, rounds)?;
    let (raw_total, our_total) = (raw.iter().sum::<Duration>(), ours.iter().sum::<Duration>());
    println!("rounds {rounds} commits of {RECORDS} x {RECORD_BYTES} bytes");
    println!("append_ratio {:.3} raw/ours", raw_total.as_secs_f64() / our_total.as_secs_f64());
    println!("append_ratio_of_medians {:.3} raw/ours", median(&mut raw) / median(&mut ours));
    println!("durable_append {:.0} records/s", (rounds * RECORDS) as f64 / our_total.as_secs_f64());
    println!("raw_append {:.0} records/s", (rounds * RECORDS) as f64 / raw_total.as_secs_f64());
    println!("frame_bytes_per_payload_byte {:.3}", same_bytes.len() as f64 / (RECORDS * RECORD_BYTES) as f64);
    println!("bytes_written_per_payload_byte {:.3} at 200 kB a commit", written as f64 / payload);
    println!("bytes_written_per_payload_byte {small:.3} at 20 kB a commit");
    println!("raw_bytes_written_per_payload_byte {raw_small:.3} at 20 kB an append");
    Ok(())
}

/// Bytes to the device per payload byte when a commit has a tenth of the records: ours, and a raw append of the
/// payload alone, whose last block is written again by the next one just as ours is.
fn small_commits(log: &mut Log, raw_file: &mut File, rounds: usize) -> Result<(f64, f64), Box<dyn Error>> {
    let value = [0x5a; RECORD_BYTES];
    let payload = value.repeat(RECORDS / 10);
    let mut batch = Batch::new();
    (0..RECORDS as i64 / 10).try_for_each(|at| batch.push(at, Some(b"pump-7"), Some(&value), &[]))?;
    let start = device_bytes()?;
    for _ in 0..rounds {
        log.commit(&mut batch)?;
    }
    let between = device_bytes()?;
    for _ in 0..rounds {
        raw_file.write_all(&payload)?;
        raw_file.sync_data()?;
    }
    let written = (rounds * payload.len()) as f64;
    Ok(((between - start) as f64 / written, (device_bytes()? - between) as f64 / written))
}

fn fill(batch: &mut Batch, value: &[u8]) -> Result<(), weir_storage::RecordTooLarge> {
    (0..RECORDS as i64).try_for_each(|at| batch.push(1_763_726_400_000 + at, Some(b"pump-7"), Some(value), &[]))
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

/// Bytes that this process caused to be sent to storage so far (proc(5), `write_bytes`).
fn device_bytes() -> Result<u64, Box<dyn Error>> {
    let counters = fs::read_to_string("/proc/self/io")?;
    let line = counters.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    Ok(line.ok_or("no write_bytes in /proc/self/io")?.parse()?)
}

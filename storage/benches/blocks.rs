//! What it costs to read a log for those who pass its frames on: `cargo bench -p weir-storage --bench blocks [-- MIB]`.
//!
//! Fills a log with commits of 10,000 records of 200 B, then reads all of it, in turns: the files as they are, in pieces of the
//! same size; [`Reader::read_block`], which also walks the frames and verifies their checksums; [`Reader::read`], which copies
//! them besides. The page cache is warm. A report, not a gate.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_storage::{Batch, Log, LogOptions, Reader, RealFs};

const PIECE: usize = 512 << 10;
const ROUNDS: usize = 7;

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        return; // `cargo test --all-targets` comes here; it measures nothing.
    }
    let mib = std::env::args().skip(1).find_map(|argument| argument.parse::<u64>().ok()).unwrap_or(1024);
    let scratch = tempfile::tempdir().expect("a directory");
    let reader = fill(scratch.path(), mib << 20);
    let mut best = [Duration::MAX; 3];
    for _ in 0..ROUNDS {
        let runs: [&dyn Fn() -> u64; 3] = [&|| files(scratch.path()), &|| blocks(&reader), &|| chunks(&reader)];
        for (best, run) in best.iter_mut().zip(runs) {
            let began = Instant::now();
            let bytes = run();
            assert!(bytes >= mib << 20, "{bytes}");
            *best = began.elapsed().min(*best);
        }
    }
    let [plain, ..] = best;
    for (name, time) in ["plain read of the files", "read_block", "read"].into_iter().zip(best) {
        let gib_per_s = mib as f64 / 1024.0 / time.as_secs_f64();
        println!("{name:<24} {gib_per_s:>6.2} GiB/s  {:.2} of plain", plain.as_secs_f64() / time.as_secs_f64());
    }
}

fn fill(dir: &Path, bytes: u64) -> Reader {
    let options = LogOptions { segment_bytes: 256 << 20, ..LogOptions::default() };
    let (mut log, _) = Log::open(Arc::new(RealFs), dir, options).expect("opens");
    let value = [7; 200];
    let mut time = 0;
    while log.reader().allocated() < bytes + (1 << 20) {
        let mut batch = Batch::new();
        for _ in 0..10_000 {
            time += 1;
            batch.push(time, Some(b"pump-1"), Some(&value), &[]).expect("a small record");
        }
        log.commit(&mut batch).expect("commits");
    }
    log.reader()
}

fn files(dir: &Path) -> u64 {
    let (mut all, mut piece) = (0, vec![0; PIECE]);
    for entry in std::fs::read_dir(dir).expect("lists").flatten() {
        if entry.file_name().to_string_lossy().ends_with(".log") {
            let (file, mut position) = (File::open(entry.path()).expect("opens"), 0);
            while let Ok(read @ 1..) = file.read_at(&mut piece, position) {
                position += read as u64;
            }
            all += position;
        }
    }
    all
}

fn blocks(reader: &Reader) -> u64 {
    let (mut next, mut all, mut buffer) = (0, 0, Vec::new());
    loop {
        let block = reader.read_block(next, PIECE, &mut buffer).expect("reads");
        if block.next_offset == next {
            return all;
        }
        all += block.frames.len() as u64;
        next = block.next_offset;
    }
}

fn chunks(reader: &Reader) -> u64 {
    let (mut next, mut all) = (0, 0);
    loop {
        let chunk = reader.read(next, PIECE).expect("reads");
        if chunk.next_offset == next {
            return all;
        }
        all += chunk.bytes.len() as u64;
        next = chunk.next_offset;
    }
}

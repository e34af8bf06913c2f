//! What the storage tests share: seeds, and logs on a faulty disk.
#![allow(dead_code, unreachable_pub)] // each test program uses its part

pub mod counting;
pub mod gate;

use std::path::Path;
use std::sync::{Arc, mpsc};
use weir_storage::{Batch, Committer, FaultyFs, Fs, Log, LogOptions, Reader, Recovery, Submission};

/// Where the tests keep their log on a faulty disk.
pub fn dir() -> &'static Path {
    Path::new("/log")
}

/// Runs a story for `WEIR_SEED` alone, or for `WEIR_SEEDS` seeds, `default` of them if it is not set. A seed
/// that fails is printed with the line that replays it.
pub fn for_each_seed(test: &str, default: u64, story: impl Fn(u64)) {
    let number = |name| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let seeds: Vec<u64> = match number("WEIR_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("WEIR_SEEDS").unwrap_or(default)).collect(),
    };
    for seed in seeds {
        let failing = Announce { test, seed };
        story(seed);
        std::mem::forget(failing);
    }
}

struct Announce<'a> {
    test: &'a str,
    seed: u64,
}

impl Drop for Announce<'_> {
    fn drop(&mut self) {
        eprintln!("replay with: WEIR_SEED={} cargo test -p weir-storage {}", self.seed, self.test);
    }
}

pub fn open(fs: &FaultyFs, options: LogOptions) -> (Log, Recovery) {
    let fs: Arc<dyn Fs> = Arc::new(fs.clone());
    Log::open(fs, dir(), options).expect("the log opens")
}

/// A batch of one record per value, all with the same time.
pub fn batch(values: &[&str]) -> Batch {
    let mut batch = Batch::new();
    for value in values {
        batch.push(1_000, None, Some(value.as_bytes()), &[]).expect("a small record");
    }
    batch
}

/// Everything that the reader sees from `from` on, in reads of `max_bytes`.
pub fn read_all(reader: &Reader, from: u64, max_bytes: usize) -> Vec<(u64, String)> {
    let mut next = from;
    let mut records = Vec::new();
    loop {
        let chunk = reader.read(next, max_bytes).expect("readable");
        for record in chunk.records() {
            let record = record.expect("well formed");
            let value = String::from_utf8(record.value.expect("a value").to_vec()).expect("text");
            records.push((record.offset, value));
        }
        if chunk.next_offset == next {
            return records;
        }
        next = chunk.next_offset;
    }
}

/// The values alone.
pub fn values(reader: &Reader) -> Vec<String> {
    read_all(reader, reader.start_offset(), 4096).into_iter().map(|(_, value)| value).collect()
}

/// Stops the committer inside a completion until the sender is dropped.
pub fn hold(committer: &Committer) -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel::<()>();
    let (here, reached) = mpsc::channel();
    let done = Box::new(move |_| {
        here.send(()).expect("the committer runs");
        let _ = released.recv();
    });
    committer.submit(Submission { parts: Vec::new(), done }).expect("the committer runs");
    reached.recv().expect("the committer runs");
    release
}

//! `weir-agent queue import`: lines that somebody wrote, into a queue on a disk in memory.

use std::path::Path;
use std::sync::Arc;

use weir_agent::queue::{Incarnation, Policy, Queue, QueueOptions};
use weir_agent::transfer::import;
use weir_storage::{FaultyFs, Fs};

use crate::target::Target;

/// The queue itself, its reserve, and what is staged.
pub(super) const IMPORT: Target = Target {
    name: "import",
    run,
    max_len: 4096,
    memory: 1 << 20,
    inputs: 20_000,
    seeds: || vec![("lines", LINES.to_vec())],
};

/// What an agent exported of its own machine, with a claim and an end.
const LINES: &[u8] = include_bytes!("../../corpus/import/lines");

fn run(bytes: &[u8]) {
    let fs: Arc<dyn Fs> = Arc::new(FaultyFs::new(0));
    let options = QueueOptions { cap: 1 << 20, policy: Policy::Block, ..QueueOptions::default() };
    let Ok((queue, _)) = Queue::open(&fs, Path::new("/agent"), options, Incarnation(7)) else {
        panic!("a queue opens on an empty disk");
    };
    if let Err(error) = import::lines(&queue, || Ok(bytes)) {
        assert!(!error.to_string().is_empty(), "a refusal says why");
    }
}

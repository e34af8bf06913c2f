//! `weir-agent queue import`: lines that somebody wrote, into a queue on a disk in memory.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use weir_agent::queue::{Incarnation, Policy, Queue, QueueOptions};
use weir_agent::transfer::import;
use weir_storage::{FaultyFs, Fs};

use crate::target::Target;

/// The queue itself, its reserve, and what is staged.
pub(super) const IMPORT: Target = Target {
    name: "import",
    run,
    max_len: 4096,
    memory: 16 << 20,
    inputs: 3_000,
    seeds: || vec![("lines", LINES.to_vec())],
};

const LINES: &[u8] = br#"{"type":"export","version":1}
{"type":"channels","device":"porch-1","schema":"0a1b2c3d","channels":[{"id":0,"name":"t","unit":"Cel","kind":"float","resolution":0.5}]}
{"type":"reading","tenant":"default","device":"porch-1","restart":"9","sequence":5,"schema":"0a1b2c3d","channel":0,"name":"t","time_us":1767225600123456,"clock":"synchronised","kind":"float","value":21.5}
{"type":"reading","tenant":"default","device":"porch-1","restart":"9","sequence":6,"schema":"0a1b2c3d","channel":0,"time_us":-1,"clock":"uptime","kind":"double","value":"0x7ff8000000000000"}
{"type":"claim","tenant":"default","device":"porch-1","restart":"9","kind":"queue","start":0,"end":5}
{"type":"end","tenant":"default","device":"porch-1","restart":"9","from":7}
{"type":"total","readings":2,"claims":1,"ends":1}
"#;

fn run(bytes: &[u8]) {
    let fs: Arc<dyn Fs> = Arc::new(FaultyFs::new(0));
    let options = QueueOptions { cap: 1 << 20, commit_interval: Duration::ZERO, policy: Policy::Block };
    let Ok((queue, _)) = Queue::open(&fs, Path::new("/agent"), options, Incarnation(7)) else {
        panic!("a queue opens on an empty disk");
    };
    if let Err(error) = import::lines(&queue, || Ok(bytes)) {
        assert!(!error.to_string().is_empty(), "a refusal says why");
    }
}

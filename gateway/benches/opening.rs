//! How long a gateway with a large log takes to open, and how much memory that takes.
//!
//! `cargo bench -p weir-gateway --bench opening [-- MIB [DIRECTORY]]`: fills the logs until they have so many MiB,
//! ends without a stop, as a kill does, and opens them in a new process each time: from the checkpoints behind the last
//! rolls, after a clean stop, and without any checkpoint, which is the reference: the whole log is read. The page cache is
//! warm. A report, not a gate.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::mpsc::unbounded_channel;
use weir_gateway::ingest::{Body, Event, Ingest, IngestOptions, Message, Sender, Verdict};
use weir_protocol::batch::describe::{self, Description};
use weir_protocol::batch::{EnvelopeBuilder, RunBuilder};
use weir_protocol::time::{SystemClock, WallClock};
use weir_protocol::{
    AgentId, Channel, ChannelId, Clock, DeviceId, Items, Reading, Restart, SchemaHash, Sequence, Tenant, Value,
    ValueKind, items,
};
use weir_storage::RealFs;

const DEVICES: u64 = 64;
const READINGS: u64 = 4000;
/// Tells a child what it is to do.
const CHILD: &str = "WEIR_BENCH_CHILD";

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let mib: u64 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(1024);
    let given = arguments.next().map(std::path::PathBuf::from);
    if let Ok(task) = std::env::var(CHILD) {
        let dir = given.expect("a directory");
        return if task == "fill" { fill(&dir, mib) } else { open(&dir, task == "stop") };
    }
    let scratch = tempfile::tempdir_in(given.unwrap_or_else(std::env::temp_dir)).expect("a directory");
    let child = |task: &str| {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program);
        child.arg(mib.to_string()).arg(scratch.path()).env(CHILD, task);
        assert!(child.status().expect("runs").success(), "{task}");
    };
    child("fill");
    for round in 0..3 {
        println!("round {round}");
        child("open");
    }
    println!("a clean stop");
    child("stop");
    child("open");
    remove_checkpoints(scratch.path());
    println!("no checkpoint");
    child("open");
}

fn remove_checkpoints(data: &Path) {
    for topic in std::fs::read_dir(data.join("topics")).expect("topics").flatten() {
        for partition in std::fs::read_dir(topic.path()).into_iter().flatten().flatten() {
            for file in std::fs::read_dir(partition.path()).into_iter().flatten().flatten() {
                if file.file_name().to_string_lossy().starts_with("ranges-") {
                    std::fs::remove_file(file.path()).expect("removes");
                }
            }
        }
    }
}

fn open(dir: &Path, stop: bool) {
    let began = Instant::now();
    let clock = Arc::new(SystemClock);
    let (ingest, _, report) = Ingest::start(Arc::new(RealFs), dir, IngestOptions::default(), clock).expect("opens");
    println!(
        "{:>8.3} s  {:>5} MiB RSS  {} readings known, {} records read",
        began.elapsed().as_secs_f64(),
        peak_kib() / 1024,
        report.readings,
        report.records_read
    );
    if stop {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(ingest.stop());
    }
    // Without a stop, as a kill does.
    std::process::exit(0);
}

fn fill(dir: &Path, mib: u64) {
    let clock = Arc::new(SystemClock);
    let (ingest, ..) = Ingest::start(Arc::new(RealFs), dir, IngestOptions::default(), clock).expect("starts");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    runtime.block_on(async {
        let sender = Sender::from((Tenant::DEFAULT, AgentId::new("agent").expect("a name")));
        let (events, mut told) = unbounded_channel();
        let connection = ingest.connect(sender, events);
        let mut encoded = Vec::new();
        let channel =
            Channel { id: ChannelId(0), name: "temperature", unit: "Cel", kind: ValueKind::Float, resolution: 0.1 };
        items::push(&mut encoded, &channel);
        let channels = Items::new(&encoded);
        let schema = SchemaHash::of(channels);
        let device = |at: u64| DeviceId::new(&format!("probe-{at}")).expect("a name");
        let describe = |at| {
            let description = describe::encode(&Description { device: device(at), schema, channels });
            Message { ticket: 0, body: Body::Describe, payload: Bytes::from(description) }
        };
        connection.submit((0..DEVICES).map(describe).collect()).await;
        let (mut waiting, mut next) = (DEVICES as usize, 0);
        while ingest.stats().committed_bytes < mib << 20 {
            let now = SystemClock.now();
            let batch = |at| {
                let mut run = RunBuilder::new(device(at), Restart(1), schema, Sequence(next));
                for reading in 0..READINGS {
                    let value = Value::Float(20.0 + reading as f32 / 64.0);
                    run.push(&Reading { channel: ChannelId(0), time: now, clock: Clock::Synchronised, value });
                }
                let mut envelope = EnvelopeBuilder::new();
                envelope.push(&run.section());
                Message { ticket: 0, body: Body::Batch, payload: Bytes::from(envelope.finish(false)) }
            };
            waiting += DEVICES as usize;
            connection.submit((0..DEVICES).map(batch).collect()).await;
            next += READINGS;
            while waiting > 0 {
                let Some(Event::Outcomes(outcomes)) = told.recv().await else { panic!("expected outcomes") };
                assert!(outcomes.iter().all(|outcome| outcome.verdict == Verdict::Stored), "{outcomes:?}");
                waiting -= outcomes.len();
            }
        }
    });
    println!("{} MiB, {} readings, {DEVICES} devices", ingest.stats().committed_bytes >> 20, ingest.stats().readings);
    // Without a stop, as a kill does.
    std::process::exit(0);
}

/// The most memory that this process had, from /proc/self/status.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
}

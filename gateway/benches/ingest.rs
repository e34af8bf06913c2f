//! How fast ingest is from payload to verdict: decode, drop repeats, Avro, group commit with `fdatasync`.
//!
//! `cargo bench -p weir-gateway --bench ingest [-- SECONDS [DIRECTORY [direct]]]`, `direct` being without a journal: 8 connections
//! with a window of 100 each, on a real disk; first batches of about 200 B, each connection's of a device of its own, then messages
//! of MQTT clients of 200 B, at QoS 1 and at QoS 2 with identities. Prints what is stored a second, bytes written, and CPU time of
//! the whole process. A report, not a gate: the disk decides.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::unbounded_channel;
use weir_gateway::ingest::{Body, Event, Ingest, IngestOptions, Message, Published, Sender, Verdict};
use weir_gateway::mqtt::packet::{Properties, QoS};
use weir_gateway::topics::layout::Routing;
use weir_gateway::topics::stores::Store;
use weir_protocol::batch::describe::{self, Description};
use weir_protocol::batch::{EnvelopeBuilder, RunBuilder};
use weir_protocol::time::{SystemClock, WallClock};
use weir_protocol::{
    AgentId, Channel, ChannelId, Clock, DeviceId, Items, Reading, Restart, SchemaHash, Sequence, Tenant, Value,
    ValueKind, items,
};
use weir_storage::{JournalOptions, RealFs};

const CONNECTIONS: u64 = 8;
const WINDOW: usize = 100;
/// As many readings as make a batch of about 200 B.
const READINGS: u64 = 15;

fn main() {
    // Cargo adds `--bench`.
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let seconds = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(5);
    let given = arguments.next().map(PathBuf::from);
    let direct = arguments.next().is_some_and(|text| text == "direct");
    let scratch = tempfile::tempdir_in(given.unwrap_or_else(std::env::temp_dir)).expect("a directory");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");

    let journal = Some(JournalOptions { bytes: 64 << 20, salt: 1 }).filter(|_| !direct);
    for load in [Load::Batches, Load::Messages(QoS::AtLeastOnce), Load::Messages(QoS::ExactlyOnce)] {
        let data = scratch.path().join(format!("{load:?}"));
        run(&runtime, &data, journal, load, Duration::from_secs(seconds));
    }
}

/// What is published.
#[derive(Clone, Copy, Debug)]
enum Load {
    Batches,
    Messages(QoS),
}

fn run(runtime: &Runtime, data: &Path, journal: Option<JournalOptions>, load: Load, time: Duration) {
    let store = Store { filter: "site/#".into(), tenant: None, topic: "messages".into() };
    let routing = Routing { stores: vec![store], ..Routing::default() };
    let options = IngestOptions { journal, routing, ..IngestOptions::default() };
    let (ingest, _topics, _report) =
        Ingest::start(Arc::new(RealFs), data, options, Arc::new(SystemClock)).expect("starts");
    let (start, cpu_before) = (Instant::now(), cpu_seconds());
    let until = start + time;
    let payload_bytes = runtime.block_on(async {
        let one = |at| tokio::spawn(publish(ingest.clone(), at, until, load));
        let publishers: Vec<_> = (0..CONNECTIONS).map(one).collect();
        let mut bytes = 0;
        for publisher in publishers {
            bytes = publisher.await.expect("a publisher");
        }
        bytes
    });
    let (elapsed, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu_before);
    runtime.block_on(ingest.stop());

    let stats = ingest.stats();
    let (batches, stored) = (stats.batches as f64, (stats.readings + stats.messages) as f64);
    println!("{load:?}: {CONNECTIONS} connections, window {WINDOW}, {payload_bytes} B a payload, {elapsed:.1} s");
    println!("{:>12.0} payloads/s", batches / elapsed);
    println!("{:>12.0} readings or messages stored/s", stored / elapsed);
    println!(
        "{:>12.1} MB/s written, {:.0} B each",
        stats.committed_bytes as f64 / elapsed / 1e6,
        stats.committed_bytes as f64 / stored
    );
    println!(
        "{:>12.0} commits/s, {:.0} payloads a commit",
        stats.commits as f64 / elapsed,
        batches / stats.commits as f64
    );
    println!("{:>12.2} us of CPU a payload, {:.0} % of one core", cpu / batches * 1e6, cpu / elapsed * 100.0);
}

/// Publishes with a full window until the time is over; the size of its last batch.
async fn publish(ingest: Ingest, at: u64, until: Instant, load: Load) -> usize {
    let name = format!("probe-{at}");
    let device = DeviceId::new(&name).expect("a name");
    let sender = Sender::from((Tenant::DEFAULT, AgentId::new(&format!("agent-{at}")).expect("a name")));
    let (events, mut told) = unbounded_channel();
    let connection = ingest.connect(sender, events);

    let mut channels = Vec::new();
    for (id, name, unit) in [(0, "temperature", "Cel"), (1, "humidity", "%")] {
        items::push(&mut channels, &Channel { id: ChannelId(id), name, unit, kind: ValueKind::Float, resolution: 0.1 });
    }
    let channels = Items::new(&channels);
    let schema = SchemaHash::of(channels);
    let description = describe::encode(&Description { device, schema, channels });
    let describe = Message { ticket: 0, body: Body::Describe, payload: Bytes::from(description) };
    connection.submit(vec![describe]).await;

    let mut batches = Batches { device, schema, next: 0, envelope: EnvelopeBuilder::new() };
    let (mut ticket, mut waiting, mut bytes) = (0, 1, 0);
    while waiting > 0 || Instant::now() < until {
        let room = if Instant::now() < until { WINDOW - waiting } else { 0 };
        let now = SystemClock.now();
        let messages: Vec<_> = (0..room)
            .map(|_| {
                ticket += 1;
                let message = match load {
                    Load::Batches => (Body::Batch, Bytes::from(batches.next(now))),
                    Load::Messages(qos) => (published(qos, ticket), Bytes::from(vec![b'x'; 200])),
                };
                bytes = message.1.len();
                Message { ticket, body: message.0, payload: message.1 }
            })
            .collect();
        waiting += messages.len();
        if !messages.is_empty() {
            connection.submit(messages).await;
        }
        match told.recv().await {
            Some(Event::Outcomes(outcomes)) => {
                assert!(outcomes.iter().all(|outcome| outcome.verdict == Verdict::Stored), "{outcomes:?}");
                waiting -= outcomes.len();
            }
            other => panic!("got {other:?}, expected outcomes"),
        }
    }
    bytes
}

/// A message of a client; at QoS 2 it is stored exactly once.
fn published(qos: QoS, sequence: u64) -> Body {
    let identity = (qos == QoS::ExactlyOnce).then_some((Restart(1), Sequence(sequence)));
    let topic = Bytes::from_static(b"site/7/temperature");
    Body::Published(Box::new(Published { topic, qos, retain: false, properties: Properties::default(), identity }))
}

/// Makes one batch after the other, as an agent would.
struct Batches {
    device: DeviceId,
    schema: SchemaHash,
    next: u64,
    envelope: EnvelopeBuilder,
}

impl Batches {
    fn next(&mut self, now: weir_protocol::Timestamp) -> Vec<u8> {
        let mut run = RunBuilder::new(self.device, Restart(1), self.schema, Sequence(self.next));
        for at in 0..READINGS {
            let value = Value::Float(20.0 + (self.next + at) as f32 / 64.0);
            let channel = ChannelId((at % 2) as u16);
            run.push(&Reading { channel, time: now.plus_micros(at as i64 * 1000), clock: Clock::Synchronised, value });
        }
        self.next += READINGS;
        self.envelope.push(&run.section());
        self.envelope.finish(false)
    }
}

/// User and system time of this process in seconds, from /proc/self/stat (fields 14 and 15, in ticks of 10 ms).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0
}

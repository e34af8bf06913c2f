//! Stories of the real threads: backpressure, a full disk, stopping.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use weir_protocol::time::WallClock;
use weir_protocol::{AgentId, Tenant, Timestamp};
use weir_storage::fs::Fault;
use weir_storage::{FaultyFs, File, Fs, LogOptions, Mode, RealFs};

use super::super::{
    Body, Connection, Event, Failure, Ingest, IngestOptions, Message, Outcome, RecoveryReport, Sender, Verdict,
};
use super::ARRIVAL;
use super::payloads::*;
use crate::topics::{TopicId, Topics};

struct Noon;

impl WallClock for Noon {
    fn now(&self) -> Timestamp {
        ARRIVAL
    }
}

fn options() -> IngestOptions {
    IngestOptions { partitions: 1, full_retry: Duration::from_millis(1), ..IngestOptions::default() }
}

fn start(fs: &FaultyFs, options: IngestOptions) -> (Ingest, Topics, RecoveryReport) {
    Ingest::start(Arc::new(fs.clone()), Path::new("/data"), options, Arc::new(Noon)).expect("starts")
}

fn connect(ingest: &Ingest) -> (Connection, UnboundedReceiver<Event>) {
    let sender = Sender::from((Tenant::DEFAULT, AgentId::new("agent").unwrap()));
    let (events, told) = unbounded_channel();
    (ingest.connect(sender, events), told)
}

fn describe(ticket: u64) -> Message {
    Message { ticket, body: Body::Describe, payload: Bytes::from(description(device("probe"))) }
}

fn readings(ticket: u64, sequences: std::ops::Range<u64>) -> Message {
    let payload = Bytes::from(batch(device("probe"), 1, sequences));
    Message { ticket, body: Body::Batch, payload }
}

/// The next so many outcomes.
async fn outcomes(told: &mut UnboundedReceiver<Event>, count: usize) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    while outcomes.len() < count {
        match told.recv().await {
            Some(Event::Outcomes(more)) => outcomes.extend(more),
            Some(Event::Ask(_)) => {}
            None => panic!("got {outcomes:?}, expected {count} outcomes"),
        }
    }
    outcomes
}

fn all_stored(tickets: std::ops::Range<u64>) -> Vec<Outcome> {
    tickets.map(|ticket| Outcome { ticket, verdict: Verdict::Stored }).collect()
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_was_acknowledged_on_a_real_disk_is_there_after_a_restart() {
    let scratch = tempfile::tempdir().unwrap();
    let start = || Ingest::start(Arc::new(RealFs), scratch.path(), options(), Arc::new(Noon)).expect("starts");
    let (ingest, topics, report) = start();
    assert_eq!(report.readings, 0);
    let (connection, mut told) = connect(&ingest);
    let mut exposed = topics.get(TopicId::READINGS).partitions()[0].exposed();
    connection.submit(vec![describe(0), readings(1, 0..10), readings(2, 10..20)]).await;
    assert_eq!(outcomes(&mut told, 3).await, all_stored(0..3));
    assert_eq!(*exposed.wait_for(|offset| *offset >= 20).await.unwrap(), 20, "who tails was woken");
    ingest.stop().await;

    let (ingest, _topics, report) = start();
    assert_eq!(report.readings, 20);
    let (connection, mut told) = connect(&ingest);
    connection.submit(vec![readings(0, 5..25)]).await;
    assert_eq!(outcomes(&mut told, 1).await, all_stored(0..1));
    assert_eq!((ingest.stats().readings, ingest.stats().repeats), (5, 15));
    ingest.stop().await;
}

#[tokio::test]
async fn a_full_disk_pauses_its_senders_and_goes_on_by_itself() {
    let fs = FaultyFs::new(1);
    let (ingest, topics, _) = start(&fs, IngestOptions { connection_budget: 1024, ..options() });
    let (connection, mut told) = connect(&ingest);
    connection.submit(vec![describe(0)]).await;
    assert_eq!(outcomes(&mut told, 1).await, all_stored(0..1));

    fs.set_capacity(Some(fs.used_bytes()));
    let messages: Vec<_> = (1..21).map(|ticket| readings(ticket, ticket * 10..ticket * 10 + 10)).collect();
    let submit = tokio::spawn(async move {
        connection.submit(messages).await;
        connection
    });
    until(|| ingest.stats().paused).await;
    assert!(!submit.is_finished(), "more than the budget waits to be let in");
    assert!(told.try_recv().is_err(), "and nothing is acknowledged");

    fs.set_capacity(None);
    assert_eq!(outcomes(&mut told, 20).await, all_stored(1..21));
    let connection = submit.await.unwrap();
    assert!(!ingest.stats().paused);
    assert_eq!(topics.get(TopicId::READINGS).partitions()[0].reader().end_offset(), 200);
    drop(connection);
    ingest.stop().await;
}

#[tokio::test]
async fn a_log_at_its_cap_pauses_too_and_a_stop_does_not_wait_for_room() {
    let fs = FaultyFs::new(1);
    let log = LogOptions { cap_bytes: Some(16 * 1024), ..LogOptions::default() };
    let (ingest, ..) = start(&fs, IngestOptions { log, ..options() });
    let (connection, mut told) = connect(&ingest);
    connection.submit(vec![describe(0), readings(1, 0..1000)]).await;
    until(|| ingest.stats().paused).await;
    ingest.stop().await;
    let failed = Outcome { ticket: 1, verdict: Verdict::Failed(Failure::Commit) };
    assert_eq!(outcomes(&mut told, 2).await, [all_stored(0..1)[0], failed]);

    connection.submit(vec![readings(2, 0..5)]).await;
    let stopping = Outcome { ticket: 2, verdict: Verdict::Failed(Failure::Stopping) };
    assert_eq!(outcomes(&mut told, 1).await, [stopping]);
}

#[tokio::test]
async fn a_failed_sync_fails_the_connection_and_the_next_one_stores_the_same_once() {
    let fs = FaultyFs::new(1);
    let (ingest, topics, _) = start(&fs, options());
    let (connection, mut told) = connect(&ingest);
    connection.submit(vec![describe(0)]).await;
    assert_eq!(outcomes(&mut told, 1).await, all_stored(0..1));
    fs.fail_once(Fault::Sync);
    connection.submit(vec![readings(1, 0..5)]).await;
    assert_eq!(outcomes(&mut told, 1).await[0].verdict, Verdict::Failed(Failure::Commit));

    let (connection, mut told) = connect(&ingest);
    connection.submit(vec![readings(0, 0..5)]).await;
    assert_eq!(outcomes(&mut told, 1).await, all_stored(0..1));
    assert_eq!(topics.get(TopicId::READINGS).partitions()[0].reader().end_offset(), 5);
    ingest.stop().await;
}

#[test]
fn the_partition_count_of_a_topic_is_fixed() {
    let fs = FaultyFs::new(1);
    let options = |partitions| IngestOptions { partitions, ..IngestOptions::default() };
    drop(super::Gateway::on(fs.clone(), options(2)));
    let refused = super::Gateway::started(fs.clone(), options(3), 0).err().expect("refused").to_string();
    assert_eq!(refused, "topic readings has 2 partitions, and the count is fixed: set topics.partitions = 2, got 3");
    drop(super::Gateway::on(fs, options(2)));
}

/// A disk whose syncs can be made to bring down the thread that asks for them.
struct Deadly(FaultyFs, Arc<AtomicBool>);

struct DeadlyFile(Box<dyn File>, Arc<AtomicBool>);

impl Fs for Deadly {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn File>> {
        Ok(Box::new(DeadlyFile(self.0.open(path, mode)?, Arc::clone(&self.1))))
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.0.list(dir)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.0.exists(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.sync_dir(dir)
    }
}

impl File for DeadlyFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.read_at(buffer, position)
    }
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.0.write_at(bytes, position)
    }
    fn sync_data(&self) -> io::Result<()> {
        assert!(!self.1.load(Ordering::Relaxed), "planted: the commit thread dies");
        self.0.sync_data()
    }
    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
    fn allocated(&self) -> io::Result<u64> {
        self.0.allocated()
    }
    fn write_out(&self, range: std::ops::Range<u64>) -> io::Result<()> {
        self.0.write_out(range)
    }
    fn try_lock(&self) -> io::Result<bool> {
        self.0.try_lock()
    }
    fn forget_cache(&self) -> io::Result<()> {
        self.0.forget_cache()
    }
}

/// Set in the process that is to die.
const DIE: &str = "WEIR_TEST_DIE";

/// A gateway without its commit thread would hold every connection and answer none for ever. Tried in a process of
/// its own, because this one is to live.
#[tokio::test]
async fn a_gateway_whose_commit_thread_died_ends_its_process() {
    if std::env::var_os(DIE).is_none() {
        let name = "ingest::tests::service::a_gateway_whose_commit_thread_died_ends_its_process";
        let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
        let child = child.args(["--exact", name]).env(DIE, "1").kill_on_drop(true).output();
        let ended = tokio::time::timeout(Duration::from_secs(20), child).await.expect("an end").unwrap();
        assert_eq!(ended.status.signal(), Some(6), "{ended:?}");
        return;
    }
    let dies = Arc::new(AtomicBool::new(false));
    let fs = Arc::new(Deadly(FaultyFs::new(1), Arc::clone(&dies)));
    let (ingest, _, _) = Ingest::start(fs, Path::new("/data"), options(), Arc::new(Noon)).expect("starts");
    let (connection, mut told) = connect(&ingest);
    dies.store(true, Ordering::Relaxed);
    connection.submit(vec![describe(0)]).await;
    outcomes(&mut told, 1).await;
}

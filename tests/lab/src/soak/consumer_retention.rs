//! Retention removes segments while consumers are still at them: some take an answer in small bites, so that the gateway
//! is sending from a segment when it is removed, others come back so late that what they want is gone.
//!
//! A consumer is served intact records without a hole, or told that its offset is out of range, and that only below the
//! start of the log. The senders are acknowledged all the while.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::task::JoinSet;

use super::firehose::Firehose;
use super::{Bench, Verdict};
use crate::census::Census;
use crate::deployment::Deployment;
use crate::kafka::client::Pace;
use crate::kafka::consumer::Book;
use crate::kafka::log::{Log, Reach};
use crate::reconcile::reconcile;

/// Readings of one device, so of one partition; it keeps 2 MiB of them, some 8,000.
const READINGS: u64 = 150_000;
const READINGS_SLICE: u64 = 50_000;
const TOPICS: &str = "segment = \"1 MiB\"\nretention_bytes = \"8 MiB\"\n";
const PARTITIONS: i32 = 4;
/// Readings that are sent before what was sent is read: half a segment.
const STEP: u64 = 2000;
/// A consumer takes an answer of a whole segment in bites of this size, one every few milliseconds.
const BITES: Pace = Pace { bytes: 16 << 10, pause: Duration::from_millis(4) };
const SEGMENT: Reach = Reach { bytes: 1 << 20, wait_ms: 50 };
/// How many do so, and how many take little and come back late.
const BITING: usize = 4;
const LATE: usize = 4;
const LITTLE: Reach = Reach { bytes: 32 << 10, wait_ms: 50 };
const LATER: Duration = Duration::from_millis(400);
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(50);

pub(super) async fn run(bench: &Bench<'_>) -> Result<Verdict> {
    let total = bench.count(READINGS, READINGS_SLICE);
    let mut plan = bench.plan();
    (plan.boards, plan.system, plan.lines) = (0, false, 1);
    plan.topics = TOPICS.to_owned();
    let mut deployment = Deployment::start(plan, bench.binaries).await?;
    let firehose = Firehose::start(&deployment.lines[0].board, total, 0)?;
    let mut readers = JoinSet::new();
    let books: Vec<Book> = (0..BITING + LATE).map(|_| Book::default()).collect();
    for (number, book) in books.iter().enumerate() {
        let (pace, reach, pause) = match number < BITING {
            true => (Some(BITES), SEGMENT, Duration::ZERO),
            false => (None, LITTLE, LATER),
        };
        readers.spawn(read(deployment.kafka, book.clone(), pace, reach, pause));
    }
    // The census reads while the log grows, so what is removed later was counted before.
    let (mut census, begun) = (Census::default(), Instant::now());
    while census.readings() < total {
        firehose.open((census.readings() + STEP).min(total));
        census.catch_up(&deployment.log, &deployment.truths).await?;
        if let Some(ended) = readers.try_join_next() {
            ended.context("a consumer panicked")?.context("a consumer")?;
        }
        if begun.elapsed() > PATIENCE {
            bail!("after {PATIENCE:?} {} of {total} readings are stored", census.readings());
        }
        tokio::time::sleep(LOOK).await;
    }
    // Retention looks now and then, perhaps for the first time when all is stored.
    let (removed, late) = loop {
        let starts = deployment.log.starts().await?;
        let removed: u64 = starts.iter().filter(|((topic, _), _)| topic == "readings").map(|(_, start)| start).sum();
        let late = books.iter().filter(|book| came_too_late(book)).count();
        if removed > 0 && late > 0 {
            break (removed, late);
        }
        if let Some(ended) = readers.try_join_next() {
            ended.context("a consumer panicked")?.context("a consumer")?;
        }
        if begun.elapsed() > PATIENCE {
            bail!("after {PATIENCE:?} {removed} are removed, {late} consumers came too late; expected some of each");
        }
        tokio::time::sleep(LOOK).await;
    };
    readers.shutdown().await;
    drop(firehose);
    let (_, census) = deployment.drain_from(census).await?;
    let report = reconcile(&deployment.ledger, &census);
    if !report.holds() || census.readings() != total {
        return Ok(Verdict::Broken(report.to_string()));
    }
    let faults: Vec<String> = books.iter().flat_map(Book::faults).collect();
    if !faults.is_empty() {
        return Ok(Verdict::Broken(faults.join("\n")));
    }
    let delivered: u64 = books.iter().map(|book| book.sums().delivered).sum();
    deployment.scratch.remove()?;
    Ok(Verdict::Holds(format!(
        "{total} readings stored and {removed} removed under {} slow consumers: {delivered} records delivered without a \
         hole, {late} consumers came too late and were told so",
        books.len()
    )))
}

/// Whether it asked for what was gone, and was told so.
fn came_too_late(book: &Book) -> bool {
    (0..PARTITIONS).any(|partition| book.page(partition).removed > 0)
}

/// Reads all partitions, for ever. An error of the gateway ends it, other than out of range below the start.
async fn read(kafka: SocketAddr, book: Book, pace: Option<Pace>, reach: Reach, pause: Duration) -> Result<()> {
    let mut log = Log::connect(kafka).await?;
    log.set_pace(pace);
    let mut at = vec![0; PARTITIONS as usize];
    loop {
        for (partition, at) in (0..).zip(&mut at) {
            let place = ("readings".to_owned(), partition);
            match log.fetch(&place, *at, reach).await? {
                Some(fetched) => {
                    let offsets: Vec<u64> = fetched.records.iter().map(|record| record.offset as u64).collect();
                    book.delivers(partition, *at, &offsets, fetched.next);
                    *at = fetched.next;
                }
                None => {
                    let start = log.bounds(&place).await?.start;
                    book.is_out_of_range(partition, *at, start);
                    *at = start;
                }
            }
        }
        tokio::time::sleep(pause).await;
    }
}

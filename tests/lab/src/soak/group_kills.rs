//! Consumers of a group, and others that only commit, while the gateway is killed with -9 again and again: an
//! acknowledged commit never goes backwards, every record is delivered, none is skipped.
//!
//! Commits are many, so that `weir.offsets` begins new segments and is compacted; the topic that is read is small, so
//! that retention removes what was read. A kill hits whatever is going on.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::{AbortHandle, JoinSet};

use super::{Bench, Verdict};
use crate::census::Census;
use crate::deployment::{Aim, Deployment, Target};
use crate::kafka::client::Client;
use crate::kafka::consumer::{Book, consume};
use crate::kafka::log::{Log, Record};
use crate::kafka::member::{Group, commit_alone, offsets_of};

/// Kills of the full count.
const KILLS: usize = 60;
const SLICE: usize = 8;
/// Consumers of the group; one of them is killed now and then, too.
const CONSUMERS: usize = 3;
/// Readings a second of each board, so that segments of the topic fill.
const RATE: u32 = 1500;
const TOPICS: &str = "segment = \"1 MiB\"\nretention_bytes = \"16 MiB\"\n";
const PARTITIONS: i32 = 4;
const TOPIC: &str = "readings";
/// Groups without members whose offsets are committed over and over, by so many clients.
const NOISE: usize = 8;
const NOISY_GROUPS: usize = 25;
/// Readings between two kills, at most.
const BETWEEN: u64 = 1500;
/// Commits of the group between two kills, at most.
const COMMITS: u64 = 30;
/// How long all that is in the log may take to be delivered.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(50);

pub(super) async fn run(bench: &Bench<'_>) -> Result<Verdict> {
    let mut random = StdRng::seed_from_u64(bench.seed);
    let mut plan = bench.plan();
    (plan.rate, plan.system) = (RATE, false);
    plan.topics = TOPICS.to_owned();
    let mut deployment = Deployment::start(plan, bench.binaries).await?;
    let mut census = Census::default();
    grow(&mut deployment, &mut census, 1).await?;
    let (book, kafka) = (Book::default(), deployment.kafka);
    let mut tasks = JoinSet::new();
    let start = |tasks: &mut JoinSet<()>| tasks.spawn(consume(kafka, group("soak"), book.clone()));
    let mut consumers: Vec<AbortHandle> = (0..CONSUMERS).map(|_| start(&mut tasks)).collect();
    for number in 0..NOISE {
        tasks.spawn(noise(kafka, number, book.clone()));
    }
    let kills = bench.count(KILLS, SLICE);
    let mut killed = 0;
    for _ in 0..kills {
        let aim = [Aim::Blind, Aim::BehindPromise][random.random_range(0..2)];
        tokio::time::sleep(Duration::from_millis(random.random_range(0..400))).await;
        deployment.kill(Target::Gateway, aim, 0).await?;
        if random.random_range(0..3) == 0 {
            // Killed, it leaves nobody a word; its partitions are dealt out when its session is over.
            let which = random.random_range(0..consumers.len());
            consumers[which].abort();
            consumers[which] = start(&mut tasks);
            killed += 1;
        }
        grow(&mut deployment, &mut census, random.random_range(1..BETWEEN)).await?;
        // Most kills hit a group at work, the others one that is being formed.
        if random.random_range(0..3) > 0 {
            let enough = book.sums().commits + random.random_range(1..COMMITS);
            super::until("consumers commit", || book.sums().commits >= enough || !book.faults().is_empty()).await?;
        }
    }
    let removed = delivered(kafka, &book).await?;
    // Nobody commits any more, so what the group says now is what it will always say.
    tasks.shutdown().await;
    let (floor, committed) = (book.acknowledged(), offsets_of(kafka, &group("soak")).await?);
    book.stands(&(0..PARTITIONS).collect::<Vec<_>>(), &committed, &floor);
    let compacted = compacted(kafka).await?;
    let (report, _) = deployment.drain_from(census).await?;
    let faults = book.faults();
    if !report.holds() || !faults.is_empty() {
        return Ok(Verdict::Broken(format!("{}\n{report}", faults.join("\n"))));
    }
    deployment.scratch.remove()?;
    let sums = book.sums();
    Ok(Verdict::Holds(format!(
        "{kills} kills of the gateway and {killed} of consumers: {} commits acknowledged and kept, {} records \
         delivered, {} of them again, {} joins, {removed} removed by retention, {compacted} offsets compacted away",
        sums.commits, sums.delivered, sums.redelivered, sums.joins
    )))
}

/// Waits until the log has grown by `more` readings, and counts them before retention takes them.
async fn grow(deployment: &mut Deployment, census: &mut Census, more: u64) -> Result<()> {
    deployment.tend()?;
    deployment.wait_for_gateway().await?;
    let (begun, enough) = (Instant::now(), census.readings() + more);
    loop {
        let read = census.catch_up(&deployment.log, &deployment.truths).await;
        if census.readings() >= enough {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            read?;
            bail!("after {PATIENCE:?} still not {enough} readings in the log");
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// How many records of `weir.offsets` are gone, although the log still begins with the first one.
async fn compacted(kafka: SocketAddr) -> Result<u64> {
    let (mut log, offsets) = (Log::connect(kafka).await?, ("weir.offsets".to_owned(), 0));
    let (bounds, mut left) = (log.bounds(&offsets).await?, 0);
    let mut count = |_: &Record| {
        left += 1;
        Ok(())
    };
    log.read_whole(&offsets, &mut count).await?;
    Ok((bounds.end - bounds.start).saturating_sub(left))
}

fn group(id: &str) -> Group {
    Group { id: id.to_owned(), topic: TOPIC.to_owned(), partitions: PARTITIONS, session: Duration::from_secs(2) }
}

/// Waits until every record that the log has was delivered; how many it has no more.
async fn delivered(kafka: SocketAddr, book: &Book) -> Result<u64> {
    let begun = Instant::now();
    let mut log = Log::connect(kafka).await?;
    let mut removed = 0;
    for partition in 0..PARTITIONS {
        let bounds = log.bounds(&(TOPIC.to_owned(), partition)).await?;
        removed += bounds.start;
        loop {
            let page = book.page(partition);
            // What retention took before a consumer came, it was told of.
            let missing: Vec<_> = page.delivered.gaps(page.removed..bounds.end).collect();
            if missing.is_empty() {
                break;
            }
            if begun.elapsed() > PATIENCE {
                let faults = book.faults();
                bail!("partition {partition} up to {}: never delivered: {missing:?}; {faults:?}", bounds.end);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
    Ok(removed)
}

/// Commits for groups without members, ever further, and asks after each lost connection where they stand.
async fn noise(kafka: SocketAddr, number: usize, book: Book) {
    let groups: Vec<Group> = (0..NOISY_GROUPS).map(|group_of| group(&format!("noise-{number}-{group_of}"))).collect();
    let mut acknowledged = vec![0; NOISY_GROUPS];
    let mut next = 1;
    loop {
        // As for consumers: it ends when the gateway is killed.
        let _ = commit_all(kafka, &groups, &mut next, &mut acknowledged, &book).await;
        tokio::time::sleep(LOOK).await;
    }
}

async fn commit_all(
    kafka: SocketAddr,
    groups: &[Group],
    next: &mut u64,
    acknowledged: &mut [u64],
    book: &Book,
) -> Result<()> {
    for (group, least) in groups.iter().zip(acknowledged.iter()) {
        let committed = offsets_of(kafka, group).await?;
        for partition in 0..PARTITIONS {
            let got = committed.get(&partition).copied().unwrap_or(0);
            if got < *least {
                book.note(format!("{} partition {partition}: got {got}, and {least} was acknowledged", group.id));
            }
        }
    }
    let mut client = Client::connect(kafka).await?;
    loop {
        for (group, acknowledged) in groups.iter().zip(acknowledged.iter_mut()) {
            let offsets: BTreeMap<i32, u64> = (0..PARTITIONS).map(|partition| (partition, *next)).collect();
            commit_alone(&mut client, group, &offsets).await?;
            *acknowledged = *next;
        }
        *next += 1;
    }
}

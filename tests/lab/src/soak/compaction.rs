//! A topic of states: under load, with `kill -9` of the gateway at any moment, compaction included. The last value of each key
//! stays and is the right one, offsets do not move, and what was compacted away is still known: all of it sent again,
//! nothing is stored twice.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::firehose::Firehose;
use super::{Bench, Verdict};
use crate::deployment::{Aim, DRAIN, Deployment, Target};
use crate::kafka::compare::{compare, identity};
use crate::kafka::log::{Log, Place};

/// Readings of one channel, so of one key, of some 250 bytes each in the log.
const READINGS: u64 = 80_000;
const READINGS_SLICE: u64 = 30_000;
const TOPIC: &str = "states";
const TOPICS: &str = "segment = \"1 MiB\"\n\n[[topics.route]]\ntopic = \"states\"\ndevice = \"*\"\n\n\
                      [[topics.define]]\ntopic = \"states\"\npartitions = 1\ncompact = true\n";
/// Kills while it fills, and as many while it is compacted.
const KILLS: usize = 20;
const SLICE: usize = 4;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(240);
const LOOK: Duration = Duration::from_millis(50);

pub(super) async fn run(bench: &Bench<'_>) -> Result<Verdict> {
    let mut random = StdRng::seed_from_u64(bench.seed);
    let (total, kills) = (bench.count(READINGS, READINGS_SLICE), bench.count(KILLS, SLICE));
    let mut plan = bench.plan();
    (plan.boards, plan.system, plan.lines) = (0, false, 1);
    plan.topics = TOPICS.to_owned();
    let mut deployment = Deployment::start(plan, bench.binaries).await?;
    let firehose = Firehose::start(&deployment.lines[0].board, total, total)?;
    for kill in 1..=kills {
        let enough = total * kill as u64 / (kills as u64 + 1);
        wait(&deployment, "the topic fills", |states| states.offsets.end >= enough).await?;
        kill_once(&mut deployment, &mut random).await?;
    }
    wait(&deployment, "all is stored", |states| states.offsets.end >= total).await?;
    for _ in 0..kills {
        kill_once(&mut deployment, &mut random).await?;
    }
    let states = wait(&deployment, "most is compacted away", |states| states.records < total / 2).await?;
    states.check(total)?;
    drop(firehose);

    // Another agent on another disk, and a device that has forgotten every acknowledgement.
    deployment.agent.end().await?;
    std::fs::remove_dir_all(deployment.scratch.join("agent"))?;
    let sent = deployment.ledger.pages().values().map(|facts| facts.published_again).sum::<u64>();
    deployment.agent.start()?;
    let firehose = Firehose::start(&deployment.lines[0].board, total, total)?;
    let ledger = deployment.ledger.clone();
    let again = || ledger.pages().values().map(|facts| facts.published_again).sum::<u64>() >= sent + total;
    super::until("all of it is sent again", || again() && firehose.accepted() >= total).await?;
    drop(firehose);
    deployment.agent.stop(DRAIN).await?;
    let last = look(deployment.kafka).await?;
    last.check(total)?;
    let comparison = compare(&deployment.log, deployment.kafka).await?;
    ensure!(comparison.differences.is_empty(), "{}", comparison.differences.join("\n"));
    deployment.gateway.stop(DRAIN).await?;
    deployment.scratch.remove()?;
    Ok(Verdict::Holds(format!(
        "{total} states of one key, {} kills of the gateway: {} records left, the last one right; all sent again, none \
         stored twice",
        2 * kills,
        states.records
    )))
}

/// Kills the gateway after a moment.
async fn kill_once(deployment: &mut Deployment, random: &mut StdRng) -> Result<()> {
    tokio::time::sleep(Duration::from_millis(random.random_range(0..500))).await;
    deployment.kill(Target::Gateway, Aim::Blind, 0).await?;
    deployment.wait_for_gateway().await
}

/// What the topic shows.
struct States {
    offsets: Range<u64>,
    records: u64,
    /// The offset and the sequence of the last record of each key.
    last: BTreeMap<Vec<u8>, (i64, i64)>,
    /// What must not be.
    fault: Option<String>,
}

impl States {
    fn check(&self, total: u64) -> Result<()> {
        if let Some(fault) = &self.fault {
            bail!("{fault}");
        }
        ensure!(self.offsets == (0..total), "offsets {:?}, expected 0..{total}: each reading once", self.offsets);
        ensure!(self.last.len() == 1, "{} keys, expected one", self.last.len());
        for (key, (offset, sequence)) in &self.last {
            let key = String::from_utf8_lossy(key);
            let expected = i64::try_from(total)? - 1;
            ensure!(
                (*offset, *sequence) == (expected, expected),
                "the last value of {key} is sequence {sequence} at offset {offset}, expected {expected} of both"
            );
        }
        Ok(())
    }
}

/// Looks until it is so.
async fn wait(deployment: &Deployment, what: &str, holds: impl Fn(&States) -> bool) -> Result<States> {
    let begun = Instant::now();
    loop {
        // The gateway may be busy starting.
        match look(deployment.kafka).await {
            Ok(states) if holds(&states) => return Ok(states),
            other if begun.elapsed() > PATIENCE => {
                let states = other?;
                bail!("after {PATIENCE:?} still not: {what}; {:?}, {} records", states.offsets, states.records);
            }
            _ => tokio::time::sleep(LOOK).await,
        }
    }
}

async fn look(kafka: SocketAddr) -> Result<States> {
    let (mut log, place): (_, Place) = (Log::connect(kafka).await?, (TOPIC.to_owned(), 0));
    let mut states = States { offsets: log.bounds(&place).await?, records: 0, last: BTreeMap::new(), fault: None };
    log.read_whole(&place, |record| {
        let key = record.key.as_deref().context("a state without a key")?.to_vec();
        let value = record.value.as_deref().context("a state without a value")?;
        let (_, _, sequence) = identity(value)?.context("a state without an identity")?;
        states.records += 1;
        if let Some((_, before)) = states.last.insert(key, (record.offset, sequence))
            && before >= sequence
        {
            states.fault = Some(format!("sequence {sequence} at offset {} behind {before}", record.offset));
        }
        Ok(())
    })
    .await?;
    Ok(states)
}

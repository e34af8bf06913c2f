//! Retention removes what was stored long ago, and still nothing gets in twice.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::firehose::Firehose;
use super::{Bench, Verdict};
use crate::census::Census;
use crate::deployment::Deployment;
use crate::reconcile::reconcile;

/// Readings of one device, of some 250 bytes each in the log; a partition keeps 2 MiB.
const READINGS: u64 = 60_000;
const READINGS_SLICE: u64 = 30_000;
/// The least that can be kept: two segments of each of the four partitions.
const TOPICS: &str = "segment = \"1 MiB\"\nretention_bytes = \"8 MiB\"\n";
/// Readings that are sent before what was sent is read: half a segment.
const STEP: u64 = 2000;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(50);

pub(super) async fn run(bench: &Bench<'_>) -> Result<Verdict> {
    let total = bench.count(READINGS, READINGS_SLICE);
    let mut plan = bench.plan();
    (plan.boards, plan.system, plan.lines) = (0, false, 1);
    plan.topics = TOPICS.to_owned();
    let mut deployment = Deployment::start(plan, bench.binaries).await?;
    let firehose = Firehose::start(&deployment.lines[0].board, total, 0)?;
    // Read while it grows: what is removed later was counted before.
    let mut census = Census::default();
    while census.readings() < total {
        let upto = (census.readings() + STEP).min(total);
        firehose.open(upto);
        follow(&deployment, &mut census, "they are stored", |census, _| census.readings() >= upto).await?;
    }
    let removed = follow(&deployment, &mut census, "retention removes something", |_, removed| removed > 0).await?;
    drop(firehose);

    // Another agent on another disk, and a device that has forgotten every acknowledgement. The gateway knows from
    // its checkpoints alone.
    deployment.agent.end().await?;
    deployment.gateway.end().await?;
    std::fs::remove_dir_all(deployment.scratch.join("agent"))?;
    let sent = deployment.ledger.pages().values().map(|facts| facts.published_again).sum::<u64>();
    deployment.gateway.start()?;
    deployment.wait_for_gateway().await?;
    deployment.agent.start()?;
    let firehose = Firehose::start(&deployment.lines[0].board, total, total)?;
    let ledger = deployment.ledger.clone();
    let again = || ledger.pages().values().map(|facts| facts.published_again).sum::<u64>() >= sent + total;
    super::until("all of it is sent again", || again() && firehose.accepted() >= total).await?;
    drop(firehose);
    let (_, census) = deployment.drain_from(census).await?;
    let report = reconcile(&deployment.ledger, &census);
    if !report.holds() || census.readings() != total {
        return Ok(Verdict::Broken(report.to_string()));
    }
    deployment.scratch.remove()?;
    Ok(Verdict::Holds(format!("{total} readings stored, {removed} removed, all sent again: none was stored twice")))
}

/// Reads on until `holds` of what was read and of how many readings were removed; how many that is.
async fn follow(
    deployment: &Deployment,
    census: &mut Census,
    what: &str,
    holds: impl Fn(&Census, u64) -> bool,
) -> Result<u64> {
    let begun = Instant::now();
    loop {
        census.catch_up(&deployment.log, &deployment.truths).await?;
        let starts = deployment.log.starts().await?;
        let removed = starts.iter().filter(|((topic, _), _)| topic == "readings").map(|(_, start)| start).sum();
        if holds(census, removed) {
            return Ok(removed);
        }
        if begun.elapsed() > PATIENCE {
            bail!("after {PATIENCE:?} still not: {what}");
        }
        tokio::time::sleep(LOOK).await;
    }
}

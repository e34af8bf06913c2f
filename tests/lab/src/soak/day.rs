//! A box comes back after a day without its gateway: 24 hours of 1,000 readings a second drain in little memory, and
//! what is sampled meanwhile does not wait behind them.
//!
//! The day has passed in the times of its readings alone. What counts as memory is all that is resident, the program
//! included; of a debug build, whose program alone is larger than that, what it allocated.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::firehose::Firehose;
use super::{Bench, Verdict, backlog, conclude, until};
use crate::deployment::{DRAIN, Deployment};
use crate::ledger::Facts;

/// Readings a second, of the day and of the board that goes on.
const RATE: u32 = 1000;
/// Readings of the day; of ten minutes.
const DAY: u64 = 24 * 3600 * RATE as u64;
const DAY_SLICE: u64 = 10 * 60 * RATE as u64;
/// The most memory of the agent.
const MEMORY_KIB: u64 = 24 * 1024;
/// How long a fresh reading may take to be acknowledged by the gateway.
const FRESH: Duration = Duration::from_secs(2);
/// How often the ledger is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How long nothing may be acknowledged.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn run(bench: &Bench<'_>) -> Result<Verdict> {
    let total = bench.count(DAY, DAY_SLICE);
    let mut plan = bench.plan();
    (plan.boards, plan.rate, plan.system, plan.lines) = (1, RATE, false, 1);
    plan.queue = "4 GiB".to_owned();
    let mut deployment = Deployment::prepare(plan, bench.binaries).await?;
    deployment.agent.start()?;
    let firehose = Firehose::measured(&deployment.lines[0].board, total, RATE)?;
    let mut taken = 0;
    while taken < total {
        until("the agent takes the backlog", || firehose.accepted() > taken).await?;
        taken = firehose.accepted();
    }
    // Nothing more is said on that line.
    drop(firehose);

    deployment.gateway.start()?;
    deployment.wait_for_gateway().await?;
    deployment.boards[0].start()?;
    let begun = Instant::now();
    let Drained { delay, allocated } = drained(&deployment, total).await?;
    let took = begun.elapsed();
    let resident = backlog::field(deployment.agent.pid(), "status", "VmHWM:")?;
    let memory = if cfg!(debug_assertions) { allocated } else { resident };
    let found = format!(
        "{total} readings of {:.1} h drained in {:.0} s ({:.0} times real time) in {resident} KiB RSS, of which it allocated \
         {allocated}; a fresh one took at most {} ms",
        total as f64 / f64::from(RATE) / 3600.0,
        took.as_secs_f64(),
        total as f64 / f64::from(RATE) / took.as_secs_f64(),
        delay.as_millis()
    );
    if memory > MEMORY_KIB || delay > FRESH {
        return Ok(Verdict::Broken(format!("{found}; expected at most {MEMORY_KIB} KiB and {} ms", FRESH.as_millis())));
    }
    if bench.quick { conclude(deployment, found).await } else { counted(deployment, found).await }
}

/// Compares what the gateway acknowledged with the number of records in the log: to read each of them twice would take
/// longer than all before it, and a slice does.
async fn counted(mut deployment: Deployment, found: String) -> Result<Verdict> {
    deployment.settle().await?;
    let logs = deployment.log.ends().await?;
    let records: u64 = logs.iter().filter(|((topic, _), _)| topic == "readings").map(|(_, end)| end).sum();
    let acknowledged: u64 = deployment.ledger.pages().values().map(|facts| facts.gateway_acked.len()).sum();
    deployment.gateway.stop(DRAIN).await?;
    let found = format!("{found}; {acknowledged} acknowledged, {records} records in the log");
    if records != acknowledged {
        return Ok(Verdict::Broken(found));
    }
    deployment.scratch.remove()?;
    Ok(Verdict::Holds(found))
}

/// What was seen while the backlog drained.
struct Drained {
    /// The longest that a reading of the board took from the cable to the gateway's acknowledgement.
    delay: Duration,
    /// The most KiB that the agent had allocated.
    allocated: u64,
}

/// Waits until the gateway has the backlog of `total` readings.
async fn drained(deployment: &Deployment, total: u64) -> Result<Drained> {
    let mut waiting: VecDeque<(u64, Instant)> = VecDeque::new();
    let (mut delay, mut allocated, mut acknowledged, mut heard) = (Duration::ZERO, 0, 0, Instant::now());
    loop {
        allocated = allocated.max(backlog::field(deployment.agent.pid(), "status", "RssAnon:")?);
        let pages = deployment.ledger.pages();
        let of = |name: &str| pages.iter().find(|((device, _), _)| device.as_str() == name).map(|(_, facts)| facts);
        let board = deployment.boards[0].member.program.name.as_str();
        if let Some(Facts { next, gateway_acked, .. }) = of(board) {
            if waiting.back().is_none_or(|(noted, _)| noted < next) && *next > 0 && !gateway_acked.contains(next - 1) {
                waiting.push_back((*next, Instant::now()));
            }
            while let Some((noted, since)) = waiting.front() {
                delay = delay.max(since.elapsed());
                if !gateway_acked.contains(noted - 1) {
                    break;
                }
                waiting.pop_front();
            }
        }
        let now = of("firehose").map_or(0, |facts| facts.gateway_acked.len());
        if now >= total {
            return Ok(Drained { delay, allocated });
        }
        if now > acknowledged {
            (acknowledged, heard) = (now, Instant::now());
        }
        anyhow::ensure!(heard.elapsed() < PATIENCE, "{now} of {total} are acknowledged, and no more come");
        tokio::time::sleep(LOOK).await;
    }
}

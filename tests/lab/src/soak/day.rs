//! A box comes back after a day without its gateway: 24 hours of 1,000 readings a second drain in little memory, and
//! what is sampled meanwhile does not wait behind them.
//!
//! The day has passed in the times of its readings alone.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::firehose::Firehose;
use super::{Bench, Verdict, backlog, conclude, until};
use crate::deployment::Deployment;
use crate::ledger::Facts;

/// Readings a second, of the day and of the board that goes on.
const RATE: u32 = 1000;
/// Readings of the day; of twenty minutes.
const DAY: u64 = 24 * 3600 * RATE as u64;
const DAY_SLICE: u64 = 20 * 60 * RATE as u64;
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
    let delay = drained(&deployment, total).await?;
    let took = begun.elapsed();
    let memory = backlog::field(deployment.agent.pid(), "status", "VmHWM:")?;
    let found = format!(
        "{total} readings of {:.1} h drained in {:.0} s ({:.0} times real time) in {memory} KiB RSS; a fresh one took at most {} ms",
        total as f64 / f64::from(RATE) / 3600.0,
        took.as_secs_f64(),
        total as f64 / f64::from(RATE) / took.as_secs_f64(),
        delay.as_millis()
    );
    if memory > MEMORY_KIB || delay > FRESH {
        return Ok(Verdict::Broken(format!("{found}; expected at most {MEMORY_KIB} KiB and {} ms", FRESH.as_millis())));
    }
    conclude(deployment, found).await
}

/// Waits until the gateway has the backlog of `total` readings; the longest that a reading of the board took meanwhile
/// from the cable to the gateway's acknowledgement.
async fn drained(deployment: &Deployment, total: u64) -> Result<Duration> {
    let mut waiting: VecDeque<(u64, Instant)> = VecDeque::new();
    let (mut worst, mut acknowledged, mut heard) = (Duration::ZERO, 0, Instant::now());
    loop {
        let pages = deployment.ledger.pages();
        let of = |name: &str| pages.iter().find(|((device, _), _)| device.as_str() == name).map(|(_, facts)| facts);
        let board = deployment.boards[0].member.program.name.as_str();
        if let Some(Facts { next, gateway_acked, .. }) = of(board) {
            if waiting.back().is_none_or(|(noted, _)| noted < next) && *next > 0 && !gateway_acked.contains(next - 1) {
                waiting.push_back((*next, Instant::now()));
            }
            while let Some((noted, since)) = waiting.front() {
                worst = worst.max(since.elapsed());
                if !gateway_acked.contains(noted - 1) {
                    break;
                }
                waiting.pop_front();
            }
        }
        let now = of("firehose").map_or(0, |facts| facts.gateway_acked.len());
        if now >= total {
            return Ok(worst);
        }
        if now > acknowledged {
            (acknowledged, heard) = (now, Instant::now());
        }
        anyhow::ensure!(heard.elapsed() < PATIENCE, "{now} of {total} are acknowledged, and no more come");
        tokio::time::sleep(LOOK).await;
    }
}

//! The agent's queue is full and its policy drops: what is counted lost is exactly what was dropped.
//!
//! The ledger knows it from outside: what the agent acknowledged to its devices and never sent as a reading.

use anyhow::{Result, bail};
use weir_protocol::batch::LossKind;

use super::{Bench, Verdict, progress, taken, without_gateway};
use crate::deployment::{Aim, Target};
use crate::faults::files;
use crate::reconcile::reconcile;

/// Bytes of the queue, the least there may be, and what its files may take on disk beside the segments.
const CAP: u64 = 1 << 20;
const BESIDES: u64 = 512 << 10;
/// Readings a second of each of two boards, and how many the agent must have taken: more than the queue can hold.
const RATE: u32 = 8000;
const TAKEN: u64 = 300_000;
const TAKEN_SLICE: u64 = 100_000;
/// Readings that show that all is well.
const ENOUGH: u64 = 1000;

/// What goes when there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    Oldest,
    Newest,
}

pub(super) async fn run(bench: &Bench<'_>, policy: Policy) -> Result<Verdict> {
    let mut plan = bench.plan();
    plan.system = false;
    plan.rate = RATE;
    plan.queue = "1 MiB".to_owned();
    plan.policy = if policy == Policy::Oldest { "drop-oldest" } else { "drop-newest" };
    let mut deployment = without_gateway(bench, plan, LossKind::Queue).await?;
    // Everything that was taken is in the queue or dropped.
    let readings = bench.count(TAKEN, TAKEN_SLICE);
    for part in 1..=3 {
        taken(&deployment, readings * part / 3).await?;
        deployment.kill(Target::Agent, Aim::BehindPromise, 0).await?;
    }
    let used = files::allocated(&deployment.scratch.join("agent"))?;
    deployment.gateway.start()?;
    progress(&mut deployment, ENOUGH).await?;
    let (_, census) = deployment.drain().await?;
    let report = reconcile(&deployment.ledger, &census);
    if !report.holds() {
        return Ok(Verdict::Broken(report.to_string()));
    }
    let mut dropped = 0;
    for (key, facts) in deployment.ledger.pages() {
        let stored = census.restarts.get(&key).cloned().unwrap_or_default();
        let counted = stored.kinds.get(LossKind::Queue.as_str()).cloned().unwrap_or_default();
        let withheld = facts.withheld();
        if counted != withheld {
            bail!("{} restart {}: counted as dropped {counted:?}, dropped {withheld:?}", key.0, key.1.0);
        }
        let first = counted.iter().next().map_or(0, |range| range.start);
        match policy {
            // The end of what was taken is always there.
            Policy::Oldest if !stored.readings.contains(facts.agent_accepted - 1) => bail!("the newest was dropped"),
            Policy::Newest if !counted.is_empty() && first == 0 => bail!("the oldest was dropped"),
            _ => dropped += counted.len(),
        }
    }
    if dropped == 0 || used > CAP + BESIDES {
        bail!("{dropped} dropped, {used} bytes used; expected some, and at most {} bytes", CAP + BESIDES);
    }
    deployment.scratch.remove()?;
    let kept = census.readings();
    Ok(Verdict::Holds(format!(
        "{dropped} dropped, each counted; {kept} kept, each once; {used} bytes used, agent killed 3 times"
    )))
}

//! Faults planted on purpose: a ledger that does not catch them proves nothing.

use anyhow::Result;

use super::{Bench, Verdict, progress};
use crate::binaries::{Binaries, Plant};
use crate::deployment::{Aim, Deployment, Target};

/// Kills within which the fault must have shown.
const KILLS: usize = 12;
/// KiB of a board's flash that runs over within a second.
const SMALL_RING: u32 = 16;
/// Readings between two kills.
const BETWEEN: u64 = 100;

/// Kills until the fault has had its chances, and asks the ledger. Each kill is a power cut in such builds.
pub(super) async fn run(bench: &Bench<'_>, plant: Plant) -> Result<Verdict> {
    let binaries = Binaries::prepare(bench.build, Some(plant))?;
    let mut plan = bench.plan();
    plan.plant = Some(plant);
    plan.flash_kib = if plant == Plant::LoseLossRecord { SMALL_RING } else { plan.flash_kib };
    let mut deployment = Deployment::start(plan, &binaries).await?;
    for number in 0..KILLS {
        progress(&mut deployment, BETWEEN).await?;
        let (target, aim) = worst(plant, number);
        deployment.kill(target, aim, 0).await?;
    }
    progress(&mut deployment, BETWEEN).await?;
    let (report, _) = deployment.drain().await?;
    let expected = plant.shows();
    if !report.has(expected) {
        return Ok(Verdict::Broken(format!("{} went unnoticed: no fault `{expected}`\n{report}", plant.as_str())));
    }
    deployment.scratch.remove()?;
    let caught = report.findings.iter().find(|finding| finding.what.contains(expected));
    Ok(Verdict::Holds(caught.map_or(String::new(), |found| format!("caught: {}: {}", found.what, found.evidence))))
}

/// The kill that shows the fault best.
fn worst(plant: Plant, number: usize) -> (Target, Aim) {
    match plant {
        // An acknowledgement that reached nobody breaks no promise. The agent first: one that was killed sends
        // all since its last checkpoint again, and would heal what the gateway lost.
        Plant::AckBeforeSync | Plant::SkipDirectorySync | Plant::SwallowEio if number < KILLS / 2 => {
            (Target::Agent, Aim::BehindPromise)
        }
        Plant::AckBeforeSync | Plant::SkipDirectorySync | Plant::SwallowEio => (Target::Gateway, Aim::BehindPromise),
        // What was forgotten shows when it is sent again, as a killed agent does.
        Plant::ForgetRange if number.is_multiple_of(2) => (Target::Gateway, Aim::BehindLostAnswer),
        // While the agent is down a small ring runs over, and what it lost is claimed.
        Plant::ForgetRange | Plant::LoseLossRecord => (Target::Agent, Aim::Blind),
    }
}

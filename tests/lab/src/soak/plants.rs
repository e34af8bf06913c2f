//! Faults planted on purpose: a ledger that does not catch them proves nothing.

use anyhow::Result;

use super::{Bench, Verdict, progress};
use crate::binaries::{Binaries, Plant};
use crate::deployment::{Aim, Deployment, Target};

/// Kills within which the fault must have shown.
const KILLS: usize = 12;
/// Readings between two kills.
const BETWEEN: u64 = 100;

/// Kills until the fault has had its chances, and asks the ledger. Each kill is a power cut in such builds.
pub(super) async fn run(bench: &Bench<'_>, plant: Plant) -> Result<Verdict> {
    let binaries = Binaries::prepare(bench.build, Some(plant))?;
    let mut plan = bench.plan();
    plan.plant = Some(plant);
    let mut deployment = Deployment::start(plan, &binaries).await?;
    for number in 0..KILLS {
        progress(&mut deployment, BETWEEN).await?;
        // The agent first: one that was killed sends all since its last checkpoint again, and would heal what
        // the gateway lost.
        let target = if number < KILLS / 2 { Target::Agent } else { Target::Gateway };
        // An acknowledgement that reached nobody breaks no promise; a repeat needs one that reached nobody.
        let aim = if plant == Plant::ForgetRange { Aim::BehindLostAnswer } else { Aim::BehindPromise };
        deployment.kill(target, aim, 0).await?;
    }
    progress(&mut deployment, BETWEEN).await?;
    let (report, _) = deployment.drain().await?;
    let expected = match plant {
        Plant::AckBeforeSync => "acknowledged and ",
        Plant::ForgetRange => "in the log twice",
    };
    if !report.has(expected) {
        return Ok(Verdict::Broken(format!("{} went unnoticed: no fault `{expected}`\n{report}", plant.as_str())));
    }
    deployment.scratch.remove()?;
    let caught = report.faults.iter().find(|fault| fault.what.contains(expected));
    Ok(Verdict::Holds(caught.map_or(String::new(), |fault| format!("caught: {}: {}", fault.what, fault.evidence))))
}

//! The power fails under agent, gateway or both: their disks come back with what was really on them.
//!
//! Each has a disk image of its own ([`power`]).

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Bench, Verdict, conclude, progress};
use crate::deployment::{Aim, Deployment, Scratch, Target};
use crate::faults::image::{self, Format, Image};
use crate::faults::power;

/// Cuts of the full count, and then a few on disks without a journal.
const CUTS: usize = 50;
const CUTS_PLAIN: usize = 10;
const SLICE: usize = 4;
/// Readings that must arrive between two cuts, at most.
const BETWEEN: u64 = 300;

pub(super) async fn journaled(bench: &Bench<'_>) -> Result<Verdict> {
    run(bench, "blackouts", Format::Journaled, bench.count(CUTS, SLICE)).await
}

pub(super) async fn plain(bench: &Bench<'_>) -> Result<Verdict> {
    run(bench, "blackouts-plain", Format::Plain, bench.count(CUTS_PLAIN, SLICE / 2)).await
}

async fn run(bench: &Bench<'_>, name: &str, format: Format, cuts: usize) -> Result<Verdict> {
    if let Some(why) = image::unavailable(&format!("soak {name}")) {
        return Ok(Verdict::Skipped(why));
    }
    let scratch = Scratch::new()?;
    let of_agent = Image::new(scratch.path(), "agent-disk", format)?;
    let of_gateway = Image::new(scratch.path(), "gateway-disk", format)?;
    let mut plan = bench.plan();
    plan.agent_data = Some(of_agent.path.join("data"));
    plan.gateway_data = Some(of_gateway.path.join("data"));
    let mut random = StdRng::seed_from_u64(bench.seed);
    let mut deployment = Deployment::start(plan, bench.binaries).await?;
    progress(&mut deployment, BETWEEN).await?;
    let mut counts = [0; 3];
    for number in 0..cuts {
        // A slice has each of them.
        let which = if number < 3 { number } else { random.random_range(0..3) };
        let off: &[(Target, &Image)] = match which {
            0 => &[(Target::Gateway, &of_gateway)],
            1 => &[(Target::Agent, &of_agent)],
            _ => &[(Target::Gateway, &of_gateway), (Target::Agent, &of_agent)],
        };
        counts[which] += 1;
        let aim = [Aim::Blind, Aim::BehindPromise, Aim::BehindLostAnswer][random.random_range(0..3)];
        cut(&mut deployment, off, aim).await?;
        progress(&mut deployment, random.random_range(1..BETWEEN)).await?;
    }
    let [gateway, agent, both] = counts;
    let done = format!("{cuts} power cuts (gateway {gateway}, agent {agent}, both at once {both}) on {format:?} ext4");
    let verdict = conclude(deployment, done).await?;
    drop((of_agent, of_gateway));
    scratch.remove()?;
    Ok(verdict)
}

/// Cuts the power of these, and turns it on again.
async fn cut(deployment: &mut Deployment, off: &[(Target, &Image)], aim: Aim) -> Result<()> {
    if let (Some((target, _)), true) = (off.first(), aim != Aim::Blind) {
        deployment.take_aim(*target, aim).await;
    }
    let off = power::off(off, deployment).await?;
    deployment.network.clear();
    off.on(deployment)
}

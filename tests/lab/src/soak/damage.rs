//! Bits flip in the middle of a file: what was on it is counted lost, exactly, and everything else is there.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use weir_protocol::RangeSet;
use weir_protocol::batch::LossKind;

use super::{Bench, Verdict, progress, taken, without_gateway};
use crate::census::Census;
use crate::deployment::Deployment;
use crate::faults::files;
use crate::reconcile::reconcile;

/// Readings a second of each board, and how many are there when the bit flips.
const RATE: u32 = 2000;
const READINGS: u64 = 10_000;
/// Readings that show that all is well.
const ENOUGH: u64 = 500;
/// How long the gateway may take to count damage.
const PATIENCE: Duration = Duration::from_secs(60);

/// In the agent's queue, while the gateway is away: `unaccounted`.
pub(super) async fn in_queue(bench: &Bench<'_>) -> Result<Verdict> {
    let mut plan = bench.plan();
    (plan.rate, plan.system) = (RATE, false);
    // Small segments, so that the damage is in a closed one.
    plan.queue = "4 MiB".to_owned();
    let mut deployment = without_gateway(bench, plan, LossKind::Unaccounted).await?;
    taken(&deployment, READINGS).await?;
    deployment.agent.end().await?;
    flip(&largest(&deployment.scratch.join("agent"), "")?, 0.5)?;
    deployment.agent.start()?;
    deployment.gateway.start()?;
    progress(&mut deployment, ENOUGH).await?;
    let (_, census) = deployment.drain().await?;
    let report = reconcile(&deployment.ledger, &census);
    if !report.holds() {
        return Ok(Verdict::Broken(report.to_string()));
    }
    let mut counted = 0;
    for (key, facts) in deployment.ledger.pages() {
        let stored = census.restarts.get(&key).cloned().unwrap_or_default();
        let lost = stored.kinds.get(LossKind::Unaccounted.as_str()).cloned().unwrap_or_default();
        let withheld = facts.withheld();
        if lost != withheld {
            bail!("{} restart {}: counted {lost:?}, but never sent was {withheld:?}", key.0, key.1.0);
        }
        counted += lost.len();
    }
    conclude(deployment, counted, format!("bits of the agent's queue flipped: {counted} counted as unaccounted"))
}

/// In a topic log: `damage`; and what an agent delivers again, out of a backup of its disk, heals it.
pub(super) async fn in_log(bench: &Bench<'_>) -> Result<Verdict> {
    let mut plan = bench.plan();
    (plan.rate, plan.system) = (RATE, false);
    let mut deployment = without_gateway(bench, plan, LossKind::Damage).await?;
    taken(&deployment, READINGS).await?;
    deployment.agent.end().await?;
    let (disk, backup) = (deployment.scratch.join("agent"), deployment.scratch.join("agent-backup"));
    files::copy(&disk, &backup)?;
    let saved = deployment.ledger.pages();

    deployment.gateway.start()?;
    deployment.wait_for_gateway().await?;
    deployment.agent.start()?;
    progress(&mut deployment, 3 * READINGS).await?;
    deployment.gateway.stop(PATIENCE).await?;
    // The first is in the backup, the second came later.
    let file = largest(&deployment.scratch.join("gateway"), "readings")?;
    flip(&file, 0.1)?;
    flip(&file, 0.8)?;
    deployment.gateway.start()?;
    deployment.wait_for_gateway().await?;
    let damaged = |census: &Census| census.restarts.values().any(|stored| stored.kinds.contains_key("damage"));
    deployment.wait_for("the damage is counted", PATIENCE, damaged).await?;
    // What it has taken is delivered first: the loss of a disk is not what this is about.
    deployment.agent.stop(PATIENCE).await?;
    fs::remove_dir_all(&disk).context("cannot remove the agent's disk")?;
    files::copy(&backup, &disk)?;
    deployment.agent.start()?;
    progress(&mut deployment, ENOUGH).await?;
    let (_, census) = deployment.drain().await?;
    let report = reconcile(&deployment.ledger, &census);
    if !report.holds() {
        return Ok(Verdict::Broken(report.to_string()));
    }
    let (mut counted, mut healed) = (0, 0);
    for (key, stored) in &census.restarts {
        let lost = stored.kinds.get("damage").cloned().unwrap_or_default();
        let gone: RangeSet = lost.iter().flat_map(|range| stored.readings.gaps(range).collect::<Vec<_>>()).collect();
        let saved = saved.get(key).map_or(0, |facts| facts.agent_accepted);
        if let Some(kept) = gone.overlaps(0..saved).next() {
            bail!("{} restart {}: {kept:?} is lost, and the backup had it", key.0, key.1.0);
        }
        counted += gone.len();
        healed += stored.healing_readings.len();
    }
    if healed == 0 {
        bail!("nothing of the damage was healed, although the backup had some of it");
    }
    conclude(
        deployment,
        counted,
        format!("bits of a log flipped in two places: {counted} counted as damage, {healed} more healed"),
    )
}

/// Damage that cost nothing was none.
fn conclude(deployment: Deployment, counted: u64, found: String) -> Result<Verdict> {
    if counted == 0 {
        bail!("nothing was lost, so nothing was damaged");
    }
    deployment.scratch.remove()?;
    Ok(Verdict::Holds(found))
}

/// The largest segment below `directory` in a path that holds `within`.
fn largest(directory: &Path, within: &str) -> Result<PathBuf> {
    let segments = files::segments(directory)?.into_iter();
    let largest =
        segments.filter(|(path, _)| path.to_string_lossy().contains(within)).max_by_key(|(_, length)| *length);
    largest.map(|(path, _)| path).with_context(|| format!("no segment below {}", directory.display()))
}

/// Damages a place of the file, 0 being its beginning and 1 its end.
fn flip(path: &Path, place: f64) -> Result<()> {
    let length = path.metadata().with_context(|| format!("cannot look at {}", path.display()))?.len();
    files::flip(path, (length as f64 * place) as usize).map(drop)
}

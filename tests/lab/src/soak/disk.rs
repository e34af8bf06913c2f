//! The gateway's disk is full for a while.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Bench, Verdict, conclude, progress};
use crate::deployment::{Deployment, Scratch};
use crate::faults::small_disk::{self, SmallDisk};

/// The size of the gateway's disk.
const DISK: &str = "48m";
/// How long it is full.
const FULL: Duration = Duration::from_secs(5);
const FULL_SLICE: Duration = Duration::from_secs(2);
/// Readings that show that all is well.
const ENOUGH: u64 = 500;

pub(super) async fn run(bench: &Bench<'_>) -> Result<Verdict> {
    if let Some(why) = small_disk::unavailable("disk-full") {
        return Ok(Verdict::Skipped(why));
    }
    let scratch = Scratch::new()?;
    let disk = match SmallDisk::mount(&scratch.join("disk"), DISK) {
        Ok(disk) => disk,
        Err(error) => return Ok(Verdict::Skipped(format!("{error:#}; run it where root may mount"))),
    };
    let mut plan = bench.plan();
    plan.gateway_data = Some(disk.path.join("data"));
    let mut deployment = Deployment::start(plan, bench.binaries).await?;
    progress(&mut deployment, ENOUGH).await?;
    let lasting = bench.count(FULL, FULL_SLICE);
    let ballast = disk.fill()?;
    tokio::time::sleep(lasting).await;
    remove(&ballast)?;
    progress(&mut deployment, ENOUGH).await?;
    let verdict = conclude(deployment, format!("disk full for {} s", lasting.as_secs())).await?;
    drop(disk);
    scratch.remove()?;
    Ok(verdict)
}

fn remove(ballast: &Path) -> Result<()> {
    fs::remove_file(ballast).context("cannot remove the ballast file")
}

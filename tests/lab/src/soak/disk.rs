//! The gateway's disk is full for a while.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Bench, Verdict, conclude, progress};
use crate::deployment::{Deployment, Scratch};

/// The size of the gateway's disk.
const DISK: &str = "48m";
/// How long it is full.
const FULL: Duration = Duration::from_secs(5);
const FULL_SLICE: Duration = Duration::from_secs(2);
/// Readings that show that all is well.
const ENOUGH: u64 = 500;

/// A small disk in memory, unmounted when it is dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(path: PathBuf) -> Result<Self> {
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={DISK}"), "weir-lab"]).arg(&path).stderr(Stdio::null());
        if !mount.status().context("cannot start mount")?.success() {
            bail!("cannot mount a tmpfs");
        }
        Ok(Self(path))
    }

    /// Fills what is left with a ballast file.
    fn fill(&self) -> Result<PathBuf> {
        let ballast = self.0.join("ballast");
        let mut file = File::create(&ballast).context("cannot make the ballast file")?;
        // Smaller and smaller pieces, until not a byte fits.
        for size in [1 << 20, 1 << 12, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        Ok(ballast)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

pub(super) async fn run(bench: &Bench<'_>) -> Result<Verdict> {
    if !rustix::process::geteuid().is_root() {
        return Ok(Verdict::Skipped("mounting a small disk needs root; type: sudo -E cargo lab soak disk-full".into()));
    }
    let scratch = Scratch::new()?;
    let disk = match Disk::mount(scratch.join("disk")) {
        Ok(disk) => disk,
        Err(error) => return Ok(Verdict::Skipped(format!("{error:#}; run it where root may mount"))),
    };
    let mut plan = bench.plan();
    plan.gateway_data = Some(disk.0.join("data"));
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

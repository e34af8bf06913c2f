//! The agent's memory while a board sends 1,000 readings a second through it.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Measure;
use crate::binaries::Binaries;
use crate::deployment::{Deployment, Plan};

/// Readings a second.
const RATE: u32 = 1000;
/// Readings after which memory is looked at.
const READINGS: u64 = 30_000;
/// How long they may take.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) async fn run(binaries: &Binaries, quick: bool) -> Result<Vec<Measure>> {
    let mut plan = Plan::new(0);
    plan.boards = 1;
    plan.rate = RATE;
    let mut deployment = Deployment::start(plan, binaries).await?;
    let readings = if quick { READINGS / 10 } else { READINGS };
    deployment.wait_for("the log holds the readings", PATIENCE, |census| census.readings() >= readings).await?;
    let pid = deployment.agent.pid();
    let (now, peak) = (rss(pid)?, mebibytes(&status(pid)?, "VmHWM:")?);
    let (report, _) = deployment.drain().await?;
    anyhow::ensure!(report.holds(), "the ledger does not hold:\n{report}");
    deployment.scratch.remove()?;
    Ok(vec![Measure {
        what: format!("agent memory (RSS) at {RATE} readings/s"),
        got: Some(format!("{now:.1} MiB, peak {peak:.1} MiB")),
        reference: "proc(5)".to_owned(),
        goal: "10 MiB".to_owned(),
    }])
}

/// Memory of a process, in MiB.
pub(super) fn rss(pid: i32) -> Result<f64> {
    mebibytes(&status(pid)?, "VmRSS:")
}

fn status(pid: i32) -> Result<String> {
    fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid} is gone"))
}

fn mebibytes(status: &str, field: &str) -> Result<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()).and_then(|n| n.parse::<f64>().ok());
    kibibytes.map(|k| k / 1024.0).with_context(|| format!("/proc has no {field}"))
}

//! fdatasync of the running gateway fails once.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;

use super::{Bench, Verdict, conclude, progress};
use crate::deployment::Deployment;

/// Failures, one after the other.
const FAILURES: usize = 5;
/// How long strace may take to attach and to see a sync.
const PATIENCE: Duration = Duration::from_secs(30);
/// Readings that show that all is well.
const ENOUGH: u64 = 500;
/// What strace writes behind a call that it made fail.
const INJECTED: &str = "(INJECTED)";

pub(super) async fn run(bench: &Bench<'_>) -> Result<Verdict> {
    let there = std::process::Command::new("strace").arg("-V").stdout(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        return Ok(Verdict::Skipped("strace is not installed; type: apt-get install strace".into()));
    }
    let mut deployment = Deployment::start(bench.plan(), bench.binaries).await?;
    progress(&mut deployment, ENOUGH).await?;
    let failures = bench.count(FAILURES, 1);
    for _ in 0..failures {
        fail_once(&deployment).await?;
        progress(&mut deployment, ENOUGH).await?;
    }
    conclude(deployment, format!("fdatasync failed with EIO {failures} times")).await
}

/// Makes the gateway's next fdatasync fail with EIO.
async fn fail_once(deployment: &Deployment) -> Result<()> {
    let trace = deployment.scratch.join("strace");
    let _ = fs::remove_file(&trace);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=1", "-o"]).arg(&trace);
    strace.arg("-p").arg(deployment.gateway.pid().to_string()).stderr(Stdio::null()).kill_on_drop(true);
    let mut strace = strace.spawn().context("cannot start strace")?;
    let begun = Instant::now();
    // `when=1` counts for each thread, and several threads sync: one failure is enough.
    while !fs::read_to_string(&trace).is_ok_and(|text| text.contains(INJECTED)) {
        if strace.try_wait()?.is_some() {
            bail!("strace cannot attach to the gateway; root or the capability SYS_PTRACE is needed");
        }
        if begun.elapsed() > PATIENCE {
            bail!("the gateway made no fdatasync within {PATIENCE:?}");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // SIGINT makes strace let go of the process.
    if let Some(pid) = strace.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
        kill_process(pid, Signal::INT).context("cannot stop strace")?;
    }
    tokio::time::timeout(PATIENCE, strace.wait()).await.context("strace does not end")??;
    Ok(())
}

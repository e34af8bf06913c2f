//! fdatasync of the running gateway fails once.

use anyhow::Result;

use super::{Bench, Verdict, conclude, progress};
use crate::deployment::Deployment;
use crate::faults::strace;

/// Failures, one after the other.
const FAILURES: usize = 5;
/// Readings that show that all is well.
const ENOUGH: u64 = 500;

pub(super) async fn run(bench: &Bench<'_>) -> Result<Verdict> {
    if let Some(why) = strace::unavailable() {
        return Ok(Verdict::Skipped(why));
    }
    let mut deployment = Deployment::start(bench.plan(), bench.binaries).await?;
    progress(&mut deployment, ENOUGH).await?;
    let failures = bench.count(FAILURES, 1);
    for _ in 0..failures {
        let pid = deployment.gateway.pid();
        let injection = strace::Injection::start(&deployment.scratch, pid, "fdatasync", "error=EIO:when=1").await?;
        injection.struck().await?;
        injection.stop().await?;
        progress(&mut deployment, ENOUGH).await?;
    }
    conclude(deployment, format!("fdatasync failed with EIO {failures} times")).await
}

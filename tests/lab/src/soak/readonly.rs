//! A disk that takes no more writes, under load.
//!
//! In the field it is the kernel that turns a filesystem read-only, on the first error of its disk (`mount -o
//! remount,ro` is refused while a file is open for writing), and only unmounting brings it back. So there are two
//! scenarios: every write fails with EROFS for a while and then works again, in the running gateway; and the kernel
//! turns the disk of the agent, then of the gateway read-only, until somebody unmounts it, checks it and starts the
//! process again.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Bench, Verdict, conclude, progress};
use crate::deployment::{Deployment, Scratch, Target};
use crate::faults::image::{self, Format, Image};
use crate::faults::strace;

/// How long nothing can be written.
const LASTING: Duration = Duration::from_secs(5);
const LASTING_SLICE: Duration = Duration::from_secs(2);
/// Readings that show that all is well.
const ENOUGH: u64 = 500;
/// Every call that changes a file.
const WRITES: &str = "pwrite64,fdatasync,fsync,ftruncate,rename,unlink";

/// Writes of the gateway fail, and then work again.
pub(super) async fn for_a_while(bench: &Bench<'_>) -> Result<Verdict> {
    if let Some(why) = strace::unavailable() {
        return Ok(Verdict::Skipped(why));
    }
    let mut deployment = Deployment::start(bench.plan(), bench.binaries).await?;
    progress(&mut deployment, ENOUGH).await?;
    let lasting = bench.count(LASTING, LASTING_SLICE);
    for target in [Target::Gateway, Target::Agent] {
        let pid = deployment.member(target, 0).pid();
        let injection = strace::Injection::start(&deployment.scratch, pid, WRITES, "error=EROFS").await?;
        injection.struck().await?;
        tokio::time::sleep(lasting).await;
        injection.stop().await?;
        progress(&mut deployment, ENOUGH).await?;
    }
    conclude(deployment, format!("nothing could be written for {} s, gateway and agent", lasting.as_secs())).await
}

/// The kernel turns the disks read-only.
pub(super) async fn remounted(bench: &Bench<'_>) -> Result<Verdict> {
    if let Some(why) = image::unavailable("soak read-only-disk") {
        return Ok(Verdict::Skipped(why));
    }
    let scratch = Scratch::new()?;
    let of_agent = Image::new(scratch.path(), "agent-disk", Format::Journaled)?;
    let of_gateway = Image::new(scratch.path(), "gateway-disk", Format::Journaled)?;
    let mut plan = bench.plan();
    plan.agent_data = Some(of_agent.path.join("data"));
    plan.gateway_data = Some(of_gateway.path.join("data"));
    let mut deployment = Deployment::start(plan, bench.binaries).await?;
    progress(&mut deployment, ENOUGH).await?;
    let lasting = bench.count(LASTING, LASTING_SLICE);
    for (target, image) in [(Target::Gateway, &of_gateway), (Target::Agent, &of_agent)] {
        image.turn_read_only()?;
        tokio::time::sleep(lasting).await;
        let revived = deployment.tend()?;
        if !revived.is_empty() {
            bail!("a disk that cannot be written to must not end its process: {revived:?}");
        }
        // What is stored can still be read.
        deployment.log.partitions().await.context("the log cannot be read while a disk is read-only")?;
        deployment.member(target, 0).end().await?;
        image.repair()?;
        deployment.member(target, 0).start()?;
        progress(&mut deployment, ENOUGH).await?;
    }
    let done = format!("the disks of gateway and agent read-only for {} s, checked, mounted again", lasting.as_secs());
    let verdict = conclude(deployment, done).await?;
    drop((of_agent, of_gateway));
    scratch.remove()?;
    Ok(verdict)
}

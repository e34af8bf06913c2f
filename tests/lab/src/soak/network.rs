//! Wires that fail without telling anybody.

use std::time::Duration;

use anyhow::Result;

use super::{Bench, Verdict, conclude, progress};
use crate::deployment::Deployment;

/// How long nothing passes between agent and gateway; longer than the agent waits for an acknowledgement.
const BLACK_HOLE: Duration = Duration::from_secs(20);
const BLACK_HOLE_SLICE: Duration = Duration::from_secs(5);
/// How long a cable is unplugged.
const UNPLUGGED: Duration = Duration::from_secs(10);
const UNPLUGGED_SLICE: Duration = Duration::from_secs(3);
/// Readings that show that all is well.
const ENOUGH: u64 = 500;

/// Packets between agent and gateway are dropped while the sockets stay open.
pub(super) async fn black_hole(bench: &Bench<'_>) -> Result<Verdict> {
    let mut deployment = Deployment::start(bench.plan(), bench.binaries).await?;
    progress(&mut deployment, ENOUGH).await?;
    let lasting = bench.count(BLACK_HOLE, BLACK_HOLE_SLICE);
    deployment.network.black_hole();
    tokio::time::sleep(lasting).await;
    deployment.network.clear();
    progress(&mut deployment, ENOUGH).await?;
    conclude(deployment, format!("black hole for {} s", lasting.as_secs())).await
}

/// The serial cables are pulled out of the agent.
pub(super) async fn unplug(bench: &Bench<'_>) -> Result<Verdict> {
    let mut deployment = Deployment::start(bench.plan(), bench.binaries).await?;
    progress(&mut deployment, ENOUGH).await?;
    let lasting = bench.count(UNPLUGGED, UNPLUGGED_SLICE);
    for board in &deployment.boards {
        board.cable.unplug()?;
    }
    tokio::time::sleep(lasting).await;
    for board in &deployment.boards {
        board.cable.replug()?;
    }
    progress(&mut deployment, ENOUGH).await?;
    conclude(deployment, format!("cables unplugged for {} s", lasting.as_secs())).await
}

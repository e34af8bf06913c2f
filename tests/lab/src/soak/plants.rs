//! Faults planted on purpose: a ledger that does not catch them proves nothing. What `cargo lab prove --plant` does, with the
//! finding that each has to lead to.

use std::time::Duration;

use anyhow::Result;

use super::{Bench, Verdict};
use crate::binaries::{Binaries, Plant};
use crate::prove::{self, Prove};

/// Within this time the fault must have shown.
const LASTING: Duration = Duration::from_secs(20);

pub(super) async fn run(bench: &Bench<'_>, plant: Plant) -> Result<Verdict> {
    let binaries = Binaries::prepare(bench.build, Some(plant))?;
    let options = Prove { plant: Some(plant), ..Prove::quietly(bench.seed, LASTING) };
    let proof = prove::once(&options, bench.seed, &binaries).await?;
    let expected = plant.shows();
    Ok(match proof.findings.iter().find(|finding| finding.what.contains(expected)) {
        Some(found) => Verdict::Holds(format!("caught: {}: {}", found.what, found.evidence)),
        None => Verdict::Broken(format!(
            "{} went unnoticed: no finding `{expected}`\ndo it again: {}",
            plant.as_str(),
            proof.replay
        )),
    })
}

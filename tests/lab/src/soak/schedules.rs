//! Schedules of `cargo lab prove`, one after the other, each with a seed of its own.

use std::time::Duration;

use anyhow::Result;

use super::{Bench, Verdict};
use crate::prove::{self, Prove};

/// Schedules of the full count, and how long each goes on.
const SCHEDULES: u64 = 500;
const SLICE: u64 = 2;
const LASTING: Duration = Duration::from_secs(10);

/// Every eighth has TLS, every fifth damages disks: both change what can be broken.
fn options(seed: u64) -> Prove {
    Prove { tls: seed % 8 == 7, damage: seed % 5 == 4, ..Prove::quietly(seed, LASTING) }
}

pub(super) async fn run(bench: &Bench<'_>) -> Result<Verdict> {
    let schedules = bench.count(SCHEDULES, SLICE);
    let (mut acknowledged, mut faults) = (0, 0);
    for seed in (0..schedules).map(|number| bench.seed.wrapping_add(number)) {
        let options = options(seed);
        let proof = match prove::once(&options, seed, bench.binaries).await {
            Ok(proof) => proof,
            Err(error) => return Ok(Verdict::Broken(format!("{error:#}\ndo it again: {}", options.replay(seed)))),
        };
        if !proof.holds {
            let found: Vec<_> = proof.findings.iter().map(|f| format!("{}: {}", f.what, f.evidence)).collect();
            return Ok(Verdict::Broken(format!("{}\ndo it again: {}", found.join("\n"), proof.replay)));
        }
        acknowledged += proof.totals.acknowledged;
        faults += proof.faults.len();
    }
    Ok(Verdict::Holds(format!("{schedules} schedules, {faults} faults, {acknowledged} acknowledged, each once")))
}

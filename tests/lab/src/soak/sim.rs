//! Whole Weirs in one process, on virtual time, network and disks (`tests/sim`): so many seeds, so many worlds.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::{Bench, Verdict};

/// Seeds, each a world.
const SEEDS: u32 = 10_000;
const SLICE: u32 = 200;

pub(super) fn run(bench: &Bench<'_>) -> Result<Verdict> {
    let seeds = bench.count(SEEDS, SLICE);
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(&bench.binaries.root).args(["run", "--quiet", "--release", "--package", "weir-sim", "--"]);
    cargo.args(["--seeds", &format!("0..{seeds}")]);
    let output = cargo.stdin(Stdio::null()).output().context("cannot start cargo")?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Ok(match output.status.success() {
        true => Verdict::Holds(text.trim().to_owned()),
        false => Verdict::Broken(text),
    })
}

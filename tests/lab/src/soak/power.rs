//! Power cuts on the faulty filesystem: the seeded tests of queue, topic log, compaction, offsets of groups and their
//! parts, at full count.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::{Bench, Verdict};

/// Seeds of each seeded test.
const SEEDS: u32 = 2000;
const SLICE: u32 = 20;
/// The packages with seeded tests.
const PACKAGES: [&str; 4] = ["weir-storage", "weir-firmware", "weir-agent", "weir-gateway"];

pub(super) fn run(bench: &Bench<'_>) -> Result<Verdict> {
    let seeds = bench.count(SEEDS, SLICE);
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(&bench.binaries.root).args(["test", "--quiet", "--release", "--tests"]);
    for package in PACKAGES {
        cargo.args(["--package", package]);
    }
    let output =
        cargo.env("WEIR_SEEDS", seeds.to_string()).stdin(Stdio::null()).output().context("cannot start cargo")?;
    if output.status.success() {
        return Ok(Verdict::Holds(format!("{seeds} seeds of every seeded test of {}", PACKAGES.join(", "))));
    }
    let text = [output.stdout, output.stderr].concat();
    Ok(Verdict::Broken(String::from_utf8_lossy(&text).into_owned()))
}

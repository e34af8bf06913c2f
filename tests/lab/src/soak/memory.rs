//! What a process takes.

use std::fs;

use anyhow::{Context, Result};

/// Resident memory of a process, in MiB (proc(5), VmRSS).
pub(super) fn resident(pid: i32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the gateway is gone")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kibibytes.map(|kibibytes| kibibytes / 1024.0).context("/proc has no VmRSS")
}

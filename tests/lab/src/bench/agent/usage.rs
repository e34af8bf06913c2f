//! What a process has used, from proc(5).

use std::fs;

use anyhow::{Context, Result};

use super::super::side::cpu_seconds;

/// Counters so far, and memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    /// Seconds of processor time.
    pub(super) cpu: f64,
    /// Bytes that it caused to be written to a disk.
    pub(super) disk: f64,
    /// The most memory that it ever had resident, in MiB.
    pub(super) peak: f64,
}

impl Usage {
    pub(super) fn of(pid: i32) -> Result<Self> {
        Ok(Self {
            cpu: cpu_seconds(pid),
            disk: field(pid, "io", "write_bytes:")?,
            peak: field(pid, "status", "VmHWM:")? / 1024.0,
        })
    }
}

fn field(pid: i32, file: &str, name: &str) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).with_context(|| format!("process {pid} is gone"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse().ok());
    number.with_context(|| format!("/proc has no {name} in {file}"))
}

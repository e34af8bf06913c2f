//! A queue of 256 MB: opening it reads the tail alone, in little time and memory, and then all of it drains.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::firehose::{Firehose, READING};
use super::{Bench, Verdict, conclude, until};
use crate::deployment::Deployment;
use crate::faults::files;

/// Bytes in the queue.
const BACKLOG: u64 = 256_000_000;
const BACKLOG_SLICE: u64 = 48_000_000;
/// What opening may take, of which the time is a report.
const OPENING: Duration = Duration::from_millis(500);
const MEMORY_KIB: u64 = 16 * 1024;
/// What may be read besides the last segment: settings, state, and what the kernel reads ahead.
const BESIDES: u64 = 2 << 20;
/// How long opening may take before nobody waits any more.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the agent says once it has opened its queue.
const OPENED: &str = "queue opened";

pub(super) async fn run(bench: &Bench<'_>) -> Result<Verdict> {
    let backlog = bench.count(BACKLOG, BACKLOG_SLICE);
    let total = backlog / READING;
    let mut plan = bench.plan();
    (plan.boards, plan.system, plan.lines) = (0, false, 1);
    plan.queue = "320 MiB".to_owned();
    let mut deployment = Deployment::prepare(plan, bench.binaries).await?;
    deployment.agent.start()?;
    let firehose = Firehose::start(&deployment.lines[0].board, total, total)?;
    until("the agent has taken the backlog", || firehose.accepted() >= total).await?;
    // Nothing more is said on the line, so that only the queue is measured.
    drop(firehose);
    deployment.agent.end().await?;

    let queue = deployment.scratch.join("agent");
    let segments = files::segments(&queue)?;
    let (held, tail) =
        (segments.iter().map(|(_, length)| length).sum::<u64>(), segments.last().map_or(0, |last| last.1));
    if held < backlog {
        bail!("the queue holds {held} bytes, expected {backlog} or more");
    }
    // What is opened comes from the disk, and the kernel counts it.
    segments.iter().try_for_each(|(segment, _)| files::forget_cache(segment))?;
    let log = deployment.agent.program.log.clone();
    let before = said(&log);
    let begun = Instant::now();
    deployment.agent.start()?;
    while said(&log) == before {
        if begun.elapsed() > PATIENCE {
            bail!("the agent does not open its queue");
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let took = begun.elapsed();
    let pid = deployment.agent.pid();
    let (read, opening) = (field(pid, "io", "read_bytes:")?, field(pid, "status", "VmHWM:")?);

    let begun = Instant::now();
    deployment.gateway.start()?;
    deployment.wait_for_gateway().await?;
    let ledger = deployment.ledger.clone();
    until("the backlog has drained", || ledger.pages().values().any(|facts| facts.gateway_acked.len() >= total))
        .await?;
    let drained = backlog as f64 / begun.elapsed().as_secs_f64() / 1e6;
    let draining = field(pid, "status", "VmHWM:")?;
    let found = format!(
        "{} MB queued; opened in {} ms (goal {} ms), {} kB from the disk of which the last segment has {}, {} KiB RSS; \
         drained at {drained:.0} MB/s, {draining} KiB RSS",
        held / 1_000_000,
        took.as_millis(),
        OPENING.as_millis(),
        read / 1000,
        tail / 1000,
        opening
    );
    if read > tail + BESIDES || opening > MEMORY_KIB {
        return Ok(Verdict::Broken(format!(
            "{found}; expected at most {} kB from the disk and {MEMORY_KIB} KiB RSS",
            (tail + BESIDES) / 1000
        )));
    }
    conclude(deployment, found).await
}

/// How often the agent has said that its queue is open.
fn said(log: &Path) -> usize {
    fs::read_to_string(log).unwrap_or_default().matches(OPENED).count()
}

/// A number of a file in /proc (proc(5)).
pub(super) fn field(pid: i32, file: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).context("the agent is gone")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse().ok());
    number.with_context(|| format!("/proc has no {name} in {file}"))
}

//! A queue of 256 MB: opening it reads the tail alone, in little time and memory, and then all of it drains.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::firehose::{Firehose, READING};
use super::{Bench, Verdict, conclude};
use crate::deployment::Deployment;

/// Bytes in the queue.
const BACKLOG: u64 = 256_000_000;
const BACKLOG_SLICE: u64 = 48_000_000;
/// What opening may take, of which the time is a report.
const OPENING: Duration = Duration::from_millis(500);
const MEMORY_KIB: u64 = 16 * 1024;
/// What may be read besides the last segment: settings, state, what else the system loads.
const BESIDES: u64 = 2 << 20;
/// How long filling and draining may take, each.
const PATIENCE: Duration = Duration::from_secs(400);
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
    let firehose = Firehose::start(&deployment.lines[0].board, total)?;
    until("the agent has taken the backlog", || firehose.accepted() >= total).await?;
    // Nothing more is said on the line, so that only the queue is measured.
    drop(firehose);
    deployment.agent.end().await?;

    let queue = deployment.scratch.join("agent");
    let (held, tail) = segments(&queue)?;
    if held < backlog {
        bail!("the queue holds {held} bytes, expected {backlog} or more");
    }
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
    let (read, opening) = (field(pid, "io", "rchar:")?, field(pid, "status", "VmHWM:")?);

    let begun = Instant::now();
    deployment.gateway.start()?;
    deployment.wait_for_gateway().await?;
    let ledger = deployment.ledger.clone();
    until("the backlog has drained", || ledger.pages().values().any(|facts| facts.gateway_acked.len() >= total))
        .await?;
    let drained = backlog as f64 / begun.elapsed().as_secs_f64() / 1e6;
    let draining = field(pid, "status", "VmHWM:")?;
    let found = format!(
        "{} MB queued; opened in {} ms (goal {} ms), {} kB read of which the last segment has {}, {} KiB RSS; \
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
            "{found}; expected at most {} kB read and {MEMORY_KIB} KiB RSS",
            (tail + BESIDES) / 1000
        )));
    }
    conclude(deployment, found).await
}

async fn until(what: &str, holds: impl Fn() -> bool) -> Result<()> {
    let begun = Instant::now();
    while !holds() {
        if begun.elapsed() > PATIENCE {
            bail!("after {PATIENCE:?} still not: {what}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Bytes of all segments below `directory`, and of the last.
fn segments(directory: &Path) -> Result<(u64, u64)> {
    let (mut all, mut last) = (0, (String::new(), 0));
    for entry in fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))? {
        let path = entry.context("an entry")?.path();
        if path.is_dir() {
            let (more, tail) = segments(&path)?;
            all += more;
            last = last.max((String::new(), tail));
        } else if path.extension().is_some_and(|extension| extension == "log") {
            let length = path.metadata().context("a segment")?.len();
            all += length;
            // Names are offsets of equal width.
            last = last.max((path.display().to_string(), length));
        }
    }
    Ok((all, last.1))
}

/// How often the agent has said that its queue is open.
fn said(log: &Path) -> usize {
    fs::read_to_string(log).unwrap_or_default().matches(OPENED).count()
}

/// A number of a file in /proc (proc(5)).
fn field(pid: i32, file: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).context("the agent is gone")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse().ok());
    number.with_context(|| format!("/proc has no {name} in {file}"))
}

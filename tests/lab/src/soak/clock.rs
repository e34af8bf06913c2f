//! The wall clock of agent and gateway jumps, back a year and forward ten.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use weir_protocol::time::{SystemClock, WallClock as _};

use super::{Bench, Verdict, conclude, progress};
use crate::deployment::{Aim, Deployment, Scratch, Target};
use crate::faults::files;
use crate::faults::wall_clock::{self, WallClock};

/// Seconds of a year.
const YEAR: i64 = 365 * 24 * 3600;
/// Where the clock stands, one after the other; in seconds from the right time.
const JUMPS: [(&str, i64); 4] =
    [("back a year", -YEAR), ("right again", 0), ("forward ten years", 10 * YEAR), ("right again", 0)];
/// Readings a second of each board, and between two jumps: enough to close segments.
const RATE: u32 = 2000;
const ENOUGH: u64 = 5000;
const ENOUGH_SLICE: u64 = 3000;
/// A clock that is believed would make every closed segment old. Over a restart the gateway believes in one day at
/// most, so what is kept for longer stays.
const TOPICS: &str = "segment = \"1 MiB\"\nretention_age = \"48h\"\n";
/// Within this time the gateway looks for what is too old.
const RETENTION_LOOKS: Duration = Duration::from_secs(6);

pub(super) async fn run(bench: &Bench<'_>) -> Result<Verdict> {
    if let Some(why) = wall_clock::unavailable() {
        return Ok(Verdict::Skipped(why));
    }
    let scratch = Scratch::new()?;
    let clock = WallClock::new(&scratch)?;
    let mut plan = bench.plan();
    plan.rate = RATE;
    plan.topics = TOPICS.to_owned();
    let mut deployment = Deployment::prepare(plan, bench.binaries).await?;
    for target in [Target::Gateway, Target::Agent] {
        deployment.member(target, 0).program.environment = clock.environment();
    }
    deployment.launch().await?;
    let enough = bench.count(ENOUGH, ENOUGH_SLICE);
    progress(&mut deployment, enough).await?;
    for (number, (_, offset)) in JUMPS.into_iter().enumerate() {
        clock.set(offset)?;
        progress(&mut deployment, enough).await?;
        if offset > 0 {
            // Nothing tells that retention looked and let everything be.
            tokio::time::sleep(RETENTION_LOOKS).await;
        }
        // A process that starts in the wrong year, and one that remembers another.
        let target = if number.is_multiple_of(2) { Target::Gateway } else { Target::Agent };
        deployment.kill(target, Aim::BehindPromise, 0).await?;
        progress(&mut deployment, enough).await?;
    }
    jumped(&deployment).await?;
    let segments = files::segments(&deployment.scratch.join("gateway/topics/readings"))?.len();
    let starts = deployment.log.starts().await?;
    if segments < 2 || starts.values().any(|start| *start > 0) {
        bail!(
            "{segments} segments, logs begin at {starts:?}; expected closed ones, and that retention took none of them"
        );
    }
    let jumps: Vec<_> = JUMPS.iter().map(|(name, _)| *name).collect();
    let verdict = conclude(deployment, format!("the clock of agent and gateway jumped: {}", jumps.join(", "))).await?;
    scratch.remove()?;
    Ok(verdict)
}

/// Expects records of the wrong years, or the shim was not there and nothing was shown.
async fn jumped(deployment: &Deployment) -> Result<()> {
    let now = SystemClock.now().as_millis();
    let years = |offset: i64| offset * 1000 * 9 / 10;
    let (mut past, mut future) = (0, 0);
    for (topic, partition) in deployment.log.partitions().await?.into_iter().filter(|(topic, _)| topic == "readings") {
        let mut next = 0;
        loop {
            let page = deployment.log.page(&topic, partition, next).await?;
            for record in &page.records {
                let stamp = record["timestamp_ms"].as_i64().context("a record without `timestamp_ms`")?;
                past += u64::from(stamp < now + years(-YEAR));
                future += u64::from(stamp > now + years(10 * YEAR));
            }
            if page.next <= next {
                break;
            }
            next = page.next;
        }
    }
    if past == 0 || future == 0 {
        bail!("{past} records of the year before and {future} of ten years ahead: the clock did not jump");
    }
    Ok(())
}

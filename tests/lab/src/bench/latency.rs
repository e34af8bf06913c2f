//! How long a PUBACK takes at half of the peak load, against the disk.
//!
//! In an open loop ([`super::open_loop`]). The same load goes to the minimal codec loop, and in the same turn the disk is asked alone: write and `fdatasync` of as many bytes as a commit had, one
//! behind the other.
//!
//! What the disk took is read in two ways. A stall counts once among thousands of syncs, but it delays every publish
//! that comes within it: so beside the p99 of the syncs stands the p99 of publishes that come at a steady rate, each of
//! which waits for the rest of the sync that runs and for the next one, which is the least that group commit can do.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::found::{Card, Contender, Contest, Found};
use super::load::{self, PUBLISHERS};
use super::open_loop::OpenLoop;
use super::payload::packets;
use super::peers::Minimal;
use super::publish::{card, gateway, stop};
use super::table::{median, short};
use crate::binaries::Binaries;
use crate::census::LogReader;
use crate::deployment::Scratch;

/// Bytes of a payload.
const PAYLOAD: usize = 200;
/// Publishes of one publisher while the peak is looked for: for about as long as a turn lasts, since a burst is taken faster than
/// what could go on.
const PEAK_EACH: usize = 120_000;
/// How long a turn lasts, and the disk is asked behind it.
const TURN: Duration = Duration::from_secs(5);
const TURNS: usize = 5;
/// Between two publishes that would have waited for the disk, in milliseconds.
const ARRIVALS: f64 = 0.01;

pub(super) async fn run(binaries: &Binaries, quick: bool) -> Result<Found> {
    let (turn, turns) = if quick { (TURN / 5, 2) } else { (TURN, TURNS) };
    let mut deployment = gateway(binaries).await?;
    let scratch = Scratch::new()?;
    let minimal = Minimal::start(&scratch, binaries).await?;
    let rate = peak(deployment.mqtt, quick)? / 2.0;
    let (mut ours, mut least, mut disk, mut waits, mut group) = (vec![], vec![], vec![], vec![], 0.0);
    for _ in 0..turns {
        let before = commits(&deployment.log).await?;
        ours.push(tokio::task::block_in_place(|| puback_p99(deployment.mqtt, rate, turn))?);
        let after = commits(&deployment.log).await?;
        group = (after.1 - before.1) / (after.0 - before.0).max(1.0);
        let syncs = tokio::task::block_in_place(|| fdatasyncs(&scratch.join("disk"), group as usize, turn))?;
        waits.push(p99(waits_for(&syncs)));
        disk.push(p99(syncs));
        least.push(tokio::task::block_in_place(|| puback_p99(minimal.address, rate, turn))?);
    }
    stop(&mut deployment).await?;
    deployment.scratch.remove()?;
    scratch.remove()?;
    let p99_of = |name: &str, means: &str, turns: Vec<f64>, goal: &str| Contender {
        card: Card { name: name.to_owned(), means: means.to_owned(), settings: String::new() },
        turns,
        goal: goal.to_owned(),
        ..Contender::default()
    };
    let commit = short(group / 1000.0);
    let contenders = vec![
        Contender { card: card(), turns: ours, ..Contender::default() },
        p99_of(
            "the disk's syncs",
            &format!("write + fdatasync of a commit's {commit} kB; nothing else runs"),
            disk,
            "2x",
        ),
        p99_of(
            "waits for these syncs",
            "publishes at a steady rate would have been in a sync that began after them",
            waits,
            "",
        ),
        p99_of("minimal codec loop", "on disk: fdatasync of its group", least, ""),
    ];
    let contest = Contest {
        name: "latency".to_owned(),
        title: format!("p99 from due to PUBACK at half of the peak load, {} publishes/s of {PAYLOAD} B", short(rate)),
        unit: "ms".to_owned(),
        compared: true,
        contenders,
    };
    Ok(Found { contests: vec![contest], ..Found::default() })
}

/// Publishes a second that a broker takes when nobody waits for a schedule.
pub(super) fn peak(broker: SocketAddr, quick: bool) -> Result<f64> {
    let each = if quick { PEAK_EACH / 4 } else { PEAK_EACH };
    let turn = |_| tokio::task::block_in_place(|| load::run(broker, each, PAYLOAD, load::new_restart()));
    let peaks = (0..3).map(turn).map(|outcome| Ok(outcome?.rate()));
    Ok(median(peaks.collect::<Result<_>>()?))
}

/// Groups committed and their bytes, as the gateway counts them.
async fn commits(log: &LogReader) -> Result<(f64, f64)> {
    let metrics = log.text("/metrics").await?;
    let value = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| value.trim().parse().ok()).with_context(|| format!("no {name} in /metrics"))
    };
    Ok((value("weir_gateway_commits_total ")?, value("weir_gateway_committed_bytes_total ")?))
}

/// In milliseconds: the answer time that 99 of 100 publishes stay below, at `rate` publishes a second in all.
pub(super) fn puback_p99(broker: SocketAddr, rate: f64, lasting: Duration) -> Result<f64> {
    let each = (rate * lasting.as_secs_f64() / PUBLISHERS as f64) as usize;
    let restart = load::new_restart();
    let prepared = (0..PUBLISHERS).map(|number| packets(number, each.max(1), PAYLOAD, restart));
    let answered = OpenLoop::connect(broker, prepared.collect::<Result<_>>()?, lasting)?.run()?;
    Ok(p99(answered.milliseconds().collect()))
}

/// What each of many appends of `size` bytes took, one behind the other, in milliseconds.
fn fdatasyncs(path: &Path, size: usize, lasting: Duration) -> Result<Vec<f64>> {
    let mut file = File::create(path).context("cannot make a file to compare with")?;
    let bytes = vec![0x5a; size.max(1)];
    let (begun, mut took) = (Instant::now(), Vec::new());
    while begun.elapsed() < lasting {
        let start = Instant::now();
        file.write_all(&bytes).and_then(|()| file.sync_data()).context("cannot write to the temporary directory")?;
        took.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(took)
}

/// How long publishes would have waited that came at a steady rate while these syncs ran, each for the end of the next
/// one to begin, in milliseconds.
fn waits_for(syncs: &[f64]) -> Vec<f64> {
    let mut waits = Vec::new();
    let (mut begun, mut arrival) = (0.0, 0.0);
    for pair in syncs.windows(2) {
        let (end, answered) = (begun + pair[0], begun + pair[0] + pair[1]);
        while arrival < end {
            waits.push(answered - arrival);
            arrival += ARRIVALS;
        }
        begun = end;
    }
    waits
}

/// What 99 of 100 stay below.
pub(super) fn p99(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() * 99 / 100).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::{p99, waits_for};

    #[test]
    fn a_stall_is_one_sync_of_many_and_all_that_comes_within_it() {
        // A second of syncs of a millisecond, and one that stalls for a tenth of a second.
        let mut syncs = vec![1.0; 1000];
        syncs[500] = 100.0;
        assert!(p99(syncs.clone()) < 1.5);
        let waits = p99(waits_for(&syncs));
        assert!((85.0..101.0).contains(&waits), "{waits}");
    }
}

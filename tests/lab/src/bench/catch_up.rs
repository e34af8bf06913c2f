//! Reading a topic from its beginning through librdkafka, by kcat: from the gateway, and in turns from a server that
//! gives the same answers out of memory ([`super::replay`]). One partition, so that the requests are the same each time.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use super::Measure;
use super::fill::fill;
use super::found::Found;
use super::publish::{gateway_with, stop};
use super::replay::Replay;
use super::side::cpu_seconds;
use super::table::{median, ratios, short, spread};
use crate::binaries::Binaries;
use crate::kafka::log::Log;

const BYTES: u64 = 1_000_000_000;
const BYTES_SLICE: u64 = 50_000_000;
const TURNS: usize = 3;

pub(super) async fn run(binaries: &Binaries, quick: bool) -> Result<Found> {
    let bytes = if quick { BYTES_SLICE } else { BYTES };
    let measure = |got, reference| Measure {
        what: format!("catch-up read of {} GB through librdkafka (kcat)", bytes as f64 / 1e9),
        got,
        reference,
        goal: "0.8".to_owned(),
    };
    if !is_installed() {
        return Ok(vec![measure(None, "kcat is not installed: apt-get install kcat".to_owned())].into());
    }
    let mut deployment = gateway_with(binaries, "partitions = 1\n").await?;
    let readings = fill(deployment.mqtt, "bench", bytes)?;
    let end = Log::connect(deployment.kafka).await?.bounds(&("readings".to_owned(), 0)).await?.end;
    ensure!(end >= readings, "{end} records in the log, {readings} were acknowledged");
    let replay = Replay::start(deployment.kafka)?;
    tokio::task::block_in_place(|| read(replay.address, end))?;
    let recorded = replay.asked();
    let (mut ours, mut theirs, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let before = cpu_seconds(deployment.gateway.pid());
        ours.push(tokio::task::block_in_place(|| read(deployment.kafka, end))?);
        cpu.push(cpu_seconds(deployment.gateway.pid()) - before);
        theirs.push(tokio::task::block_in_place(|| read(replay.address, end))?);
    }
    // A fetch that comes while the gateway is short of room is answered with less, and the next one is another.
    let asked = replay.asked() - recorded;
    ensure!(asked * 100 <= recorded, "the replay had to ask {asked} times, beside {recorded} recorded answers");
    stop(&mut deployment).await?;
    deployment.scratch.remove()?;
    let rate = |seconds: &[f64]| short(end as f64 / median(seconds.to_vec()));
    let got = format!(
        "{}; {} records/s, {} s CPU of the gateway in all",
        // The time of the replay over ours: the share of its rate.
        spread(&ratios(&theirs, &ours)),
        rate(&ours),
        spread(&cpu)
    );
    let reference = format!(
        "a stub that replays {recorded} recorded answers to the same client, and asked for {asked} more: {} records/s",
        rate(&theirs)
    );
    let turns = [("seconds", &*ours), ("seconds of the replay", &*theirs), ("CPU-seconds of the gateway", &*cpu)];
    Ok(Found::from(vec![measure(Some(got), reference)]).with_turns(turns))
}

/// Whether kcat can be started.
pub(super) fn is_installed() -> bool {
    Command::new("kcat").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

/// kcat, reading the partition to its end and printing an offset a record.
pub(super) fn reader(kafka: SocketAddr) -> Command {
    let mut kcat = Command::new("kcat");
    kcat.args([
        "-b",
        &kafka.to_string(),
        "-C",
        "-t",
        "readings",
        "-p",
        "0",
        "-o",
        "beginning",
        "-e",
        "-q",
        "-f",
        "%o\n",
    ]);
    kcat
}

/// Reads all `records`; the seconds that took.
fn read(kafka: SocketAddr, records: u64) -> Result<f64> {
    let begun = Instant::now();
    let output = reader(kafka).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn();
    let mut kcat = output.context("cannot start kcat")?;
    let mut printed = kcat.stdout.take().context("kcat has no stdout")?;
    let (mut bytes, mut lines, mut tail) = (vec![0; 1 << 16], 0, Vec::new());
    loop {
        let length = std::io::Read::read(&mut printed, &mut bytes)?;
        if length == 0 {
            break;
        }
        lines += bytes[..length].iter().filter(|byte| **byte == b'\n').count() as u64;
        tail = bytes[length.saturating_sub(32)..length].to_vec();
    }
    let seconds = begun.elapsed().as_secs_f64();
    let status = kcat.wait()?;
    let last = String::from_utf8_lossy(&tail);
    let last = last.trim_end().rsplit('\n').next().and_then(|offset| offset.parse::<u64>().ok());
    if !status.success() || lines != records || last != Some(records - 1) {
        bail!("kcat ended with {status} after {lines} records, the last at {last:?}; expected {records}");
    }
    Ok(seconds)
}

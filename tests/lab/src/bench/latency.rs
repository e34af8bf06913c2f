//! How long a PUBACK takes at half of the peak load, against the disk.
//!
//! Open loop: every millisecond each publisher owes the broker what the rate says, whether or not it answered, and a
//! publish that could only be sent late is late (no coordinated omission). The same load goes to the minimal codec
//! loop, and in the same turn the disk is asked alone: write and `fdatasync` of as many bytes as a commit had, one
//! behind the other.
//!
//! What the disk took is read in two ways. A stall counts once among thousands of syncs, but it delays every publish
//! that comes within it: so beside the p99 of the syncs stands the p99 of publishes that come at a steady rate, each of
//! which waits for the rest of the sync that runs and for the next one, which is the least that group commit can do.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use super::Measure;
use super::load::{self, PUBACK, PUBACK_LENGTH, PUBLISHERS};
use super::payload::{Packets, packets};
use super::peers::Minimal;
use super::publish::{gateway, stop};
use super::table::{median, ratios, short, spread};
use crate::binaries::Binaries;
use crate::census::LogReader;
use crate::deployment::Scratch;

/// Bytes of a payload.
const PAYLOAD: usize = 200;
/// Publishes of one publisher while the peak is looked for.
const PEAK_EACH: usize = 20_000;
/// How long a turn lasts, and the disk is asked behind it.
const TURN: Duration = Duration::from_secs(5);
const TURNS: usize = 5;
/// Between two publishes that would have waited for the disk, in milliseconds.
const ARRIVALS: f64 = 0.01;
/// The step of the schedule.
const STEP: Duration = Duration::from_millis(1);

pub(super) async fn run(binaries: &Binaries, quick: bool) -> Result<Vec<Measure>> {
    eprintln!("latency ...");
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
    Ok(vec![Measure {
        what: format!("PUBACK p99 at half of the peak load ({} publishes/s, open loop)", short(rate)),
        got: Some(format!(
            "{} times the syncs, {} times the waits for them; {} ms",
            spread(&ratios(&ours, &disk)),
            spread(&ratios(&ours, &waits)),
            spread(&ours)
        )),
        reference: format!(
            "p99 of write + fdatasync of a commit's {} kB, disk otherwise idle: {} ms; of publishes that would wait for \
             these syncs: {} ms; the minimal codec loop: {} ms",
            short(group / 1000.0),
            spread(&disk),
            spread(&waits),
            spread(&least)
        ),
        goal: "2x".to_owned(),
    }])
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
    let steps = (lasting.as_micros() / STEP.as_micros()).max(1) as usize;
    let each = (rate * lasting.as_secs_f64() / PUBLISHERS as f64) as usize;
    let restart = load::new_restart();
    let prepared: Vec<_> = (0..PUBLISHERS)
        .map(|number| {
            let packets = packets(number, each.max(1), PAYLOAD, restart)?;
            let socket = load::connect(broker, &packets)?;
            Ok((packets, socket))
        })
        .collect::<Result<_>>()?;
    let begin = Instant::now() + 50 * STEP;
    let threads: Vec<_> = prepared
        .into_iter()
        .map(|(packets, socket)| std::thread::spawn(move || publisher(&packets, &socket, begin, steps)))
        .collect();
    let mut took = Vec::new();
    for thread in threads {
        took.extend(thread.join().map_err(|_| anyhow!("a publisher panicked"))??);
    }
    Ok(p99(took))
}

/// Sends on schedule while a second thread takes the answers; the milliseconds from due to answered.
fn publisher(packets: &Packets, socket: &TcpStream, begin: Instant, steps: usize) -> Result<Vec<f64>> {
    let all = packets.ends.len();
    // The step in which each publish is due; what step `n` owes ends at `all * (n + 1) / steps`.
    let due = |index: usize| begin + STEP * (index * steps / all) as u32;
    let mut writer = socket.try_clone().context("cannot share a socket")?;
    std::thread::scope(|scope| {
        let answers = scope.spawn(move || answers(socket, all, due));
        let mut sent = 0;
        for step in 0..steps {
            let upto = all * (step + 1) / steps;
            std::thread::sleep((begin + STEP * step as u32).saturating_duration_since(Instant::now()));
            if upto > sent {
                let from = if sent == 0 { 0 } else { packets.ends[sent - 1] };
                writer.write_all(&packets.bytes[from..packets.ends[upto - 1]]).context("the broker hung up")?;
                sent = upto;
            }
        }
        answers.join().map_err(|_| anyhow!("a reader panicked"))?
    })
}

fn answers(mut socket: &TcpStream, all: usize, due: impl Fn(usize) -> Instant) -> Result<Vec<f64>> {
    let mut took = Vec::with_capacity(all);
    let (mut bytes, mut held) = (vec![0; 1 << 16], 0);
    while took.len() < all {
        let length = socket.read(&mut bytes[held..]).context("no answer")?;
        if length == 0 {
            bail!("the broker closed the connection after {} of {all} answers", took.len());
        }
        let now = Instant::now();
        let whole = (held + length) / PUBACK_LENGTH * PUBACK_LENGTH;
        for answer in bytes[..whole].chunks(PUBACK_LENGTH) {
            if answer[..2] != PUBACK {
                bail!("got {answer:02x?}, expected a PUBACK");
            }
            took.push(now.saturating_duration_since(due(took.len())).as_secs_f64() * 1000.0);
        }
        bytes.copy_within(whole..held + length, 0);
        held = held + length - whole;
    }
    Ok(took)
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

fn p99(mut numbers: Vec<f64>) -> f64 {
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

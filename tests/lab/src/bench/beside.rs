//! PUBACKs beside a consumer that catches up: the same open loop, in turns with and without kcat reading the topic from
//! its beginning, again and again.

use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use super::Measure;
use super::catch_up::{is_installed, reader};
use super::fill::fill;
use super::found::Found;
use super::latency::{peak, puback_p99};
use super::publish::{gateway_with, stop};
use super::table::{ratios, short, spread};
use crate::binaries::Binaries;

/// What the reader finds.
const BYTES: u64 = 500_000_000;
const BYTES_SLICE: u64 = 20_000_000;
const TURN: Duration = Duration::from_secs(5);
const TURNS: usize = 5;
/// How often it is looked whether the reader is to stop.
const LOOK: Duration = Duration::from_millis(20);

pub(super) async fn run(binaries: &Binaries, quick: bool) -> Result<Found> {
    let (bytes, turn, turns) = if quick { (BYTES_SLICE, TURN / 5, 2) } else { (BYTES, TURN, TURNS) };
    let measure = |what: String, got, reference| Measure { what, got, reference, goal: "1.5x".to_owned() };
    if !is_installed() {
        let what = "PUBACK p99 beside a catch-up reader".to_owned();
        return Ok(vec![measure(what, None, "kcat is not installed: apt-get install kcat".to_owned())].into());
    }
    let mut deployment = gateway_with(binaries, "partitions = 1\n").await?;
    fill(deployment.mqtt, "bench", bytes)?;
    let rate = peak(deployment.mqtt, quick)? / 2.0;
    let (mqtt, kafka) = (deployment.mqtt, deployment.kafka);
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..turns {
        alone.push(tokio::task::block_in_place(|| puback_p99(mqtt, rate, turn))?);
        let stopping = AtomicBool::new(false);
        let measured = tokio::task::block_in_place(|| {
            std::thread::scope(|scope| {
                let reading = scope.spawn(|| read_again_and_again(&stopping, || reader(kafka)));
                let measured = puback_p99(mqtt, rate, turn);
                stopping.store(true, Ordering::Relaxed);
                reading.join().map_err(|_| anyhow!("the reader panicked"))??;
                measured
            })
        });
        beside.push(measured?);
    }
    stop(&mut deployment).await?;
    deployment.scratch.remove()?;
    let measure = measure(
        format!("PUBACK p99 at half of the peak load ({} publishes/s) beside kcat catching up", short(rate)),
        Some(format!("{} times; {} ms", spread(&ratios(&beside, &alone)), spread(&beside))),
        format!("the same without a reader: {} ms", spread(&alone)),
    );
    Ok(Found::from(vec![measure]).with_turns([("p99 in ms beside a reader", &*beside), ("p99 in ms alone", &*alone)]))
}

fn read_again_and_again(stopping: &AtomicBool, kcat: impl Fn() -> std::process::Command) -> Result<()> {
    while !stopping.load(Ordering::Relaxed) {
        let mut running = Reader(
            kcat()
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .context("cannot start kcat")?,
        );
        while !stopping.load(Ordering::Relaxed) && running.0.try_wait()?.is_none() {
            std::thread::sleep(LOOK);
        }
    }
    Ok(())
}

/// A kcat that does not outlive its turn.
struct Reader(Child);

impl Drop for Reader {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

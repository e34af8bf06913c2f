//! A gateway whose front door is attacked in every way that somebody at the network can, one way after the other, while 100
//! healthy clients keep their rate, newcomers are let in, memory stays within its bounds, every refusal is counted, and
//! nothing acknowledged is lost or written by somebody else.

mod attacks;
mod authority;
mod healthy;
mod horde;
mod stage;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::io::AsyncWriteExt;

use super::{Bench, Verdict};
use crate::bench::side::cpu_seconds;
use crate::clients::allow_files;
use crate::clients::mqtt::{DISCONNECT, Hello, PUBACK, answer, codes, publish};
use crate::soak::memory::resident;
use attacks::{Attack, STORM};
use healthy::Healthy;
use horde::Horde;
use stage::Stage;

/// Healthy clients, and how often each publishes.
const CLIENTS: usize = 100;
const INTERVAL: Duration = Duration::from_millis(50);
const INTERVAL_SLICE: Duration = Duration::from_millis(500);
/// How long the rate is measured, alone and beside each attack. Who does not read is found out after half a minute.
const LASTING: Duration = Duration::from_secs(15);
const LASTING_SILENT: Duration = Duration::from_secs(45);
const LASTING_SLICE: Duration = Duration::from_millis(2500);
/// The attackers of a slice are so many times fewer.
const SLICE: usize = 10;
/// How long an attack goes on before the rate is measured.
const GATHER: Duration = Duration::from_secs(2);
const GATHER_SLICE: Duration = Duration::from_millis(200);
/// The share of their rate that healthy clients keep; over the moment that a slice looks at, a busy machine alone may take a
/// third of it.
const KEPT: f64 = 0.8;
const KEPT_SLICE: f64 = 0.5;
/// What the gateway's memory may grow by, in MiB, whatever comes: what the settings of the stage let read buffers (32), live
/// messages (1) and records on their way to Kafka (16) take, payloads in flight (64), eight bodies of HTTP, and 30 kB for
/// each of 5,000 sessions over TLS (150) with what their handshakes leave behind in the allocator.
const GROWTH: f64 = 320.0;
/// How long a newcomer may take from its first byte to its first PUBACK.
const NEWCOMER: Duration = Duration::from_secs(15);
const BETWEEN_NEWCOMERS: Duration = Duration::from_millis(500);
/// How soon a revoked certificate is sent away.
const REVOKED: Duration = Duration::from_secs(10);
/// Files that each process may have open besides the storm.
const BESIDES: usize = 1500;

pub(super) async fn run(bench: &Bench<'_>) -> Result<Verdict> {
    let scale = bench.count(1, SLICE);
    if let Err(error) = allow_files((STORM / scale + BESIDES) as u64) {
        return Ok(Verdict::Skipped(error.to_string()));
    }
    let stage = Stage::new(bench).await?;
    let (lasting, interval) = (bench.count(LASTING, LASTING_SLICE), bench.count(INTERVAL, INTERVAL_SLICE));
    // Enough for all attacks, with time to begin and to end each.
    let messages = (40 * lasting).as_millis() / interval.as_millis();
    let healthy = Healthy::start(&stage, CLIENTS, interval, messages as usize).await?;
    let alone = healthy.rate(lasting).await;
    let mut done = vec![format!("{CLIENTS} clients alone: {alone:.0} messages/s")];
    let before = resident(stage.deployment.gateway.pid())?;
    for attack in Attack::ALL {
        let lasting = if attack == Attack::Silent { bench.count(LASTING_SILENT, LASTING_SLICE) } else { lasting };
        let trial = Trial { stage: &stage, healthy: &healthy, attack, lasting, is_slice: bench.quick, alone, before };
        let came = trial.run(scale, bench.count(GATHER, GATHER_SLICE)).await;
        let (what, holds) = came.unwrap_or_else(|error| (format!("{}: {error:#}", attack.name()), false));
        done.push(what);
        if !holds {
            return Ok(Verdict::Broken(done.join("\n")));
        }
        newcomer(&stage, 0).await.with_context(|| format!("after {}", attack.name()))?;
    }
    done.push(format!("a revoked client was gone after {} ms", revoke_one(&stage).await?.as_millis()));
    let (messages, readings) = healthy.settle(&stage).await?;
    done.push(format!(
        "{messages} messages and {readings} readings acknowledged, all in the log and nothing in their names"
    ));
    stage.end().await?;
    Ok(Verdict::Holds(done.join("\n")))
}

/// One attack, and what it is measured against.
struct Trial<'a> {
    stage: &'a Stage,
    healthy: &'a Healthy,
    attack: Attack,
    lasting: Duration,
    is_slice: bool,
    /// Messages a second without an attack.
    alone: f64,
    /// The gateway's memory before the first attack, in MiB.
    before: f64,
}

impl Trial<'_> {
    /// What came of it, and whether it is as it must be.
    async fn run(&self, scale: usize, gather: Duration) -> Result<(String, bool)> {
        let (stage, pid) = (self.stage, self.stage.deployment.gateway.pid());
        let counters = self.attack.counters(self.is_slice);
        let counted = self.count(counters).await?;
        let horde = self.attack.begin(stage, scale).await?;
        tokio::time::sleep(gather).await;
        let (begun, cpu) = (Instant::now(), cpu_seconds(pid));
        let (mut slowest, mut grown) = (Duration::ZERO, 0.0_f64);
        let watch = async {
            for number in 1.. {
                slowest = slowest.max(newcomer(stage, number).await?);
                grown = grown.max(resident(pid)? - self.before);
                tokio::time::sleep(BETWEEN_NEWCOMERS).await;
            }
            anyhow::Ok(())
        };
        let rate = tokio::select! {
            rate = self.healthy.rate(self.lasting) => rate,
            ended = watch => { ended?; bail!("newcomers ended") }
        };
        let cpu = (cpu_seconds(pid) - cpu) / begun.elapsed().as_secs_f64();
        let attackers = horde_of(horde).await?;
        let mut refused = Vec::new();
        for ((name, before), now) in counters.iter().zip(counted).zip(self.count(counters).await?) {
            if now <= before {
                bail!("weir_gateway_{name} did not grow; {}", attackers);
            }
            refused.push(format!("{name} +{}", now - before));
        }
        let what = format!(
            "{}: kept {:.2} of the rate; newcomers in after {} ms at most; memory {grown:+.0} MiB; gateway {cpu:.2} CPUs; \
             {attackers} {}; {}",
            self.attack.name(),
            rate / self.alone,
            slowest.as_millis(),
            self.attack.unit(),
            refused.join(", "),
        );
        let kept = if self.is_slice { KEPT_SLICE } else { KEPT };
        Ok((what, rate >= kept * self.alone && grown <= GROWTH))
    }

    async fn count(&self, counters: &[&str]) -> Result<Vec<u64>> {
        let mut counts = Vec::new();
        for name in counters {
            counts.push(self.stage.counter(name).await?);
        }
        Ok(counts)
    }
}

async fn horde_of(horde: Horde) -> Result<String> {
    let begun = horde.begun();
    let done = horde.disperse().await?;
    let seconds = begun.elapsed().as_secs_f64();
    let cut = match done.cut {
        (0, _) => String::new(),
        (cut, cause) => format!("{cut} visits cut off ({cause}), "),
    };
    Ok(format!("attackers {:.2} CPUs, {cut}{:.0}/s", done.cpu / seconds, done.done as f64 / seconds))
}

/// Somebody new with a good certificate connects and publishes; how long that took.
async fn newcomer(stage: &Stage, number: usize) -> Result<Duration> {
    let name = format!("newcomer-{number}");
    let client = stage.certified(&name)?;
    let begun = Instant::now();
    let come = async {
        let mut link = stage.secure(number, &client).await?;
        Hello::of(&name).enter(&mut link).await?;
        link.write_all(&publish(&format!("plant/{name}"), 1, b"hello")).await?;
        link.flush().await?;
        codes(PUBACK, &mut link).await
    };
    match tokio::time::timeout(NEWCOMER, come).await.context("a newcomer got no answer")?? {
        codes if codes == [0] => Ok(begun.elapsed()),
        codes => bail!("the message of a newcomer was answered {codes:02x?}"),
    }
}

/// Revokes the certificate of somebody who is connected; how soon it is sent away.
async fn revoke_one(stage: &Stage) -> Result<Duration> {
    let name = "lost-1";
    let client = stage.issued(name).await?;
    let mut link = stage.secure(0, &client).await?;
    Hello::of(name).enter(&mut link).await?;
    let begun = Instant::now();
    stage.command(&["ca", "revoke", name], "").await?;
    let gone = tokio::time::timeout(REVOKED, answer(&mut link)).await.context("it is still connected")?;
    if let Ok((first, body)) = gone
        && first != DISCONNECT
    {
        bail!("got {first:02x} {body:02x?}, expected a DISCONNECT");
    }
    Ok(begun.elapsed())
}

//! Thousands of sockets that say nothing, or never finish what they say, on each port in turn, while agents keep their
//! rate and others are let in.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use super::memory::resident;
use super::{Bench, Verdict};
use crate::clients::allow_files;
use crate::clients::crowd::Crowd;
use crate::clients::steady::Steady;
use crate::deployment::{Deployment, Plan};

/// Sockets that are opened and say nothing, and others that say something once or begin to.
const HALF_OPEN: usize = 10_000;
const SILENT: usize = 1000;
const SLICE: usize = 10;
/// Files that each of the two processes may have open besides.
const BESIDES: usize = 1000;
/// Agents, and how often each publishes.
const AGENTS: usize = 100;
const INTERVAL: Duration = Duration::from_millis(50);
/// How long the rate is measured, without the crowd and with it.
const LASTING: Duration = Duration::from_secs(15);
const LASTING_SLICE: Duration = Duration::from_secs(4);
/// The share of their rate that agents keep.
const KEPT: f64 = 0.8;
/// What the gateway's memory may grow by, in MiB: the sockets that it lets wait, and the sessions of the silent.
const GROWTH: f64 = 64.0;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long an answer to somebody new may take beside the crowd.
const ANSWER: Duration = Duration::from_secs(5);

pub(super) async fn run(bench: &Bench<'_>) -> Result<Verdict> {
    let scale = bench.count(1, SLICE);
    if let Err(error) = allow_files((HALF_OPEN / scale + SILENT / scale + BESIDES) as u64) {
        return Ok(Verdict::Skipped(error.to_string()));
    }
    let mut plan = Plan::new(bench.seed);
    plan.boards = 0;
    let mut deployment = Deployment::prepare(plan, bench.binaries).await?;
    deployment.gateway.start()?;
    deployment.wait_for_gateway().await?;
    let lasting = bench.count(LASTING, LASTING_SLICE);
    // Before, during and after both crowds, with time to gather.
    let batches = (10 * lasting + PATIENCE).as_millis() / INTERVAL.as_millis();
    let restart = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64;
    let steady = Steady::start(deployment.mqtt, AGENTS, INTERVAL, batches as usize, restart).await?;
    let alone = steady.rate(lasting).await;
    let before = resident(deployment.gateway.pid())?;

    let mut done = Vec::new();
    let ports = [("MQTT", deployment.mqtt, silent_mqtt as Says), ("HTTP", deployment.http, silent_http as Says)];
    for (name, address, says) in ports {
        let half_open = Crowd::gather(HALF_OPEN / scale, address, |_| Vec::new()).await;
        let silent = Crowd::gather(SILENT / scale, address, says).await;
        half_open.opened(HALF_OPEN / scale, PATIENCE).await?;
        silent.opened(SILENT / scale, PATIENCE).await?;
        let mut slowest = Duration::ZERO;
        let answers = async {
            loop {
                match answer(&deployment).await {
                    Ok(took) => slowest = slowest.max(took),
                    Err(error) => break error,
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        let beside = tokio::select! {
            rate = steady.rate(lasting) => rate,
            error = answers => return Err(error),
        };
        let grown = resident(deployment.gateway.pid())? - before;
        let ((open, opened), (silent_open, _)) = (half_open.counts(), silent.counts());
        let what = format!(
            "{name}: {opened} half-open sockets came ({open} open) beside {silent_open} silent ones, {AGENTS} agents kept \
             {:.2} of {alone:.0} batches/s, others were answered in {} ms, memory +{grown:.1} MiB",
            beside / alone,
            slowest.as_millis(),
        );
        if beside < KEPT * alone || grown > GROWTH {
            return Ok(Verdict::Broken(what));
        }
        done.push(what);
        half_open.disperse().await;
        silent.disperse().await;
    }

    let readings = steady.readings;
    let acknowledged = steady.stop().await? * readings;
    let stored = stored(&deployment).await?;
    if stored != acknowledged {
        return Ok(Verdict::Broken(format!("{acknowledged} readings acknowledged, {stored} stored")));
    }
    if let Some(mut gateway) = deployment.gateway.take() {
        gateway.stop(PATIENCE).await?;
    }
    deployment.scratch.remove()?;
    done.push(format!("{stored} readings, each once"));
    Ok(Verdict::Holds(done.join("; ")))
}

/// What a silent socket says, by its number.
type Says = fn(usize) -> Vec<u8>;

/// CONNECT as a client of its own, then nothing, or up to half of a PUBLISH of 1,000 bytes.
fn silent_mqtt(number: usize) -> Vec<u8> {
    let id = format!("silent-{number}");
    let mut says = b"\x10\x00\x00\x04MQTT\x04\x02\x00\x00\x00\x00".to_vec();
    says[1] = (12 + id.len()) as u8;
    says[13] = id.len() as u8;
    says.extend_from_slice(id.as_bytes());
    if !number.is_multiple_of(2) {
        says.extend_from_slice(&[0x32, 0xe8, 0x07]);
        says.extend(std::iter::repeat_n(7, number % 500));
    }
    says
}

/// A request and then nothing, or half a request.
fn silent_http(number: usize) -> Vec<u8> {
    let whole = "GET /healthz HTTP/1.1\r\nHost: crowd\r\n\r\n";
    whole[..if number.is_multiple_of(2) { whole.len() } else { whole.len() / 2 }].into()
}

/// How long somebody new waits: for a page over HTTP, and for a CONNACK.
async fn answer(deployment: &Deployment) -> Result<Duration> {
    let begun = Instant::now();
    let both = async {
        deployment.log.text("/healthz").await?;
        greet(deployment.mqtt).await
    };
    tokio::time::timeout(ANSWER, both).await.context("no answer beside the crowd")??;
    Ok(begun.elapsed())
}

async fn greet(mqtt: SocketAddr) -> Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut socket = tokio::net::TcpStream::connect(mqtt).await?;
    socket.write_all(b"\x10\x11\x00\x04MQTT\x04\x02\x00\x00\x00\x05guest\xe0\x00").await?;
    let mut answer = [0; 4];
    socket.read_exact(&mut answer).await.context("no CONNACK")?;
    if answer != [0x20, 2, 0, 0] {
        bail!("got {answer:02x?}, expected a CONNACK");
    }
    Ok(())
}

/// Readings that the gateway has stored since it started.
async fn stored(deployment: &Deployment) -> Result<u64> {
    let metrics = deployment.log.text("/metrics").await?;
    let line = metrics.lines().find_map(|line| line.strip_prefix("weir_gateway_readings_stored_total "));
    line.and_then(|number| number.parse().ok()).context("no metric of stored readings")
}

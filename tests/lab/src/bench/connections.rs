//! What connections cost: the memory of an idle one, the processor time of a reading when it comes over few or over
//! many of them, and how many can be held.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use super::Measure;
use super::side::cpu_seconds;
use super::table::median;
use crate::binaries::Binaries;
use crate::clients::allow_files;
use crate::clients::crowd::Crowd;
use crate::clients::steady::Steady;
use crate::deployment::{Deployment, Plan};

/// Connections whose memory is divided among them.
const IDLE: usize = 10_000;
/// Connections that are held at a time.
const HELD: usize = 15_000;
/// Files that each process may have open besides.
const BESIDES: usize = 500;
/// How long connections may take to be there, and how long they are left alone before memory is looked at: after two
/// seconds without a byte a connection gives back what its traffic took.
const PATIENCE: Duration = Duration::from_secs(120);
const ALONE: Duration = Duration::from_secs(5);
/// Connections over which the same readings come, and batches a second of all of them together.
const SPREAD: [usize; 4] = [10, 100, 1000, 5000];
const RATE: u32 = 5000;
/// How long each spread is measured, in each turn.
const LASTING: Duration = Duration::from_secs(6);
const TURNS: u64 = 3;

pub(super) async fn run(binaries: &Binaries, quick: bool) -> Result<Vec<Measure>> {
    let scale = if quick { 10 } else { 1 };
    let mut measures = vec![idle(binaries, IDLE / scale).await?];
    measures.extend(spread(binaries, quick).await?);
    measures.push(held(binaries, HELD / scale).await?);
    Ok(measures)
}

/// A gateway by itself, with room for so many connections.
async fn gateway(binaries: &Binaries, connections: usize) -> Result<Deployment> {
    let mut plan = Plan::new(0);
    plan.boards = 0;
    let mut deployment = Deployment::prepare(plan, binaries).await?;
    let settings = deployment.scratch.join("gateway.toml");
    let text = fs::read_to_string(&settings)?;
    fs::write(&settings, text.replace("[mqtt]\n", &format!("[mqtt]\nconnections = {}\n", connections + BESIDES)))?;
    deployment.gateway.start()?;
    deployment.wait_for_gateway().await?;
    Ok(deployment)
}

async fn end(mut deployment: Deployment) -> Result<()> {
    if let Some(mut gateway) = deployment.gateway.take() {
        gateway.stop(PATIENCE).await?;
    }
    deployment.scratch.remove()
}

/// CONNECT without keep alive, as a client of its own.
pub(super) fn hello(number: usize) -> Vec<u8> {
    let id = format!("idle-{number}");
    let mut says = b"\x10\x00\x00\x04MQTT\x04\x02\x00\x00\x00\x00".to_vec();
    says[1] = (12 + id.len()) as u8;
    says[13] = id.len() as u8;
    says.extend_from_slice(id.as_bytes());
    says
}

async fn idle(binaries: &Binaries, count: usize) -> Result<Measure> {
    let what = format!("memory (RSS) of an idle connection, {count} of them");
    let goal = "8 kB".to_owned();
    let reference = "proc(5), before and after".to_owned();
    if let Err(error) = allow_files((count + BESIDES) as u64) {
        return Ok(Measure { what, got: None, reference: error.to_string(), goal });
    }
    let deployment = gateway(binaries, count).await?;
    let pid = deployment.gateway.pid();
    let before = rss(pid)?;
    let crowd = Crowd::gather(count, deployment.mqtt, hello).await;
    crowd.opened(count, PATIENCE).await?;
    tokio::time::sleep(ALONE).await;
    let (open, _) = crowd.counts();
    anyhow::ensure!(open == count, "{open} of {count} connections are open");
    let each = (rss(pid)? - before) / count as f64;
    crowd.disperse().await;
    end(deployment).await?;
    Ok(Measure { what, got: Some(format!("{:.1} kB", each / 1e3)), reference, goal })
}

async fn held(binaries: &Binaries, count: usize) -> Result<Measure> {
    let what = format!("memory (RSS) of the gateway with {count} connections open");
    let goal = "300 MiB".to_owned();
    if let Err(error) = allow_files((count + BESIDES) as u64) {
        return Ok(Measure { what, got: None, reference: error.to_string(), goal });
    }
    let deployment = gateway(binaries, count).await?;
    let crowd = Crowd::gather(count, deployment.mqtt, hello).await;
    crowd.opened(count, PATIENCE).await?;
    tokio::time::sleep(ALONE).await;
    let metrics = deployment.log.text("/metrics").await?;
    let line = metrics.lines().find_map(|line| line.strip_prefix("weir_gateway_mqtt_sessions "));
    let sessions: usize = line.and_then(|number| number.parse().ok()).context("no metric of sessions")?;
    let memory = rss(deployment.gateway.pid())? / f64::from(1 << 20);
    crowd.disperse().await;
    end(deployment).await?;
    anyhow::ensure!(sessions == count, "{sessions} of {count} connections have a session");
    let reference = format!("{count} sockets opened, as many sessions by its own count; proc(5)");
    Ok(Measure { what, got: Some(format!("{memory:.0} MiB")), reference, goal })
}

/// The same batches a second over few connections and over many, in turns.
async fn spread(binaries: &Binaries, quick: bool) -> Result<Vec<Measure>> {
    let what = |count| format!("CPU of a reading, {RATE} batches/s of 200 B over {count} connections");
    let goal = "within 20 %".to_owned();
    let most = SPREAD[SPREAD.len() - 1];
    if let Err(error) = allow_files((most + BESIDES) as u64) {
        return Ok(vec![Measure { what: what(most), got: None, reference: error.to_string(), goal }]);
    }
    let (lasting, turns) = if quick { (LASTING / 6, 1) } else { (LASTING, TURNS) };
    let deployment = gateway(binaries, most).await?;
    let pid = deployment.gateway.pid();
    let mut restart = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64;
    let mut micros = SPREAD.map(|_| Vec::new());
    for _ in 0..turns {
        for (count, micros) in SPREAD.into_iter().zip(&mut micros) {
            let interval = Duration::from_secs(1) * count as u32 / RATE;
            let batches = (3 * lasting + 2 * interval).as_micros() / interval.as_micros();
            restart += 1;
            let steady = Steady::start(deployment.mqtt, count, interval, batches as usize, restart).await?;
            // Everybody has sent once.
            tokio::time::sleep(interval).await;
            let (before, acknowledged) = (cpu_seconds(pid), steady.acknowledged());
            tokio::time::sleep(lasting).await;
            let readings = (steady.acknowledged() - acknowledged) * steady.readings;
            micros.push((cpu_seconds(pid) - before) * 1e6 / readings.max(1) as f64);
            steady.stop().await?;
        }
    }
    end(deployment).await?;
    let first = median(micros[0].clone());
    let rows = SPREAD.into_iter().zip(micros).map(|(count, micros)| {
        let each = median(micros);
        let reference = format!("{:.2} of that over {} connections", each / first, SPREAD[0]);
        Measure { what: what(count), got: Some(format!("{each:.2} us")), reference, goal: goal.clone() }
    });
    Ok(rows.collect())
}

/// Resident memory of a process, in bytes.
fn rss(pid: i32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the gateway is gone")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kibibytes.map(|kibibytes| kibibytes * 1024.0).context("/proc has no VmRSS")
}

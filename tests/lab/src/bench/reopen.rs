//! A large log that is opened again after `kill -9` under load: from exec until a client is connected and its first publish is
//! answered, which is after a commit.
//!
//! In turns with the files in the page cache, as after a crash of the process, and without, as after one of the machine. The
//! kernel is asked to forget them; what else it does at a start of the machine is not in it.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{Advice, fadvise};

use super::Measure;
use super::fill::{fill, room_for, size_of};
use super::found::Found;
use super::load;
use super::payload::packets_of;
use super::publish::{gateway, stop};
use super::table::spread;
use crate::binaries::Binaries;
use crate::deployment::Deployment;
use crate::kafka::log::Log;

/// Bytes of the log.
const BYTES: u64 = 10_000_000_000;
const BYTES_SLICE: u64 = 256_000_000;
const TURNS: usize = 5;
/// How long it is loaded before each kill.
const LOADED: Duration = Duration::from_millis(300);
/// Publishes of a publisher in a load that the kill ends.
const EACH: usize = 100_000;
const PAYLOAD: usize = 200;
/// How long it may take, and how often a client tries.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(1);

pub(super) async fn run(binaries: &Binaries, quick: bool) -> Result<Found> {
    let (bytes, turns) = if quick { (BYTES_SLICE, 2) } else { (BYTES, TURNS) };
    let goal = "2 s".to_owned();
    if let Err(error) = room_for(bytes, &std::env::temp_dir()) {
        let what = format!("a log of {} GB opened after kill -9", bytes as f64 / 1e9);
        return Ok(vec![Measure { what, got: None, reference: error.to_string(), goal }].into());
    }
    let mut deployment = gateway(binaries).await?;
    let data = deployment.scratch.join("gateway");
    let mut acknowledged = 0;
    while size_of(&data)? < bytes {
        // A reading takes more than what it is counted as: in pieces, so that little more is written than was asked for.
        acknowledged += fill(deployment.mqtt, &format!("fill-{acknowledged}"), bytes / 16)?;
    }
    let size = size_of(&data)?;
    let (mut warm, mut cold) = (Vec::new(), Vec::new());
    for _ in 0..turns {
        for (turns, forget) in [(&mut warm, false), (&mut cold, true)] {
            kill_under_load(&mut deployment).await?;
            if forget {
                forget_pages(&data)?;
            }
            let begun = Instant::now();
            deployment.gateway.start()?;
            tokio::task::block_in_place(|| first_answer(deployment.mqtt))?;
            turns.push(begun.elapsed().as_secs_f64());
            deployment.wait_for_gateway().await?;
        }
    }
    let held = records(deployment.kafka).await?;
    ensure!(held >= acknowledged, "{held} records in the log, {acknowledged} were acknowledged");
    stop(&mut deployment).await?;
    deployment.scratch.remove()?;
    let measure = Measure {
        what: format!(
            "a log of {:.1} GB ({held} readings) after kill -9 under load: exec to the first PUBACK",
            size as f64 / 1e9
        ),
        got: Some(format!("{} s with its files in the page cache, {} s without", spread(&warm), spread(&cold))),
        reference: "CONNECT is tried every millisecond; the PUBACK comes after a commit".to_owned(),
        goal,
    };
    let turns = [("seconds with files in the page cache", &*warm), ("seconds without", &*cold)];
    Ok(Found::from(vec![measure]).with_turns(turns))
}

async fn kill_under_load(deployment: &mut Deployment) -> Result<()> {
    let mqtt = deployment.mqtt;
    let loading = tokio::task::spawn_blocking(move || load::run(mqtt, EACH, PAYLOAD, load::new_restart()));
    tokio::time::sleep(LOADED).await;
    deployment.gateway.end().await?;
    // It broke off, or was just over.
    let _ = loading.await.context("the load panicked")?;
    Ok(())
}

/// Connects as soon as it can, and waits for the first PUBACK.
fn first_answer(mqtt: SocketAddr) -> Result<()> {
    let packets = packets_of("bench-reopen", "bench-reopen", 1, PAYLOAD, load::new_restart())?;
    let begun = Instant::now();
    while let Err(error) = load::connect(mqtt, &packets) {
        if begun.elapsed() > PATIENCE {
            bail!("the gateway answers nobody {PATIENCE:?} after its start: {error:#}");
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// Asks the kernel to forget what it has of the files; they are synced, or this process could not have them forgotten.
fn forget_pages(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            forget_pages(&path)?;
        } else if path.is_file() {
            let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
            file.sync_all().and_then(|()| Ok(fadvise(&file, 0, None, Advice::DontNeed)?))?;
        }
    }
    Ok(())
}

/// Records of readings in the log.
async fn records(kafka: SocketAddr) -> Result<u64> {
    let mut log = Log::connect(kafka).await?;
    let mut records = 0;
    for place in log.partitions().await?.into_iter().filter(|(topic, _)| topic == "readings") {
        let bounds = log.bounds(&place).await?;
        records += bounds.end - bounds.start;
    }
    Ok(records)
}

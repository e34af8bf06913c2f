//! What members of groups cost that only wait: the memory of the gateway before they join, and after.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;

use super::Measure;
use super::memory::rss;
use super::publish::{gateway, stop};
use crate::binaries::Binaries;
use crate::kafka::member::{Group, Member, Standing};

/// Members, and how many of them share a group.
const MEMBERS: usize = 1000;
const TOGETHER: usize = 100;
/// As clients have it when nothing is said: three beats in a session of ten seconds, here a longer one.
const SESSION: Duration = Duration::from_secs(45);
const BEAT: Duration = Duration::from_secs(3);
/// How long they may take to settle, and how long they go on before memory is looked at.
const PATIENCE: Duration = Duration::from_secs(180);
const ALONE: Duration = Duration::from_secs(10);

pub(super) async fn run(binaries: &Binaries, quick: bool) -> Result<Vec<Measure>> {
    let members = if quick { MEMBERS / 10 } else { MEMBERS };
    let mut deployment = gateway(binaries).await?;
    // Everything that is made once has been made before the first look.
    Member::join(deployment.kafka, &group(0)).await?.leave().await?;
    let before = rss(deployment.gateway.pid())?;
    let (settled, mut waiting) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
    for number in 0..members {
        waiting.spawn(wait(deployment.kafka, group(1 + number / TOGETHER), Arc::clone(&settled)));
    }
    let begun = Instant::now();
    while settled.load(Ordering::Relaxed) < members {
        if let Some(ended) = waiting.try_join_next() {
            ended.context("a member panicked")??;
        }
        ensure!(begun.elapsed() < PATIENCE, "{} of {members} have settled", settled.load(Ordering::Relaxed));
        tokio::time::sleep(BEAT).await;
    }
    tokio::time::sleep(ALONE).await;
    let grown = rss(deployment.gateway.pid())? - before;
    waiting.shutdown().await;
    stop(&mut deployment).await?;
    deployment.scratch.remove()?;
    Ok(vec![Measure {
        what: format!("memory (RSS) that {members} idle members of groups of {TOGETHER} add, one connection each"),
        got: Some(format!("{grown:.1} MiB, {:.1} KiB each", grown * 1024.0 / members as f64)),
        reference: "proc(5), before and after".to_owned(),
        goal: "64 MiB".to_owned(),
    }])
}

/// Joins, beats, and joins again whenever others come; counts itself while its group is at rest.
async fn wait(kafka: SocketAddr, group: Group, settled: Arc<AtomicUsize>) -> Result<()> {
    loop {
        let mut member = Member::join(kafka, &group).await?;
        settled.fetch_add(1, Ordering::Relaxed);
        while member.beat().await? == Standing::Good {
            tokio::time::sleep(BEAT).await;
        }
        settled.fetch_sub(1, Ordering::Relaxed);
    }
}

fn group(number: usize) -> Group {
    Group { id: format!("idle-{number}"), topic: "readings".to_owned(), partitions: 4, session: SESSION }
}

//! What members of groups cost that only wait: the memory of the gateway before they join, and after.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::JoinSet;

use super::Measure;
use super::memory::rss;
use super::publish::{gateway, stop};
use crate::binaries::Binaries;
use crate::kafka::member::{Group, Member};

/// Members, and how many of them share a group.
const MEMBERS: usize = 1000;
const TOGETHER: usize = 100;
/// They need not beat while memory is looked at.
const SESSION: Duration = Duration::from_secs(300);
/// How long they are left alone before that.
const ALONE: Duration = Duration::from_secs(5);

pub(super) async fn run(binaries: &Binaries, quick: bool) -> Result<Vec<Measure>> {
    eprintln!("members ...");
    let members = if quick { MEMBERS / 10 } else { MEMBERS };
    let mut deployment = gateway(binaries).await?;
    // Everything that is made once has been made before the first look.
    Member::join(deployment.kafka, &group(0)).await?.leave().await?;
    let before = rss(deployment.gateway.pid())?;
    let mut joining = JoinSet::new();
    for number in 0..members {
        let kafka = deployment.kafka;
        joining.spawn(async move { Member::join(kafka, &group(1 + number / TOGETHER)).await });
    }
    let mut joined = Vec::new();
    while let Some(member) = joining.join_next().await {
        joined.push(member.context("a member panicked")??);
    }
    tokio::time::sleep(ALONE).await;
    let grown = rss(deployment.gateway.pid())? - before;
    drop(joined);
    stop(&mut deployment).await?;
    deployment.scratch.remove()?;
    Ok(vec![Measure {
        what: format!("memory (RSS) that {members} idle members of groups of {TOGETHER} add, one connection each"),
        got: Some(format!("{grown:.1} MiB, {:.1} KiB each", grown * 1024.0 / members as f64)),
        reference: "proc(5), before and after".to_owned(),
        goal: "64 MiB".to_owned(),
    }])
}

fn group(number: usize) -> Group {
    Group { id: format!("idle-{number}"), topic: "readings".to_owned(), partitions: 4, session: SESSION }
}

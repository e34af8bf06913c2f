//! An edge box as they are: a queue of 2 MiB on a disk of 4 MiB, a link that is up for three seconds of each minute, and
//! more readings than either takes. In the middle the disk turns read-only, then it fails with EIO for ten seconds,
//! then an operator sends settings that lead nowhere.
//!
//! No process ends by itself, everything moves again once the trouble is over, the settings are rolled back without
//! anybody's help, and each sequence is stored or in exactly one loss record: of the devices if the queue blocks, of the
//! queue if it drops.
//!
//! A slice has the same story in shorter times: the link is up for two seconds of every five.

mod operator;

use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::time::sleep;
use weir_protocol::batch::LossKind;

use self::operator::Operator;
use super::firehose::{Firehose, READING};
use super::{Bench, Verdict, backlog, progress, until};
use crate::census::Census;
use crate::deployment::{Deployment, Member, READY, Scratch};
use crate::faults::small_disk::{self, SmallDisk};
use crate::faults::{files, strace};
use crate::ledger::Ledger;
use crate::reconcile::Report;
use crate::relay::tcp::TcpRelay;

/// Bytes of the queue and of the disk, and what the queue's files may take beside the segments.
const QUEUE: u64 = 2 << 20;
const DISK: &str = "4m";
const BESIDES: u64 = 512 << 10;
/// What comes in each time that the link is down, in bytes of the queue: more than it holds.
const BURST: u64 = QUEUE * 5 / 4;
/// How often it comes.
const BURSTS: u64 = 6;
const BURSTS_SLICE: u64 = 4;
/// Readings that show that all is well.
const ENOUGH: u64 = 500;
/// Every call that writes, and what fails with EIO.
const WRITES: &str = "pwrite64,fdatasync,fsync,ftruncate,rename,unlink";
const FAILING: &str = "pwrite64,fdatasync";
/// A program that goes on printing, as a source that cannot wait.
const PROGRAM: &str = "[[exec]]\ndevice = \"meter-1\"\nstream = true\n\
     command = [\"/bin/sh\", \"-c\", \"n=0; while :; do n=$((n + 1)); echo count $n; sleep 0.05; done\"]\n";

/// What a full queue does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    Block,
    DropOldest,
}

/// How long everything takes.
#[derive(Clone, Copy)]
struct Times {
    /// From one beginning of the link's silence to the next, and how long it is up at the end of that.
    period: Duration,
    up: Duration,
    /// How long writes fail.
    trouble: Duration,
}

const TIMES: Times =
    Times { period: Duration::from_secs(60), up: Duration::from_secs(3), trouble: Duration::from_secs(10) };
const TIMES_SLICE: Times =
    Times { period: Duration::from_secs(5), up: Duration::from_secs(2), trouble: Duration::from_secs(2) };

pub(super) async fn run(bench: &Bench<'_>, policy: Policy) -> Result<Verdict> {
    let missing = small_disk::unavailable("small-box").or_else(strace::unavailable);
    if let Some(why) = missing {
        return Ok(Verdict::Skipped(why));
    }
    let times = bench.count(TIMES, TIMES_SLICE);
    let scratch = Scratch::new()?;
    let disk = match SmallDisk::mount(&scratch.join("disk"), DISK) {
        Ok(disk) => disk,
        Err(error) => return Ok(Verdict::Skipped(format!("{error:#}; run it where root may mount"))),
    };
    let operator = Operator::new(&bench.binaries.agent, &scratch).await?;
    let mut plan = bench.plan();
    (plan.lines, plan.queue) = (1, "2 MiB".to_owned());
    plan.policy = if policy == Policy::Block { "block" } else { "drop-oldest" };
    plan.agent_data = Some(disk.path.join("data"));
    // A link that is away most of the time needs more than a period to show that settings work.
    plan.sources = format!("{PROGRAM}\n{}", operator.settings(times.period * 2));
    let mut deployment = Deployment::start(plan, bench.binaries).await?;
    if policy == Policy::DropOldest {
        deployment.ledger.allow(LossKind::Queue);
    }
    let texts = BURST / READING;
    let all = texts * bench.count(BURSTS, BURSTS_SLICE);
    let firehose = Firehose::start(&deployment.lines[0].board, all, 0)?;
    let Deployment { network, agent, log, mqtt, .. } = &mut deployment;
    let mut link = Link { network, firehose: &firehose, disk: &disk, used: 0 };
    let story = async {
        sleep(times.period).await;
        cannot_write(&scratch, agent, times, WRITES, "error=EROFS").await?;
        sleep(times.period).await;
        starts_on_a_read_only_disk(agent, &disk).await?;
        sleep(times.period).await;
        cannot_write(&scratch, agent, times, FAILING, "error=EIO").await?;
        sleep(times.period).await;
        operator.misleads_and_mends(*mqtt, log, times.period * 8).await
    };
    tokio::select! {
        never = link.comes_and_goes(times, texts) => match never? {},
        told = story => told?,
    }
    link.is_up();
    let used = link.used;
    firehose.open(all);
    until("all of the texts are taken", || firehose.accepted() >= all).await?;
    drop(firehose);
    lives(&mut deployment.agent)?;
    let memory = backlog::field(deployment.agent.pid(), "status", "VmHWM:")?;
    progress(&mut deployment, ENOUGH).await?;
    let (report, census) = deployment.drain().await?;
    ensure!(report.holds(), "{report}");
    let lost = accounted(policy, &deployment.ledger, &census)?;
    ensure!(used <= QUEUE + BESIDES, "{used} bytes on disk, expected at most {}", QUEUE + BESIDES);
    deployment.scratch.remove()?;
    drop(disk);
    scratch.remove()?;
    Ok(Verdict::Holds(said(times, &lost, used, memory, &report)))
}

/// What the box has of the world outside, and how much that makes it keep.
struct Link<'a> {
    network: &'a TcpRelay,
    firehose: &'a Firehose,
    disk: &'a SmallDisk,
    /// The most bytes on the disk when the link came back.
    used: u64,
}

impl Link<'_> {
    /// Mostly away; each time `texts` more come, until there are none.
    async fn comes_and_goes(&mut self, Times { period, up, .. }: Times, texts: u64) -> Result<Infallible> {
        let mut open = 0;
        loop {
            self.network.black_hole();
            open += texts;
            self.firehose.open(open);
            sleep(period.saturating_sub(up)).await;
            self.used = self.used.max(files::allocated(&self.disk.path)?);
            self.is_up();
            sleep(up).await;
        }
    }

    /// It is back. Whoever tried to connect meanwhile was not heard.
    fn is_up(&self) {
        self.network.cut();
        self.network.clear();
    }
}

/// Writes of the running agent fail for a while.
async fn cannot_write(scratch: &Scratch, agent: &mut Member, times: Times, calls: &str, how: &str) -> Result<()> {
    let injection = strace::Injection::start(scratch, agent.pid(), calls, how).await?;
    // A queue that is full and blocks writes nothing until the link is back.
    injection.struck_within(times.period * 2 + READY).await?;
    sleep(times.trouble).await;
    injection.stop().await?;
    lives(agent)
}

/// The box loses its power and comes back with a disk that is mounted read-only: the agent says so and ends, as often
/// as it is started, until somebody remounts it.
async fn starts_on_a_read_only_disk(agent: &mut Member, disk: &SmallDisk) -> Result<()> {
    agent.end().await?;
    disk.turn_read_only(true)?;
    agent.start()?;
    let process = agent.process().context("it was started")?;
    let status = process.wait(READY).await?;
    let said = agent.failure(status);
    ensure!(status.code() == Some(1) && said.contains("os error 30"), "expected an exit with 1 and its reason: {said}");
    agent.take();
    disk.turn_read_only(false)?;
    agent.start()?;
    Ok(())
}

/// Nobody killed it since it was started, and it did not end by itself.
fn lives(agent: &mut Member) -> Result<()> {
    match agent.died()? {
        Some((pid, cause)) => bail!("the agent (process {pid}) ended: {cause:?}"),
        None => Ok(()),
    }
}

/// Sequences lost, by kind, once nothing else is and each is counted by whom it must be.
fn accounted(policy: Policy, ledger: &Ledger, census: &Census) -> Result<Vec<(String, u64)>> {
    let queue = LossKind::Queue.as_str();
    let known = [LossKind::Ring.as_str(), queue];
    let mut lost = known.map(|kind| (kind.to_owned(), 0));
    for (key, stored) in &census.restarts {
        for (kind, sequences) in &stored.kinds {
            let sum = lost.iter_mut().find(|(known, _)| known == kind);
            let Some((_, sum)) = sum else { bail!("{} restart {}: {kind} {sequences:?}", key.0, key.1.0) };
            *sum += sequences.len();
        }
    }
    for (key, facts) in ledger.pages().iter().filter(|(_, facts)| facts.on_cable) {
        let counted = census.restarts.get(key).and_then(|stored| stored.kinds.get(queue)).cloned().unwrap_or_default();
        // What was never sent was dropped; what was sent on a connection that went may have been dropped too.
        let uncounted = facts.withheld().iter().find(|range| !counted.contains_all((*range).clone()));
        ensure!(uncounted.is_none(), "{} restart {}: {uncounted:?} was dropped and is not counted", key.0, key.1.0);
    }
    let dropped = lost[1].1;
    ensure!((dropped > 0) == (policy == Policy::DropOldest), "{policy:?}, and {dropped} were dropped by the queue");
    Ok(lost.into())
}

fn said(times: Times, lost: &[(String, u64)], used: u64, memory: u64, report: &Report) -> String {
    let [period, up, trouble] = [times.period, times.up, times.trouble].map(|time| time.as_secs());
    let lost: Vec<_> = lost.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    format!(
        "link up for {up} s of every {period}; EROFS and EIO for {trouble} s each; read-only at a start; settings 1 rolled \
         back, 2 confirmed; lost: {}; {used} bytes on disk, {memory} KiB RSS\n{report}",
        lost.join(", ")
    )
}

//! `cargo lab soak`: every fault at full count, each followed by the reconciliation.

mod backlog;
mod blackouts;
mod clock;
mod compaction;
mod consumer_retention;
mod crowd;
mod damage;
mod day;
mod disk;
mod drops;
mod firehose;
mod front_door;
mod group_kills;
mod kills;
mod memory;
mod mqtt_kills;
mod network;
mod plants;
mod power;
mod readonly;
mod retention;
mod schedules;
mod sim;
mod small_box;
mod sync;

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use weir_protocol::batch::LossKind;

use crate::binaries::Binaries;
use crate::deployment::{Deployment, Plan};

/// Readings a second of each board while things break.
const RATE: u32 = 200;
/// How long the log may take to show that the system is alive again.
const RECOVERY: Duration = Duration::from_secs(60);

/// How long filling or draining a large queue may take.
const PATIENCE: Duration = Duration::from_secs(400);

/// Breaks a running deployment in every way it must survive, and proves each time that nothing acknowledged is missing.
#[derive(Args, Clone, Debug)]
pub struct Soak {
    /// Only the scenarios whose name holds this text; a wrong name lists them
    pub filter: Option<String>,
    /// A slice of each scenario
    #[arg(long)]
    pub quick: bool,
    /// Seed of the sensors and of what is killed when [default: random]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Use the programs that are built already
    #[arg(long)]
    pub no_build: bool,
}

/// What came of a scenario that ran to its end. An error is a failure too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The promise held; says what was done.
    Holds(String),
    /// It did not; says what was found.
    Broken(String),
    /// The machine lacks something; says what to type.
    Skipped(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Holds(what) => write!(f, "holds    {what}"),
            Self::Broken(what) => write!(f, "BROKEN   {what}"),
            Self::Skipped(what) => write!(f, "SKIPPED  {what}"),
        }
    }
}

/// What every scenario gets.
pub struct Bench<'a> {
    /// The programs.
    pub binaries: &'a Binaries,
    /// A slice instead of the full count.
    pub quick: bool,
    /// Seeds sensors and kills.
    pub seed: u64,
    /// Whether planted builds are made on demand.
    pub build: bool,
}

impl Bench<'_> {
    /// `full`, or `slice` when it must be quick.
    fn count<T>(&self, full: T, slice: T) -> T {
        if self.quick { slice } else { full }
    }

    /// Two boards under load, and the agent's own source.
    fn plan(&self) -> Plan {
        let mut plan = Plan::new(self.seed);
        plan.rate = RATE;
        plan
    }
}

const NAMES: [&str; 33] = [
    "kills",
    "mqtt-kills",
    "group-kills",
    "compaction",
    "consumer-retention",
    "unplug",
    "disk-full",
    "sync-error",
    "read-only",
    "read-only-disk",
    "clock",
    "crowd",
    "front-door",
    "black-hole",
    "drop-oldest",
    "drop-newest",
    "damage-queue",
    "damage-log",
    "retention",
    "backlog",
    "day-backlog",
    "small-box-block",
    "small-box-drop",
    "blackouts",
    "blackouts-plain",
    "power-cuts",
    "sim",
    "schedules",
    "plant-ack-before-sync",
    "plant-forget-range",
    "plant-skip-directory-sync",
    "plant-swallow-eio",
    "plant-lose-loss-record",
];

/// Runs the scenarios one after the other and prints a line for each. `true`: nothing was broken or skipped.
pub async fn run(options: &Soak) -> Result<bool> {
    let names: Vec<_> = NAMES.into_iter().filter(|n| options.filter.as_deref().is_none_or(|f| n.contains(f))).collect();
    if names.is_empty() {
        bail!("no scenario of that name; there are: {}", NAMES.join(", "));
    }
    let seed = options.seed.unwrap_or_else(|| rand::random::<u32>().into());
    println!("seed {seed}");
    let binaries = Binaries::prepare(!options.no_build, None)?;
    let bench = Bench { binaries: &binaries, quick: options.quick, seed, build: !options.no_build };
    let mut good = true;
    for name in names {
        let begun = Instant::now();
        let verdict = match scenario(name, &bench).await {
            Ok(verdict) => verdict,
            Err(error) => Verdict::Broken(format!("{error:#}")),
        };
        println!("{name:<22} {:>5.0} s  {verdict}", begun.elapsed().as_secs_f64());
        good &= matches!(verdict, Verdict::Holds(_));
    }
    Ok(good)
}

/// Runs one scenario.
pub async fn scenario(name: &str, bench: &Bench<'_>) -> Result<Verdict> {
    use crate::binaries::Plant;
    match name {
        "kills" => kills::run(bench).await,
        "mqtt-kills" => mqtt_kills::run(bench).await,
        "group-kills" => group_kills::run(bench).await,
        "compaction" => compaction::run(bench).await,
        "consumer-retention" => consumer_retention::run(bench).await,
        "unplug" => network::unplug(bench).await,
        "disk-full" => disk::run(bench).await,
        "sync-error" => sync::run(bench).await,
        "read-only" => readonly::for_a_while(bench).await,
        "read-only-disk" => readonly::remounted(bench).await,
        "clock" => clock::run(bench).await,
        "crowd" => crowd::run(bench).await,
        "front-door" => front_door::run(bench).await,
        "black-hole" => network::black_hole(bench).await,
        "drop-oldest" => drops::run(bench, drops::Policy::Oldest).await,
        "drop-newest" => drops::run(bench, drops::Policy::Newest).await,
        "damage-queue" => damage::in_queue(bench).await,
        "damage-log" => damage::in_log(bench).await,
        "retention" => retention::run(bench).await,
        "backlog" => backlog::run(bench).await,
        "day-backlog" => day::run(bench).await,
        "small-box-block" => small_box::run(bench, small_box::Policy::Block).await,
        "small-box-drop" => small_box::run(bench, small_box::Policy::DropOldest).await,
        "blackouts" => blackouts::journaled(bench).await,
        "blackouts-plain" => blackouts::plain(bench).await,
        "power-cuts" => power::run(bench),
        "sim" => sim::run(bench),
        "schedules" => schedules::run(bench).await,
        "plant-ack-before-sync" => plants::run(bench, Plant::AckBeforeSync).await,
        "plant-forget-range" => plants::run(bench, Plant::ForgetRange).await,
        "plant-skip-directory-sync" => plants::run(bench, Plant::SkipDirectorySync).await,
        "plant-swallow-eio" => plants::run(bench, Plant::SwallowEio).await,
        "plant-lose-loss-record" => plants::run(bench, Plant::LoseLossRecord).await,
        _ => bail!("no scenario `{name}`; there are: {}", NAMES.join(", ")),
    }
}

/// Waits until something is seen from outside.
async fn until(what: &str, holds: impl Fn() -> bool) -> Result<()> {
    let begun = Instant::now();
    while !holds() {
        if begun.elapsed() > PATIENCE {
            bail!("after {PATIENCE:?} still not: {what}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Starts agent and boards, and no gateway: what is taken is in the agent's queue. Loss of kind `allowed` is right.
async fn without_gateway(bench: &Bench<'_>, plan: Plan, allowed: LossKind) -> Result<Deployment> {
    let mut deployment = Deployment::prepare(plan, bench.binaries).await?;
    deployment.ledger.allow(allowed);
    deployment.agent.start()?;
    for board in &mut deployment.boards {
        board.start()?;
    }
    Ok(deployment)
}

/// Waits until the agent has acknowledged so many sequences to the boards.
async fn taken(deployment: &Deployment, readings: u64) -> Result<()> {
    let accepted = || deployment.ledger.pages().values().map(|facts| facts.agent_accepted).sum::<u64>();
    until("the agent takes readings", || accepted() >= readings).await
}

/// Waits until the log has grown by `more` readings: the system is alive.
async fn progress(deployment: &mut Deployment, more: u64) -> Result<u64> {
    deployment.tend()?;
    deployment.wait_for_gateway().await?;
    let before = deployment.wait_for("the log can be read", RECOVERY, |_| true).await?.readings();
    let what = format!("{more} more readings in the log");
    let census = deployment.wait_for(&what, RECOVERY, |census| census.readings() >= before + more).await?;
    Ok(census.readings())
}

/// Drains, reconciles and says what was done.
async fn conclude(mut deployment: Deployment, done: String) -> Result<Verdict> {
    let (report, census) = deployment.drain().await?;
    if !report.holds() {
        return Ok(Verdict::Broken(format!("{done}\n{report}")));
    }
    deployment.scratch.remove()?;
    Ok(Verdict::Holds(format!("{done}, {} readings, each once", census.readings())))
}

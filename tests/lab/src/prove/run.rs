//! The run: start, load, break, calm, drain, judge.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::time::MissedTickBehavior;
use weir_protocol::time::{SystemClock, WallClock as _};

use super::Prove;
use super::fleet::{self, Fleet};
use super::page::grouped;
use super::report::{Broken, Finding, Proof, Totals};
use super::timeline::{TICK, Timeline};
use crate::bench::machine;
use crate::binaries::{Binaries, Plant};
use crate::deployment::{Deployment, Plan};
use crate::faults::{Injector, Means, Schedule};
use crate::reconcile::Report;
use crate::relay::tcp::TcpRelay;

/// Segments of a proof are small, so that some are closed, and there is something to recover.
const TOPICS: &str = "segment = \"1 MiB\"\n";
/// KiB of a board's flash that runs over within a second of so many readings a second, when nobody takes them.
const SMALL_RING: u32 = 16;
const MUCH: u32 = 2000;
/// How often a person is told how it goes.
const TOLD: Duration = Duration::from_secs(1);

pub(super) async fn run(options: &Prove, seed: u64, binaries: &Binaries) -> Result<Proof> {
    let (means, unavailable) = means(options);
    unavailable.iter().for_each(|why| say(options, || format!("not broken here: {why}")));
    let schedule = match options.plant {
        _ if options.calm => Schedule::default(),
        Some(_) => Schedule::hunt(options.lasting),
        None => Schedule::of(seed, options.lasting, &means),
    };
    let mut plan = plan(options, seed);
    let mut injector = Injector::prepare(schedule, &means, &mut plan)?;
    let mut deployment = Deployment::prepare(plan, binaries).await?;
    injector.equip(&mut deployment);
    deployment.launch().await?;
    let network = Arc::new(TcpRelay::unobserved(deployment.mqtt).await?);
    injector.also(Arc::clone(&network));
    let books = (&deployment.ledger, &mut deployment.truths);
    let fleet = Fleet::start(options, seed, network.address, books).await?;
    let began_ms = SystemClock.now().as_millis();
    let (timeline, deployment) = watch(options, &mut injector, &fleet, deployment).await?;
    let (latency, seconds_of) = fleet.end().await?;
    let seconds = timeline.0.last().map_or(0.0, |moment| moment.at);
    let (report, acknowledged) = judge(options, deployment).await?;
    let struck = if report.holds() { injector.remove()? } else { injector.struck().to_vec() };
    Ok(Proof {
        holds: report.holds(),
        replay: options.replay(seed),
        seed,
        began_ms,
        seconds,
        machine: machine::describe(),
        load: fleet::described(options),
        totals: Totals::of(&report, acknowledged),
        latency,
        seconds_of,
        faults: struck.iter().map(|struck| Broken::new(struck, &timeline, seconds)).collect(),
        unavailable,
        findings: report.findings.iter().map(Finding::from).collect(),
        timeline,
    })
}

/// Tells a person, unless nobody wants to know.
fn say(options: &Prove, line: impl FnOnce() -> String) {
    if !options.quiet {
        println!("{}", line());
    }
}

fn means(options: &Prove) -> (Means, Vec<String>) {
    let planted = options.plant.is_some();
    // In a planted build every kill is a power cut already, of a filesystem in the process.
    let wanted = Means {
        processes: true,
        boards: options.boards > 0,
        strace: !planted,
        images: !planted,
        clock: !planted,
        tls: options.tls,
        damage: options.damage,
    };
    Means::here(wanted)
}

fn plan(options: &Prove, seed: u64) -> Plan {
    let mut plan = Plan::new(seed);
    plan.boards = usize::from(options.boards);
    plan.rate = options.board_rate;
    plan.plant = options.plant;
    plan.tls = options.tls;
    plan.topics = TOPICS.to_owned();
    plan.mqtt = fleet::STORE.to_owned();
    if options.plant == Some(Plant::LoseLossRecord) {
        // Nothing is lost that nobody had to drop.
        (plan.flash_kib, plan.rate) = (SMALL_RING, plan.rate.max(MUCH));
    }
    plan
}

/// Lets it run and breaks it until the time is over, somebody interrupts, or it cannot go on.
async fn watch(
    options: &Prove,
    injector: &mut Injector,
    fleet: &Fleet,
    deployment: Deployment,
) -> Result<(Timeline, Deployment)> {
    let mut interrupted = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let ledger = deployment.ledger.clone();
    let mut deployment = Some(deployment);
    let (begun, mut told) = (Instant::now(), Duration::ZERO);
    let mut timeline = Timeline::default();
    let mut said = 0;
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while begun.elapsed() < options.lasting {
        tokio::select! {
            _ = interrupted.recv() => break,
            _ = terminated.recv() => break,
            _ = tick.tick() => {}
        }
        if let Some(deployment) = &mut deployment {
            deployment.tend()?;
        }
        injector.proceed(begun.elapsed(), &mut deployment).await?;
        timeline.look(begun.elapsed(), &ledger, &fleet.loads);
        for struck in &injector.struck()[said..] {
            say(options, || format!("{:>7.1} s  {}", struck.event.at.as_secs_f64(), struck.event.fault));
        }
        said = injector.struck().len();
        if begun.elapsed() >= told + TOLD {
            told = begun.elapsed();
            if let Some(moment) = timeline.0.last() {
                let (sampled, acknowledged) = (grouped(moment.sampled), grouped(moment.acknowledged));
                say(options, || format!("{:>7.1} s  {sampled} sampled, {acknowledged} acknowledged", moment.at));
            }
        }
    }
    say(options, || format!("{:>7.1} s  nothing is broken any more; draining ...", begun.elapsed().as_secs_f64()));
    injector.calm(begun.elapsed(), &mut deployment).await?;
    timeline.look(begun.elapsed(), &ledger, &fleet.loads);
    let Some(deployment) = deployment else { anyhow::bail!("the deployment is gone") };
    Ok((timeline, deployment))
}

/// Drains and compares: the verdict, and how much was acknowledged. The directory of a run that holds is removed.
async fn judge(options: &Prove, mut deployment: Deployment) -> Result<(Report, u64)> {
    let (report, _) = deployment.drain().await?;
    say(options, || format!("\n{report}"));
    let acknowledged = deployment.ledger.pages().values().map(|facts| facts.gateway_acked.len()).sum();
    if report.holds() {
        deployment.scratch.remove()?;
    }
    Ok((report, acknowledged))
}

impl Proof {
    /// A line for the terminal.
    pub(super) fn summary(&self) -> String {
        let totals = &self.totals;
        let sums = format!(
            "{} acknowledged, {} found, {} lost, {} doubled, {} altered, {} out of order, {} faults",
            grouped(totals.acknowledged),
            grouped(totals.found),
            totals.lost,
            totals.doubled,
            totals.altered,
            totals.reordered,
            self.faults.len()
        );
        if self.holds { format!("PROVEN   {sums}") } else { format!("BROKEN   {sums}") }
    }
}

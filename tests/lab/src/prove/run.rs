//! The run: start, load, break, calm, drain, judge.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::time::MissedTickBehavior;
use weir_protocol::time::{SystemClock, WallClock as _};

use super::Prove;
use super::fleet::{self, Fleet, Times};
use super::page::grouped;
use super::report::{Broken, Finding, Proof, Totals};
use super::stage::Stage;
use super::timeline::{TICK, Timeline};
use crate::bench::machine;
use crate::binaries::Binaries;
use crate::faults::{Injector, Means, Schedule};
use crate::ledger::Ledger;

/// What is not done to a deployment that somebody else runs.
const NOT_OURS: &str = "gateway, agent, disks, clocks and settings, because somebody else runs them: kill -9, SIGSTOP, restart, \
                        power cut, EIO, ENOSPC, flipped bits; type cargo lab prove without --gateway to see them";
/// How often a person is told how it goes.
const TOLD: Duration = Duration::from_secs(1);

/// One run: of a deployment of these programs, or of the one that the options name.
pub(super) async fn run(options: &Prove, seed: u64, binaries: Option<&Binaries>) -> Result<Proof> {
    let (means, unavailable) = means(options);
    unavailable.iter().for_each(|why| say(options, || format!("not broken here: {why}")));
    let schedule = match options.plant {
        _ if options.calm => Schedule::default(),
        Some(_) => Schedule::hunt(options.lasting),
        None => Schedule::of(seed, options.lasting, &means),
    };
    let (mut stage, mut injector) = match binaries {
        Some(binaries) => Stage::ours(options, seed, (schedule, &means), binaries).await?,
        None => Stage::theirs(options, seed, schedule, |line| say(options, || line.to_owned())).await?,
    };
    let (against, ledger) = (stage.described(), stage.books()?.0.clone());
    let fleet = Fleet::start(options, seed, &mut stage).await?;
    stage.attend();
    let began_ms = SystemClock.now().as_millis();
    let timeline = watch(options, &mut injector, &fleet, &mut stage, &ledger).await?;
    let Times { latency, seconds_of, consumed } = fleet.end().await?;
    let seconds = timeline.0.last().map_or(0.0, |moment| moment.at);
    let (report, acknowledged) = stage.judge().await?;
    say(options, || format!("\n{report}"));
    let struck = if report.holds() { injector.remove()? } else { injector.struck().to_vec() };
    Ok(Proof {
        holds: report.holds(),
        against,
        replay: options.replay(seed),
        seed,
        began_ms,
        seconds,
        machine: machine::describe(),
        load: fleet::described(options),
        totals: Totals::of(&report, acknowledged),
        latency,
        consumed,
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
    if options.reach.gateway.is_some() {
        return (Means::network(), vec![NOT_OURS.to_owned()]);
    }
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

/// Lets it run and breaks it until the time is over, somebody interrupts, or it cannot go on.
async fn watch(
    options: &Prove,
    injector: &mut Injector,
    fleet: &Fleet,
    stage: &mut Stage,
    ledger: &Ledger,
) -> Result<Timeline> {
    let mut interrupted = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let deployment = stage.deployment();
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
        if let Some(deployment) = deployment {
            for revived in deployment.tend()? {
                say(options, || format!("{:>7.1} s  {revived}", begun.elapsed().as_secs_f64()));
            }
        }
        injector.proceed(begun.elapsed(), deployment).await?;
        timeline.look(begun.elapsed(), ledger, &fleet.loads);
        for struck in &injector.struck()[said..] {
            say(options, || format!("{:>7.1} s  {}", struck.event.at.as_secs_f64(), struck.event.fault));
        }
        said = injector.struck().len();
        if begun.elapsed() >= told + TOLD {
            told = begun.elapsed();
            if let Some(moment) = timeline.0.last() {
                let (sampled, acknowledged) = (grouped(moment.sampled), grouped(moment.acknowledged));
                let took = fleet.line();
                say(options, || format!("{:>7.1} s  {sampled} sampled, {acknowledged} acknowledged{took}", moment.at));
            }
        }
    }
    say(options, || format!("{:>7.1} s  nothing is broken any more; draining ...", begun.elapsed().as_secs_f64()));
    injector.calm(begun.elapsed(), deployment).await?;
    timeline.look(begun.elapsed(), ledger, &fleet.loads);
    Ok(timeline)
}

impl Proof {
    /// A line for the terminal.
    pub(super) fn summary(&self) -> String {
        let totals = &self.totals;
        let sums = format!(
            "{} acknowledged, {} found, {} lost, {} doubled, {} altered, {} out of order, {}",
            grouped(totals.acknowledged),
            grouped(totals.found),
            totals.lost,
            totals.doubled,
            totals.altered,
            totals.reordered,
            match self.faults.len() {
                1 => "1 fault".to_owned(),
                many => format!("{many} faults"),
            }
        );
        if self.holds { format!("PROVEN   {sums}") } else { format!("BROKEN   {sums}") }
    }
}

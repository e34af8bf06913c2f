//! `cargo lab up`: start everything, show what happens, take kills, and prove the end.

mod banner;
mod kcat;
mod schedule;
mod table;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;

use crate::binaries::{Binaries, Plant};
use crate::census::Census;
use crate::deployment::{Deployment, Plan};
use crate::emulator;
use table::Table;

pub use schedule::{Schedule, duration};

/// How often the table is drawn.
const TICK: Duration = Duration::from_millis(500);
/// How long a look at the log may take before the table is drawn without it.
const GLANCE: Duration = Duration::from_secs(2);
/// What a planted fault is hunted with unless other kills are asked for.
const HUNT: &str = "agent=2s,gateway=3s";
/// How long it is hunted unless `--for` says otherwise.
const HUNT_FOR: Duration = Duration::from_secs(30);
/// Readings a second of each board while a planted fault is hunted.
const HUNT_RATE: u32 = 200;
/// Readings a second of each board.
const RATE: u32 = 20;
/// What `cargo lab load` needs of the gateway: room for its connections, and a topic for messages of foreign devices.
const FOR_LOAD: &str = "connections = 17000\n[[mqtt.store]]\nfilter = \"load/#\"\n";

/// Runs gateway, agent and boards on this machine, and proves at the end that nothing acknowledged is missing.
#[derive(Args, Clone, Debug)]
pub struct Up {
    /// How many host boards: the firmware core on this machine, with a simulated sensor behind a pty
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(0..=64))]
    pub boards: u16,
    /// Readings a second of each host board [default: 20]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub rate: Option<u32>,
    /// Run the real firmware image too, in an emulator of its chip
    #[arg(long, value_enum)]
    pub emulator: Option<emulator::Kind>,
    /// Stop by itself after so long, such as 30s
    #[arg(long = "for", value_parser = duration)]
    pub lasting: Option<Duration>,
    /// Kill -9 and restart at intervals, such as agent=5s,gateway=7s,board=11s
    #[arg(long)]
    pub kill: Option<Schedule>,
    /// Let the agent enrol with an authority of the run's own, and ship over TLS
    #[arg(long)]
    pub tls: bool,
    /// Build agent and gateway with a fault that the ledger must catch; every kill is then a power cut
    #[arg(long, value_enum)]
    pub plant: Option<Plant>,
    /// Seed of the simulated sensors [default: random]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Use the programs that are built already
    #[arg(long)]
    pub no_build: bool,
}

impl Up {
    fn plan(&self, seed: u64) -> Plan {
        let mut plan = Plan::new(seed);
        plan.boards = usize::from(self.boards);
        plan.rate = self.rate.unwrap_or(if self.plant.is_some() { HUNT_RATE } else { RATE });
        plan.plant = self.plant;
        plan.tls = self.tls;
        plan.mqtt = FOR_LOAD.to_owned();
        plan.default_ports = true;
        plan
    }

    fn schedule(&self) -> Schedule {
        let hunt = || HUNT.parse().unwrap_or_default();
        self.kill.clone().unwrap_or_else(|| if self.plant.is_some() { hunt() } else { Schedule::default() })
    }

    fn lasting(&self) -> Option<Duration> {
        self.lasting.or(self.plant.map(|_| HUNT_FOR))
    }
}

/// Runs until Ctrl-C, SIGTERM or the time is over. `true`: the ledger holds.
pub async fn run(options: &Up) -> Result<bool> {
    let seed = options.seed.unwrap_or_else(|| rand::random::<u32>().into());
    let mut plan = options.plan(seed);
    eprintln!("building what is not built yet ...");
    let binaries = Binaries::prepare(!options.no_build, options.plant)?;
    if let Some(kind) = options.emulator {
        plan.emulator = Some(emulator::prepare(kind, &binaries)?);
    }
    let mut deployment = Deployment::start(plan, &binaries).await?;
    banner::print(&deployment);
    watch(options, &mut deployment).await?;
    println!("\ndraining: boards, then the agent, then the gateway ...");
    let (report, _) = deployment.drain().await?;
    println!("\n{report}");
    let holds = report.holds();
    if holds {
        deployment.scratch.remove()?;
    } else {
        println!("seed {seed}");
    }
    Ok(holds)
}

/// Draws the table and takes kills until it is time to stop.
async fn watch(options: &Up, deployment: &mut Deployment) -> Result<()> {
    let mut table = Table::new();
    let mut schedule = options.schedule();
    schedule.begin();
    let deadline = options.lasting().map(|lasting| Instant::now() + lasting);
    let mut interrupted = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut census = Census::default();
    loop {
        tokio::select! {
            _ = interrupted.recv() => return Ok(()),
            _ = terminated.recv() => return Ok(()),
            () = until(deadline) => return Ok(()),
            () = until(schedule.next_due()) => {
                if let Some(kill) = schedule.take_due() {
                    let revived = deployment.kill(kill.target, kill.aim, kill.pick).await?;
                    table.say(&revived.to_string());
                }
            }
            _ = tick.tick() => {
                for revived in deployment.tend()? {
                    table.say(&revived.to_string());
                }
                // The gateway may be down just now; then the table shows what was known.
                let look = census.catch_up(&deployment.log, &deployment.truths);
                let _ = tokio::time::timeout(GLANCE, look).await;
                let metrics = tokio::time::timeout(GLANCE, deployment.log.text("/metrics")).await;
                table.repeats(metrics.ok().and_then(Result::ok).as_deref());
                table.draw(&deployment.ledger, &census).context("cannot write to the terminal")?;
            }
        }
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

//! A whole Weir on this machine: gateway, agent, boards, and the lab's wires between them.
//!
//! Every process runs on its own and can be killed at any moment; [`Deployment::tend`] starts it again. The
//! order of [`Deployment::drain`] is that of the data: boards, agent, and the gateway last.

mod board;
mod member;
mod plan;
mod scratch;
mod settings;
mod trust;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::binaries::{Binaries, Plant};
use crate::census::{Census, LogReader};
use crate::kafka::compare::compare;
use crate::ledger::Ledger;
use crate::ports::{self, Reserved};
use crate::process::Program;
use crate::reconcile::{Report, reconcile};
use crate::relay::seal;
use crate::relay::serial::SerialRelay;
use crate::relay::tcp::TcpRelay;
use crate::truth::Truths;

pub use board::Board;
pub use member::{Cause, Member, Revived};
pub use plan::{Emulator, Plan};
pub use scratch::Scratch;
pub use trust::Trust;

/// How long a process may take to be ready; debug builds on a busy machine are slow.
pub const READY: Duration = Duration::from_secs(60);
/// How long one stage of a drain may take.
pub const DRAIN: Duration = Duration::from_secs(60);
/// How long a kill waits for an acknowledgement to follow.
const AIM: Duration = Duration::from_millis(500);
/// How often a state that sends no event is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// The agent's MQTT client id.
pub const AGENT: &str = "lab-agent";

/// A process that can be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Target {
    /// One of the boards.
    Board,
    /// The agent.
    Agent,
    /// The gateway.
    Gateway,
}

/// The moment of a kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// Now.
    Blind,
    /// Right behind the next acknowledgement that the target gives, when a broken promise shows best.
    BehindPromise,
    /// Right behind the gateway's next PUBACK, which the agent never gets: it must send again what is stored
    /// already. For other targets like [`Aim::BehindPromise`].
    BehindLostAnswer,
}

/// The running system.
pub struct Deployment {
    /// What it was made from.
    pub plan: Plan,
    /// The run's directory.
    pub scratch: Scratch,
    /// What was promised.
    pub ledger: Ledger,
    /// What the sensors handed out.
    pub truths: Truths,
    /// The network between agent and gateway.
    pub network: TcpRelay,
    /// The gateway.
    pub gateway: Member,
    /// The agent.
    pub agent: Member,
    /// The boards.
    pub boards: Vec<Board>,
    /// Cables that lead to no board.
    pub lines: Vec<SerialRelay>,
    /// Where the gateway takes MQTT.
    pub mqtt: SocketAddr,
    /// Where the gateway answers HTTP.
    pub http: SocketAddr,
    /// Where the gateway speaks Kafka.
    pub kafka: SocketAddr,
    /// The authority, with TLS.
    pub trust: Option<Trust>,
    /// Reads the log.
    pub log: LogReader,
    /// Nobody else gets the gateway's ports while it is down.
    _reserved: Vec<Reserved>,
}

impl Deployment {
    /// Lays all wires and writes all settings; nothing runs yet.
    pub async fn prepare(plan: Plan, binaries: &Binaries) -> Result<Self> {
        let scratch = Scratch::new()?;
        let (ledger, mut truths) = (Ledger::new(), Truths::default());
        let reserve = |preferred| Reserved::new(if plan.default_ports { preferred } else { 0 });
        let of_all = [reserve(ports::MQTT)?, reserve(ports::HTTP)?, reserve(ports::KAFKA)?];
        let [mqtt, http, kafka] = of_all.each_ref().map(|port| port.address);
        let of_tls = plan.tls.then(|| reserve(ports::MQTTS)).transpose()?;
        let mqtts = of_tls.as_ref().map(|port| port.address);
        let mut boards = Vec::new();
        for number in 1..=plan.boards {
            boards.push(Board::host(number, &plan, &scratch, binaries, (&ledger, &mut truths))?);
        }
        if let Some(emulator) = &plan.emulator {
            boards.push(Board::emulated(emulator, &scratch, binaries, (&ledger, &mut truths))?);
        }
        let lines = (1..=plan.lines).map(|number| board::cable(&format!("line-{number}"), &scratch, &ledger));
        let lines = lines.collect::<Result<Vec<_>>>()?;
        let data = plan.gateway_data.clone().unwrap_or_else(|| scratch.join("gateway"));
        let cables = boards.iter().map(|board| &board.cable).chain(&lines);
        let serial: Vec<_> = cables.map(|cable| cable.agent.clone()).collect();
        let write = |name: &str, text: String| {
            let path = scratch.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display())).map(|()| path)
        };
        let gateway_settings = write("gateway.toml", settings::gateway(&data, [mqtt, http, kafka], mqtts, &plan))?;
        let agent_data = plan.agent_data.clone().unwrap_or_else(|| scratch.join("agent"));
        let agent_settings = scratch.join("agent.toml");
        let (of_gateway, of_agent) = ((&*gateway_settings, &*data), (&*agent_settings, &*agent_data));
        let trust = mqtts.map(|mqtts| Trust::new(binaries, of_gateway, of_agent, http, mqtts));
        let network = match &trust {
            Some(trust) => TcpRelay::sealed(trust.mqtts, ledger.clone(), trust.seal()).await?,
            None => TcpRelay::new(mqtt, ledger.clone()).await?,
        };
        let uplink = match &trust {
            Some(_) => format!("mqtts://{}:{}", seal::SERVER, network.address.port()),
            None => network.address.to_string(),
        };
        write("agent.toml", settings::agent(&agent_data, &uplink, &serial, &plan))?;
        if let Some(trust) = &trust {
            trust.found().await?;
        }
        let member = |name: &str, path: &Path, settings: PathBuf, plant: Option<Plant>| {
            let mut arguments = vec!["run".into(), "--config".into(), settings.into()];
            if let Some(plant) = plant {
                arguments.extend(["--plant".into(), plant.as_str().into()]);
            }
            let log = scratch.join(&format!("{name}.log"));
            let (guard, path) = (binaries.lab.clone(), path.to_owned());
            let environment = Vec::new();
            Member::new(Program { name: name.to_owned(), guard, path, arguments, environment, log })
        };
        let gateway = member("gateway", &binaries.gateway, gateway_settings, plan.plant);
        let in_agent = plan.plant.filter(|plant| plant.is_of_agent());
        let agent = member("agent", &binaries.agent, agent_settings, in_agent);
        let log = match plan.tls {
            true => LogReader::through(&data.join("gateway.sock"), http)?,
            false => LogReader::new(http)?,
        };
        Ok(Self {
            plan,
            scratch,
            ledger,
            truths,
            network,
            gateway,
            agent,
            boards,
            lines,
            mqtt,
            http,
            kafka,
            trust,
            log,
            _reserved: of_all.into_iter().chain(of_tls).collect(),
        })
    }

    /// Prepares and starts everything, and waits until the gateway is ready.
    pub async fn start(plan: Plan, binaries: &Binaries) -> Result<Self> {
        let mut deployment = Self::prepare(plan, binaries).await?;
        deployment.launch().await?;
        Ok(deployment)
    }

    /// Starts what was prepared, and waits until the gateway is ready.
    pub async fn launch(&mut self) -> Result<()> {
        self.gateway.start()?;
        self.wait_for_gateway().await?;
        if let Some(trust) = &self.trust {
            trust.enroll().await?;
        }
        self.agent.start()?;
        for board in &mut self.boards {
            board.start()?;
        }
        Ok(())
    }

    /// Waits until the gateway says that it is ready.
    pub async fn wait_for_gateway(&mut self) -> Result<()> {
        let begun = Instant::now();
        loop {
            if self.log.text("/readyz").await.is_ok() {
                return Ok(());
            }
            if self.gateway.died()?.is_some() {
                self.gateway.start()?;
            }
            if begun.elapsed() > READY {
                bail!("the gateway is not ready after {READY:?}; see {}", self.gateway.program.log.display());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Starts again whatever was killed, and says so. A process that ended by itself is an error.
    pub fn tend(&mut self) -> Result<Vec<Revived>> {
        let mut revived = Vec::new();
        for member in [&mut self.gateway, &mut self.agent] {
            if let Some((died, cause)) = member.died()? {
                member.start()?;
                revived.push(Revived { name: member.program.name.clone(), died, cause, now: member.pid() });
            }
        }
        for board in &mut self.boards {
            if let Some((died, cause)) = board.member.died()? {
                board.start()?;
                let name = board.member.program.name.clone();
                revived.push(Revived { name, died, cause, now: board.member.pid() });
            }
        }
        Ok(revived)
    }

    /// Kills a process with -9 and starts it again. `pick` chooses among the boards.
    pub async fn kill(&mut self, target: Target, aim: Aim, pick: usize) -> Result<Revived> {
        if aim != Aim::Blind {
            self.take_aim(target, aim).await;
        }
        let index = pick % self.boards.len().max(1);
        if target == Target::Board && self.boards.is_empty() {
            bail!("there is no board to kill; give --boards 1 or more");
        }
        let member = self.member(target, index);
        let (name, died) = (member.program.name.clone(), member.pid());
        member.end().await?;
        self.network.clear();
        match target {
            Target::Board => self.boards[index].start()?,
            Target::Agent | Target::Gateway => self.member(target, index).start().map(drop)?,
        }
        let now = self.member(target, index).pid();
        Ok(Revived { name, died, cause: Cause::Signal(rustix::process::Signal::KILL.as_raw()), now })
    }

    /// A process of the deployment; `index` chooses among the boards, and there is such a board.
    pub fn member(&mut self, target: Target, index: usize) -> &mut Member {
        match target {
            Target::Board => &mut self.boards[index].member,
            Target::Agent => &mut self.agent,
            Target::Gateway => &mut self.gateway,
        }
    }

    /// Waits for the target's next acknowledgement, if one comes soon.
    pub async fn take_aim(&self, target: Target, aim: Aim) {
        let mut promises = match target {
            Target::Board => return,
            Target::Agent => self.ledger.agent_promises(),
            Target::Gateway => self.ledger.gateway_promises(),
        };
        if target == Target::Gateway && aim == Aim::BehindLostAnswer {
            self.network.hold_answers();
        }
        promises.mark_unchanged();
        let _ = tokio::time::timeout(AIM, promises.changed()).await;
    }

    /// Stops everything in the order of the data and compares the ledger with the log, read whole, and what HTTP shows
    /// of the log with what Kafka shows.
    pub async fn drain(&mut self) -> Result<(Report, Census)> {
        self.drain_from(Census::default()).await
    }

    /// Stops boards and agent, in the order of the data; the gateway goes on with all of it.
    pub async fn settle(&mut self) -> Result<()> {
        self.network.clear();
        self.tend()?;
        self.wait_for_gateway().await?;
        for index in 0..self.boards.len() {
            self.stop_board(index).await?;
        }
        self.agent.stop(DRAIN).await
    }

    /// As [`Deployment::drain`], with a census that was brought up to date before anything was removed.
    pub async fn drain_from(&mut self, mut census: Census) -> Result<(Report, Census)> {
        self.settle().await?;
        census.catch_up(&self.log, &self.truths).await?;
        let comparison = compare(&self.log, self.kafka).await?;
        self.gateway.stop(DRAIN).await?;
        let mut report = reconcile(&self.ledger, &census);
        report.compared(comparison);
        Ok((report, census))
    }

    /// Stops a board once its ring is empty.
    async fn stop_board(&mut self, index: usize) -> Result<()> {
        let board = &mut self.boards[index];
        if board.is_emulated() {
            // Firmware has no end: without a sensor it samples nothing, and its ring drains.
            board.tell(r#"{"sensor":"absent"}"#).await?;
            let device = board.member.program.name.clone();
            self.wait_for_ring(&device).await?;
            if let Some(mut process) = self.boards[index].member.take() {
                process.kill().await?;
            }
            return Ok(());
        }
        // One that has only just been started would die of what asks it to drain.
        let _ = tokio::time::timeout(DRAIN, board.ready()).await;
        if let Some(mut process) = board.member.take() {
            let status = process.stop(DRAIN).await?;
            if !status.success() {
                bail!("{}", self.boards[index].member.failure(status));
            }
        }
        Ok(())
    }

    /// Waits until the agent has acknowledged all that a device sampled, and nothing new comes.
    pub async fn wait_for_ring(&self, device: &str) -> Result<()> {
        let begun = Instant::now();
        let mut last = None;
        loop {
            let pages = self.ledger.pages();
            let of_device = pages.iter().filter(|((d, _), _)| d.as_str() == device);
            let state: Vec<_> = of_device.map(|(_, facts)| (facts.next, facts.agent_accepted)).collect();
            if state.iter().all(|(next, accepted)| next == accepted) && last.as_ref() == Some(&state) {
                return Ok(());
            }
            if begun.elapsed() > DRAIN {
                bail!("the ring of {device} is not empty after {DRAIN:?}: (next, accepted) per restart are {state:?}");
            }
            last = Some(state);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Waits until `what` holds of the census, taken again and again.
    pub async fn wait_for(&self, what: &str, limit: Duration, holds: impl Fn(&Census) -> bool) -> Result<Census> {
        let begun = Instant::now();
        let mut census = Census::default();
        loop {
            let read = census.catch_up(&self.log, &self.truths).await;
            if holds(&census) {
                return Ok(census);
            }
            if begun.elapsed() > limit {
                read?;
                bail!("after {limit:?} still not: {what}");
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

//! Does to a deployment what a schedule says.
//!
//! Nobody waits here for what may take long (a process that drains, an enrolment): it is looked at again and again, so that
//! a fault of the network ends when it should even if everything else hangs on it.

use std::collections::VecDeque;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::io::Errno;
use rustix::process::Signal;
use weir_protocol::batch::LossKind;

use super::certificates::Errand;
use super::image::{Format, Image};
use super::strace::Injection;
use super::wall_clock::WallClock;
use super::{Event, Fault, Means, Schedule, files, power};
use crate::deployment::{Deployment, Plan, Scratch, Target};
use crate::process::Process;
use crate::relay::tcp::TcpRelay;

/// Calls that put bytes on a disk, and all that change a file.
const GROWS: &str = "pwrite64,fallocate";
const CHANGES: &str = "pwrite64,fdatasync,fsync,ftruncate,rename,unlink";

/// A fault that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Struck {
    /// What was planned.
    pub event: Event,
    /// When it was over, from the start of the schedule; `None` while it lasts.
    pub until: Option<Duration>,
    /// What there is to say about it, such as why it could not be.
    pub note: Option<String>,
}

/// What has to be undone.
enum Undo {
    Injection(Injection),
    Thaw(Target),
    Weather,
    Plug,
    Clock,
    /// A process that was asked to end; it is started again once it has.
    Start(Target, Process),
    Errand(Errand),
}

/// Breaks a deployment, and mends it again.
pub struct Injector {
    waiting: VecDeque<Event>,
    /// What lasts: which of `struck`, when it is to end, and how.
    lasting: Vec<(usize, Duration, Undo)>,
    struck: Vec<Struck>,
    clock: Option<WallClock>,
    disks: Vec<(Target, Image)>,
    /// The network of those who are no part of the deployment.
    fleet: Option<Arc<TcpRelay>>,
    /// What is wrong with the network now.
    weather: Option<Fault>,
    scratch: Scratch,
}

impl Injector {
    /// Takes a schedule, and makes `plan` one that it can be done to.
    pub fn prepare(schedule: Schedule, means: &Means, plan: &mut Plan) -> Result<Self> {
        let scratch = Scratch::new()?;
        let mut disks = Vec::new();
        if means.images {
            let image = |name| Image::new(scratch.path(), name, Format::Journaled);
            let (agent, gateway) = (image("agent-disk")?, image("gateway-disk")?);
            plan.agent_data = Some(agent.path.join("data"));
            plan.gateway_data = Some(gateway.path.join("data"));
            disks = vec![(Target::Agent, agent), (Target::Gateway, gateway)];
        }
        let clock = if means.clock { Some(WallClock::new(&scratch)?) } else { None };
        Ok(Self {
            waiting: schedule.events.into(),
            lasting: Vec::new(),
            struck: Vec::new(),
            clock,
            disks,
            fleet: None,
            weather: None,
            scratch,
        })
    }

    /// Takes a schedule of which nothing can be done but to the network of [`Injector::also`].
    pub fn of_network(schedule: Schedule) -> Result<Self> {
        Self::prepare(schedule, &Means::network(), &mut Plan::new(0))
    }

    /// Gives the processes of a deployment that is not started yet what faults need of them.
    pub fn equip(&self, deployment: &mut Deployment) {
        for target in [Target::Gateway, Target::Agent] {
            if let Some(clock) = &self.clock {
                deployment.member(target, 0).program.environment = clock.environment();
            }
        }
    }

    /// Faults of the network hit this one too.
    pub fn also(&mut self, fleet: Arc<TcpRelay>) {
        self.fleet = Some(fleet);
    }

    /// Removes what it needed; nothing runs any more. Without this its disks stay, for a look.
    pub fn remove(self) -> Result<Vec<Struck>> {
        // Unmounted first.
        drop(self.disks);
        self.scratch.remove()?;
        Ok(self.struck)
    }

    /// All that happened so far, by its beginning.
    pub fn struck(&self) -> &[Struck] {
        &self.struck
    }

    /// Whether nothing waits or lasts any more.
    pub fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.lasting.is_empty()
    }

    /// Begins and ends what is due `elapsed` after the start of the schedule.
    pub async fn proceed(&mut self, elapsed: Duration, deployment: &mut Option<Deployment>) -> Result<()> {
        self.end_until(elapsed, elapsed, deployment).await?;
        while let Some(event) = self.waiting.pop_front_if(|event| event.at <= elapsed) {
            self.begin(event, elapsed, deployment)
                .await
                .with_context(|| format!("while the lab did this: {}", event.fault))?;
        }
        Ok(())
    }

    /// Ends all that lasts, and begins nothing more.
    pub async fn calm(&mut self, elapsed: Duration, deployment: &mut Option<Deployment>) -> Result<()> {
        self.waiting.clear();
        self.end_until(Duration::MAX, elapsed, deployment).await?;
        // What takes its time now has the network and the processes that it needs.
        while !self.lasting.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.end_until(Duration::MAX, elapsed, deployment).await?;
        }
        Ok(())
    }

    async fn begin(&mut self, event: Event, elapsed: Duration, deployment: &mut Option<Deployment>) -> Result<()> {
        let index = self.struck.len();
        self.struck.push(Struck { event: Event { at: elapsed, ..event }, until: None, note: None });
        let undo = match deployment {
            Some(deployment) => self.strike(&event, deployment).await,
            None => self.cross(&event.fault, &[]).map(|()| event.fault.lasts().then_some(Undo::Weather)),
        };
        match undo {
            Ok(Some(undo)) => self.lasting.push((index, elapsed + event.lasting, undo)),
            Ok(None) => self.struck[index].until = Some(elapsed),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Does it to a deployment; what has to be undone.
    async fn strike(&mut self, event: &Event, deployment: &mut Deployment) -> Result<Option<Undo>> {
        if let Some(target) = target(&event.fault) {
            self.hurry(target, deployment).await?;
        }
        Ok(match event.fault {
            Fault::Kill(target, aim, pick) => {
                deployment.kill(target, aim, pick).await?;
                self.resume(deployment)?;
                None
            }
            Fault::Restart(target) => {
                let process = deployment.member(target, 0).take();
                let Some(process) = process else { return Ok(None) };
                process.signal(Signal::TERM)?;
                Some(Undo::Start(target, process))
            }
            Fault::Freeze(target) => {
                if let Some(process) = deployment.member(target, 0).process() {
                    process.freeze().await?;
                }
                Some(Undo::Thaw(target))
            }
            Fault::PowerCut(target) => {
                let disk = self.disks.iter().find(|(of, _)| *of == target).context("no disk to cut the power of")?;
                power::off(&[(target, &disk.1)], deployment).await?.on(deployment)?;
                None
            }
            Fault::SyncError(target) => {
                deployment.member(target, 0).fails_with(Errno::IO);
                Some(inject(deployment, target, "fdatasync", "error=EIO:when=1").await?)
            }
            Fault::SlowSync(target, by) => {
                let how = format!("delay_exit={}", by.as_micros());
                Some(inject(deployment, target, "fdatasync", &how).await?)
            }
            Fault::DiskFull(target) => {
                deployment.member(target, 0).fails_with(Errno::NOSPC);
                Some(inject(deployment, target, GROWS, "error=ENOSPC").await?)
            }
            Fault::ReadOnly(target) => {
                deployment.member(target, 0).fails_with(Errno::ROFS);
                Some(inject(deployment, target, CHANGES, "error=EROFS").await?)
            }
            Fault::FlippedBits(target) => {
                self.flip(target, event.at, deployment).await?;
                None
            }
            Fault::Unplug => {
                deployment.boards.iter().try_for_each(|board| board.cable.unplug())?;
                Some(Undo::Plug)
            }
            Fault::Clock(by) => {
                self.clock.as_ref().context("no clock to set")?.set(by)?;
                Some(Undo::Clock)
            }
            Fault::Reload(target) => {
                if let Some(process) = deployment.member(target, 0).process() {
                    process.signal(Signal::HUP)?;
                }
                None
            }
            Fault::Certificates => {
                let trust = deployment.trust.clone().context("no certificates without TLS")?;
                Some(Undo::Errand(Errand::renew(trust)))
            }
            Fault::Cut
            | Fault::BlackHole
            | Fault::LostAnswers
            | Fault::HalfOpen
            | Fault::Delay(_)
            | Fault::Throttle(_) => {
                self.cross(&event.fault, &[&deployment.network])?;
                event.fault.lasts().then_some(Undo::Weather)
            }
        })
    }

    /// Does it to the network: `own` and that of the fleet.
    fn cross(&mut self, fault: &Fault, own: &[&TcpRelay]) -> Result<()> {
        for relay in own.iter().copied().chain(self.fleet.as_deref()) {
            match *fault {
                Fault::Cut => relay.cut(),
                Fault::BlackHole => relay.black_hole(),
                Fault::LostAnswers => relay.hold_answers(),
                Fault::HalfOpen => relay.half_open(),
                Fault::Delay(by) => relay.delay(by),
                Fault::Throttle(rate) => relay.throttle(rate),
                other => bail!("{other} is no fault of the network"),
            }
        }
        // Lost answers and half-open connections are not done again when a kill has cleared the sky.
        self.weather = fault.lasts().then_some(*fault).filter(|fault| *fault != Fault::HalfOpen);
        Ok(())
    }

    /// A kill aims with the network's help, and leaves it clear: what was wrong with it is wrong again.
    fn resume(&mut self, deployment: &Deployment) -> Result<()> {
        match self.weather {
            Some(fault) => self.cross(&fault, &[&deployment.network]),
            None => Ok(()),
        }
    }

    /// Whoever is still ending by itself is ended, so that the next fault finds a process.
    async fn hurry(&mut self, target: Target, deployment: &mut Deployment) -> Result<()> {
        let is_it = |undo: &Undo| matches!(undo, Undo::Start(of, _) if *of == target);
        let Some(index) = self.lasting.iter().position(|(_, _, undo)| is_it(undo)) else { return Ok(()) };
        let (index, until, undo) = self.lasting.swap_remove(index);
        if let Undo::Start(_, mut process) = undo {
            process.kill().await?;
            deployment.member(target, 0).start()?;
            self.struck[index].note = Some("killed before it had ended".to_owned());
            self.struck[index].until = Some(until);
        }
        Ok(())
    }

    /// Undoes what ends until `due`.
    async fn end_until(&mut self, due: Duration, now: Duration, deployment: &mut Option<Deployment>) -> Result<()> {
        let mut index = 0;
        while let Some((_, until, undo)) = self.lasting.get_mut(index) {
            if *until > due || !undo.is_ready()? {
                index += 1;
                continue;
            }
            let (which, _, undo) = self.lasting.swap_remove(index);
            self.struck[which].until = Some(now);
            self.struck[which].note = self.undo(undo, deployment).await?;
        }
        Ok(())
    }

    async fn undo(&mut self, undo: Undo, deployment: &mut Option<Deployment>) -> Result<Option<String>> {
        if matches!(undo, Undo::Weather) {
            self.weather = None;
            let own = deployment.as_ref().map(|deployment| &deployment.network);
            own.into_iter().chain(self.fleet.as_deref()).for_each(TcpRelay::clear);
        }
        let Some(deployment) = deployment else { return Ok(None) };
        match undo {
            Undo::Weather => {}
            Undo::Injection(injection) => injection.stop().await?,
            Undo::Thaw(target) => {
                if let Some(process) = deployment.member(target, 0).process() {
                    process.signal(Signal::CONT)?;
                }
            }
            Undo::Plug => deployment.boards.iter().try_for_each(|board| board.cable.replug())?,
            Undo::Clock => self.clock.as_ref().context("no clock to set")?.set(0)?,
            Undo::Start(target, mut process) => {
                let status = process.ended()?.context("it has not ended")?;
                let member = deployment.member(target, 0);
                // One that has just begun does not listen yet: the signal itself ends it.
                let is_deaf = status.signal() == Some(Signal::TERM.as_raw());
                let injected = member.is_of_injected(status);
                if !status.success() && !is_deaf && injected.is_none() {
                    bail!("{}", member.failure(status));
                }
                member.start()?;
                let failed = injected.map(|errno| format!("it ended with the error that was injected ({errno})"));
                return Ok(failed.or_else(|| is_deaf.then(|| "it had just begun, and ended at once".to_owned())));
            }
            Undo::Errand(errand) => {
                let failed = errand.end().await.err();
                if let Some(process) = deployment.agent.process() {
                    process.signal(Signal::HUP)?;
                }
                // The gateway may be gone just then; the old certificates go on.
                return Ok(failed.map(|error| format!("not renewed: {error:#}")));
            }
        }
        Ok(None)
    }

    /// Damages a closed segment of a process that is down.
    async fn flip(&mut self, target: Target, at: Duration, deployment: &mut Deployment) -> Result<()> {
        let (directory, kind) = match target {
            Target::Gateway => (data(deployment, target).join("topics/readings"), LossKind::Damage),
            _ => (data(deployment, target), LossKind::Unaccounted),
        };
        deployment.member(target, 0).end().await?;
        let note = match closed(&directory)?.last() {
            Some(path) => {
                deployment.ledger.allow(kind);
                let length = path.metadata().with_context(|| format!("cannot look at {}", path.display()))?.len();
                Some(files::flip(path, (u64::from(at.subsec_nanos()) % length.max(1)) as usize)?)
            }
            None => Some("nothing happened: no segment is closed yet".to_owned()),
        };
        deployment.member(target, 0).start()?;
        if let Some(struck) = self.struck.last_mut() {
            struck.note = note;
        }
        Ok(())
    }
}

impl Undo {
    /// Whether it can be done now.
    fn is_ready(&mut self) -> Result<bool> {
        match self {
            Self::Start(_, process) => process.ended().map(|status| status.is_some()),
            Self::Errand(errand) => Ok(errand.is_over()),
            _ => Ok(true),
        }
    }
}

/// Whose process it hits.
fn target(fault: &Fault) -> Option<Target> {
    match *fault {
        Fault::Kill(target, ..)
        | Fault::Restart(target)
        | Fault::Freeze(target)
        | Fault::PowerCut(target)
        | Fault::SyncError(target)
        | Fault::SlowSync(target, _)
        | Fault::DiskFull(target)
        | Fault::ReadOnly(target)
        | Fault::FlippedBits(target)
        | Fault::Reload(target) => Some(target).filter(|target| *target != Target::Board),
        _ => None,
    }
}

async fn inject(deployment: &mut Deployment, target: Target, calls: &str, how: &str) -> Result<Undo> {
    let pid = deployment.member(target, 0).pid();
    Injection::start(&deployment.scratch, pid, calls, how).await.map(Undo::Injection)
}

/// Where a process keeps its data.
fn data(deployment: &Deployment, target: Target) -> PathBuf {
    let (planned, name) = match target {
        Target::Gateway => (&deployment.plan.gateway_data, "gateway"),
        _ => (&deployment.plan.agent_data, "agent"),
    };
    planned.clone().unwrap_or_else(|| deployment.scratch.join(name))
}

/// Segments that something newer stands behind: a bit that flips in the last commit looks like one that was interrupted.
fn closed(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut closed = Vec::new();
    let segments: Vec<_> = files::segments(directory)?.into_iter().map(|(path, _)| path).collect();
    for pair in segments.windows(2) {
        if pair[0].parent() == pair[1].parent() {
            closed.push(pair[0].clone());
        }
    }
    Ok(closed)
}

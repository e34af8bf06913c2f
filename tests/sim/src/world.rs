//! One world: everybody in it, their time, and what happens to them.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use weir_lab::ledger::Ledger;
use weir_protocol::{DeviceId, Restart};
use weir_storage::FaultyFs;
use weir_storage::fs::Fault;

use crate::agent::{Agent, Step};
use crate::board::Board;
use crate::cable::{Cable, Noise};
use crate::gateway::Host;
use crate::judge::{Judge, Judgement};
use crate::network::Network;
use crate::plan::{Plan, QUICK};
use crate::trace::Trace;
use crate::{Options, Outcome};

/// Microseconds of one step.
pub(crate) const STEP: u64 = 10_000;
/// How long a world may take to come to rest once all trouble is over, in microseconds.
const PATIENCE: u64 = 180_000_000;
/// How long it must be at rest.
const REST: u64 = 500_000;
/// How long a world in which bits flipped goes on at least: some damage is counted by what agents say of themselves, which
/// they do when they connect, and every 5 s.
const AFTER_DAMAGE: u64 = 12_000_000;

/// A board and its cable, which ends at a line of an agent.
pub(crate) struct Place {
    pub(crate) board: Board,
    pub(crate) cable: Cable,
    agent: usize,
    line: usize,
    /// When the cable is put back.
    pub(crate) plugged_at: Option<u64>,
}

/// Somebody with a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Machine {
    Agent(usize),
    Gateway,
}

/// A machine whose power is about to go, whatever it writes meanwhile.
pub(crate) struct Dying {
    pub(crate) machine: Machine,
    pub(crate) at: u64,
}

/// A machine that is off.
struct Off {
    pub(crate) machine: Machine,
    until: u64,
}

/// The world.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) now: u64,
    pub(crate) random: StdRng,
    pub(crate) places: Vec<Place>,
    pub(crate) agents: Vec<Agent>,
    pub(crate) host: Host,
    pub(crate) network: Network,
    ledger: Ledger,
    pub(crate) judge: Judge,
    pub(crate) trace: Trace,
    pub(crate) dying: Vec<Dying>,
    off: Vec<Off>,
    /// Disks that are full, and until when.
    pub(crate) full: Vec<(Machine, u64)>,
    may_drop: BTreeSet<DeviceId>,
}

impl World {
    /// The world of a seed.
    pub(crate) fn new(seed: u64, options: &Options) -> Self {
        weir_agent::mqtt::sim::enable();
        // What a world before this one left.
        drop(weir_agent::mqtt::sim::dialled());
        let plan = Plan::of(seed);
        let mut random = StdRng::seed_from_u64(seed);
        let ledger = Ledger::new();
        let (mut places, mut agents) = (Vec::new(), Vec::new());
        for (at, (agent, boards)) in plan.agents.iter().enumerate() {
            for (line, board) in boards.iter().enumerate() {
                let board = Board::new(*board, random.random());
                places.push(Place { board, cable: Cable::new(&ledger), agent: at, line, plugged_at: None });
            }
            agents.push(Agent::new(agent.clone(), random.random()));
        }
        let mut network = Network::new(ledger.clone());
        network.delay = plan.delay;
        #[cfg_attr(not(feature = "plant"), expect(unused_mut, reason = "plants change them"))]
        let mut host = Host::new(plan.gateway, random.random());
        #[cfg(feature = "plant")]
        {
            host.plant(options.plant);
            agents.iter_mut().for_each(|agent| agent.plant(options.plant));
        }
        let mut trace = Trace::new(options.told);
        trace.note("a world", seed, &[], || format!("{plan:#?}"));
        let judge = Judge::default();
        let (dying, off, full, may_drop) = Default::default();
        Self { plan, now: 0, random, places, agents, host, network, ledger, judge, trace, dying, off, full, may_drop }
    }

    /// Lives until all is at rest, and is judged.
    pub(crate) async fn live(mut self) -> Outcome {
        for place in &mut self.places {
            place.cable.noise = self.plan.noise;
        }
        for at in 0..self.agents.len() {
            self.start(Machine::Agent(at));
        }
        self.start(Machine::Gateway);
        while self.now < self.plan.lasts {
            self.trouble().await;
            self.step().await;
        }
        self.end_trouble();
        // Also what was sampled right before the end of trouble has to arrive.
        let stops_at = self.now + 300_000;
        let may_rest_at = self.now + if self.judge.is_spoilt() { AFTER_DAMAGE } else { 0 };
        let mut rested_since = None;
        let gives_up_at = self.now + PATIENCE;
        loop {
            if self.now >= stops_at {
                self.places.iter_mut().for_each(|place| place.board.stop_sampling());
            }
            let busy = self.step().await;
            rested_since = if busy { None } else { rested_since.or(Some(self.now)) };
            if self.now >= may_rest_at && rested_since.is_some_and(|since| self.now >= since + REST) {
                break;
            }
            if self.now >= gives_up_at {
                let why = self.why_busy();
                self.judge.wrong(format!("it does not come to rest within {} s: {why}", PATIENCE / 1_000_000));
                break;
            }
        }
        let judgement = self.judgement();
        Outcome { hash: self.trace.hash(), judgement, trace: self.trace, micros: self.now }
    }

    /// Everything that happens in one step of time; whether anything is left to do.
    async fn step(&mut self) -> bool {
        self.now += STEP;
        self.trace.at(self.now);
        let time = Duration::from_micros(STEP);
        tokio::time::advance(time).await;
        self.run_tasks().await;
        self.agents.iter().map(|agent| &agent.clock).chain([&self.host.clock]).for_each(|clock| clock.pass(STEP));
        self.power().await;
        self.boards();
        let mut busy = !self.off.is_empty() || !self.dying.is_empty();
        for at in 0..self.agents.len() {
            self.commit(at);
        }
        for progress in self.host.step(time, &mut self.random) {
            self.trace.note("gateway commits:", progress as u64, &[], || format!("{progress:?}"));
        }
        busy |= self.network.step(self.now, self.host.life.as_mut(), &mut self.random, &mut self.trace);
        self.run_tasks().await;
        busy | self.is_busy()
    }

    /// Lets the uplinks do what they can do now.
    async fn run_tasks(&self) {
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
    }

    /// Boards sample and speak, agents listen and answer.
    fn boards(&mut self) {
        for place in &mut self.places {
            if place.plugged_at.is_some_and(|at| at <= self.now) {
                (place.plugged_at, place.cable.plugged) = (None, true);
                self.trace.note("plugged", place.line as u64, &[], String::new);
            }
            let agent = &mut self.agents[place.agent];
            agent.plug(place.line, place.cable.plugged);
            let input = place.cable.take_for_board();
            let (said, began) = place.board.step(self.now, &input);
            if began {
                self.trace.note("board boots", place.line as u64, &[], || place.board.plan.name.to_string());
            }
            if !said.is_empty() {
                self.trace.note("board sends", place.line as u64, &said, || format!("{} bytes", said.len()));
                place.cable.up(&said, &mut self.random);
            }
            let heard = place.cable.take_for_agent();
            agent.receive(place.line, &heard);
        }
        for at in 0..self.agents.len() {
            for (line, down) in self.agents[at].answers() {
                self.trace
                    .note("agent answers", at as u64, format!("{down:?}").as_bytes(), || format!("{line}: {down:?}"));
                let place = self.places.iter_mut().find(|place| (place.agent, place.line) == (at, line));
                if let Some(place) = place {
                    place.cable.down(&down, &mut self.random);
                }
            }
        }
    }

    /// An agent goes on with its commit, and keeps its queue.
    fn commit(&mut self, at: usize) {
        // A step of a commit takes as long as the disk likes.
        if self.random.random_bool(self.agents[at].plan.pace) {
            let step = self.agents[at].step_commit();
            if step != Step::Idle {
                self.trace.note("agent commits:", at as u64, &[step as u8], || format!("{step:?}"));
            }
        }
        if self.agents[at].keep() {
            self.trace.note("agent keeps its queue", at as u64, &[], String::new);
        }
    }

    /// Power that goes and comes back.
    async fn power(&mut self) {
        let now = self.now;
        let due: Vec<_> = self.dying.extract_if(.., |dying| dying.at <= now).map(|dying| dying.machine).collect();
        for machine in due {
            self.cut_power(machine).await;
        }
        let back: Vec<_> = self.off.extract_if(.., |off| off.until <= now).map(|off| off.machine).collect();
        for machine in back {
            self.start(machine);
        }
        let well: Vec<_> = self.full.extract_if(.., |(_, until)| *until <= now).map(|(machine, _)| machine).collect();
        for machine in well {
            self.disk(machine).set_capacity(None);
        }
    }

    pub(crate) async fn cut_power(&mut self, machine: Machine) {
        self.trace.note("power goes:", 0, &[], || format!("{machine:?}"));
        match machine {
            Machine::Agent(at) => self.agents[at].cut_power().await,
            Machine::Gateway => {
                self.host.cut_power();
                self.network.gateway_gone(&mut self.random);
            }
        }
        self.stay_off(machine);
    }

    pub(crate) async fn kill(&mut self, machine: Machine) {
        self.trace.note("killed:", 0, &[], || format!("{machine:?}"));
        match machine {
            Machine::Agent(at) => self.agents[at].kill().await,
            Machine::Gateway => {
                self.host.kill();
                self.network.gateway_gone(&mut self.random);
            }
        }
        self.stay_off(machine);
    }

    fn stay_off(&mut self, machine: Machine) {
        let longest = if self.random.random_bool(0.8) { 500_000 } else { 6_000_000 };
        let until = self.now + self.random.random_range(0..longest);
        self.off.push(Off { machine, until });
    }

    /// Starts a machine, on a disk that works.
    fn start(&mut self, machine: Machine) {
        let disk = self.disk(machine).clone();
        [Fault::Write, Fault::Sync].into_iter().for_each(|fault| disk.fail_sometimes(fault, 0));
        let started = match machine {
            Machine::Agent(at) => self.agents[at].start(),
            Machine::Gateway => self.host.start(),
        };
        self.trace.note("starts:", 0, &[u8::from(started.is_ok())], || format!("{machine:?} {started:?}"));
        match started {
            Ok(()) => {}
            // What was told to fail once may fail a start; the next one works.
            Err(why) if why.starts_with("nobody") => self.judge.wrong(format!("{machine:?}: {why}")),
            Err(_) => return self.off.push(Off { machine, until: self.now + STEP }),
        }
        match (machine, &self.host.life) {
            (Machine::Gateway, Some(gateway)) => self.judge.restarted(gateway.topics()),
            (Machine::Agent(at), _) if self.agents[at].drops() => {
                let own = self.places.iter().filter(|place| place.agent == at).map(|place| place.board.plan.name);
                self.may_drop.extend(own);
            }
            _ => {}
        }
    }

    pub(crate) fn disk(&self, machine: Machine) -> &FaultyFs {
        match machine {
            Machine::Agent(at) => &self.agents[at].disk,
            Machine::Gateway => &self.host.disk,
        }
    }

    pub(crate) fn is_on(&self, machine: Machine) -> bool {
        self.off.iter().all(|off| off.machine != machine) && self.dying.iter().all(|dying| dying.machine != machine)
    }

    /// Consumers read what there is, then retention takes what it may.
    pub(crate) fn retain(&mut self) {
        // Nobody reads from a disk whose power is about to go.
        if !self.is_on(Machine::Gateway) {
            return;
        }
        self.read();
        if let Some(gateway) = &mut self.host.life {
            let gone = gateway.retain();
            self.trace.note("retention", gone as u64, &[], String::new);
        }
    }

    fn read(&mut self) {
        let Some(gateway) = &self.host.life else { return };
        let places = &self.places;
        let handed_out = |device: &DeviceId, restart: Restart, sequence: u64| {
            let place = places.iter().find(|place| place.board.plan.name == *device)?;
            place.board.handed_out(restart, sequence)
        };
        self.judge.read(gateway.topics(), handed_out);
    }

    /// Everything is well from here on.
    fn end_trouble(&mut self) {
        self.trace.note("trouble is over", 0, &[], String::new);
        self.network.heal();
        self.agents.iter_mut().for_each(|agent| agent.plan.pace = QUICK);
        self.host.plan.pace = QUICK;
        // What had not come to it yet would fail long afterwards.
        self.agents.iter().map(|agent| &agent.disk).chain([&self.host.disk]).for_each(FaultyFs::heal);
        for place in &mut self.places {
            place.cable.noise = Noise::default();
            if place.plugged_at.is_some() {
                place.plugged_at = Some(self.now);
            }
        }
        for off in &mut self.off {
            off.until = self.now;
        }
        for (_, until) in &mut self.full {
            *until = self.now;
        }
    }

    fn is_busy(&self) -> bool {
        let boards = self.places.iter().any(|place| !place.board.is_drained());
        let agents = self.agents.iter().any(|agent| !agent.is_drained());
        boards || agents || !self.host.is_idle()
    }

    fn why_busy(&self) -> String {
        let boards = self.places.iter().filter(|place| !place.board.is_drained());
        let boards = boards.map(|place| format!("{} holds {:?}", place.board.plan.name, place.board.running()));
        let agents = self.agents.iter().filter(|agent| !agent.is_drained());
        let agents = agents.map(|agent| format!("{}: {}", agent.plan.name, agent.holding()));
        let gateway = (!self.host.is_idle()).then(|| "the gateway has something to commit, or to count".to_owned());
        boards.chain(agents).chain(gateway).collect::<Vec<_>>().join("\n")
    }

    fn judgement(&mut self) -> Judgement {
        for place in &self.places {
            if let Some(running) = place.board.running() {
                self.ledger.sampled(place.board.plan.name, running.restart, running.next.0);
            }
        }
        self.read();
        let mut judge = std::mem::take(&mut self.judge);
        for place in &self.places {
            judge.evicted(place.board.plan.name, place.board.evicted());
        }
        judge.conclude(&self.ledger, &self.may_drop)
    }
}

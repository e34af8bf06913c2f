//! Random batches, random faults, random power cuts: after each run a full scan of the log must agree with
//! what the agents were told.
//!
//! `WEIR_SEED=17` replays one run; `WEIR_SEEDS=3000` makes that many, else there are 240.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use weir_protocol::batch::{LossKind, RunBuilder};
use weir_protocol::{DeviceId, Restart};
use weir_storage::fs::Fault;
use weir_storage::{Batch, FaultyFs, JournalOptions, LogOptions};

use super::super::{Event, IngestOptions, Retention, Verdict};
use super::log_content::Identity;
use super::model::{Model, Said};
use super::payloads::*;
use super::rot::Archive;
use super::routing::route;
use super::{Gateway, Peer};
use crate::topics::Format;
use crate::topics::layout::{Defined, Routing};

pub(super) const DEVICES: [&str; 3] = ["probe", "gauge", "meter"];
const AGENTS: [&str; 3] = ["north", "south", "west"];
pub(super) const SEQUENCES: u64 = 60;

pub(super) fn seeds(count: u64) -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    match number("WEIR_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("WEIR_SEEDS").unwrap_or(count)).collect(),
    }
}

#[test]
fn whatever_happens_the_log_agrees_with_what_the_agents_were_told() {
    for seed in seeds(240) {
        println!("WEIR_SEED={seed}");
        Run::new(seed).run();
    }
}

/// A loss whose record was damaged was counted once more, as damage; then the power went, and the journal, which still
/// held the first record, wrote it back: two losses of the same sequences. The journal is void before damage is counted.
#[test]
fn what_was_counted_as_damage_is_not_brought_back_by_the_journal() {
    // As it was found: the same steps.
    Run { redrives: false, ..Run::with(1623, Dealing::One) }.run();
}

/// An agent: what it sent and was not told about.
struct Agent {
    peer: Option<Peer>,
    waiting: BTreeMap<u64, (Vec<u8>, Said)>,
    /// To be sent again, because a connection ended.
    backlog: Vec<(Vec<u8>, Said)>,
}

pub(super) struct Run {
    pub(super) random: StdRng,
    gateway: Option<Gateway>,
    with_journal: bool,
    dealing: Dealing,
    /// Dead letters are tried again now and then.
    redrives: bool,
    /// A group in the committer's hands.
    writing: Option<Vec<(usize, Batch)>>,
    agents: Vec<Agent>,
    pub(super) model: Model,
    /// What a consumer read before retention removed it.
    pub(super) archive: Archive,
}

/// How readings are dealt out to topics in a run. The topics are the same at every start; the routes may change.
#[derive(Clone, Copy, Debug)]
enum Dealing {
    /// All to `readings`, and there are no others.
    One,
    /// Each device to a topic of its own: shares are exact.
    ByDevice,
    /// By channel, so that no topic has sequences in a row, and a share of more than three ranges is coarse.
    ByChannel,
    /// Any way, another one at every start.
    Changing,
}

impl Dealing {
    fn of(seed: u64) -> Self {
        [Self::One, Self::ByDevice, Self::ByChannel, Self::Changing][(seed / 2 % 4) as usize]
    }

    fn routing(self, random: &mut StdRng) -> Routing {
        let by_device = || vec![route("one", Some("pro*"), None), route("two", Some("gauge"), None)];
        let by_channel = || vec![route("one", None, Some("temp*")), route("two", None, Some("*o*"))];
        let routes = match self {
            Self::One => return Routing::default(),
            Self::ByDevice => by_device(),
            Self::ByChannel => by_channel(),
            Self::Changing => match random.random_range(0..3) {
                0 => Vec::new(),
                1 => by_device(),
                _ => by_channel(),
            },
        };
        let one = Defined { partitions: Some(3), ..Defined::default() };
        let two = Defined { format: Some(Format::Json), ..Defined::default() };
        Routing { routes, stores: Vec::new(), defined: [("one".to_owned(), one), ("two".to_owned(), two)].into() }
    }
}

fn options(with_journal: bool, routing: Routing) -> IngestOptions {
    let mut options = plain_options(with_journal);
    options.routing = routing;
    options.limits.ranges_per_share = 3;
    options
}

fn plain_options(with_journal: bool) -> IngestOptions {
    // Two partitions and small segments: more collisions, more rolls.
    IngestOptions {
        partitions: 2,
        log: LogOptions { segment_bytes: 256, ..IngestOptions::default().log },
        retention: Retention { bytes: Some(16 << 10), age: None },
        journal: with_journal.then_some(JournalOptions { bytes: weir_storage::journal::MIN_BYTES, salt: 7 }),
        ..IngestOptions::default()
    }
}

impl Run {
    fn new(seed: u64) -> Self {
        Self::with(seed, Dealing::of(seed))
    }

    fn with(seed: u64, dealing: Dealing) -> Self {
        // Every other run; then a group over several logs is one commit.
        let with_journal = seed % 2 == 1;
        let mut random = StdRng::seed_from_u64(seed);
        let routing = dealing.routing(&mut random);
        let agent = |_| Agent { peer: None, waiting: BTreeMap::new(), backlog: Vec::new() };
        Self {
            random,
            gateway: Some(Gateway::on(FaultyFs::new(seed), options(with_journal, routing))),
            with_journal,
            dealing,
            redrives: true,
            writing: None,
            agents: AGENTS.iter().map(agent).collect(),
            model: Model::default(),
            archive: Archive::default(),
        }
    }

    fn run(mut self) {
        for _ in 0..self.random.random_range(60..300) {
            self.step();
        }
        self.finish();
    }

    fn step(&mut self) {
        let at = self.random.random_range(0..AGENTS.len());
        match self.random.random_range(0..100) {
            0..38 => self.send(at),
            38..41 => self.disconnect(at),
            41..43 => self.gateway().pass(Duration::from_secs(3)),
            43..80 => self.commit(),
            80..84 => {
                let fault = if self.random.random() { Fault::Sync } else { Fault::Write };
                self.gateway().fs.fail_once(fault);
            }
            84..87 => {
                let free = self.random.random_range(0..20_000);
                let full = self.random.random();
                let fs = &self.gateway().fs;
                fs.set_capacity(if full { Some(fs.used_bytes() + free) } else { None });
            }
            87..90 => self.power_cut(),
            92 => self.retain(),
            93..96 => self.rot(),
            91 if self.redrives => self.redrive(),
            96 => self.spoil_checkpoint(),
            97 => {
                // A stop, and the checkpoints that it writes.
                let _ = self.gateway().keep();
                self.gateway().engine.snapshot_all();
                let _ = self.gateway().keep();
            }
            98 => {
                // A checkpoint that the power cuts off.
                let operations = self.random.random_range(0..12);
                self.gateway().fs.fail_power_after(operations);
                let _ = self.gateway().keep();
                self.retain();
                self.power_cut();
            }
            90..92 => {
                let operations = self.random.random_range(0..12);
                self.gateway().fs.fail_power_after(operations);
                self.commit();
                self.commit();
                self.power_cut();
            }
            _ => self.listen(),
        }
    }

    pub(super) fn gateway(&mut self) -> &mut Gateway {
        self.gateway.as_mut().expect("runs")
    }

    /// Connects if need be, and sends something new or something again.
    fn send(&mut self, at: usize) {
        self.connect(at);
        let again = self.random.random_range(0..3) == 0;
        let (payload, said) = match self.agents[at].backlog.pop() {
            Some(backlog) if again || self.random.random() => backlog,
            Some(backlog) => {
                self.agents[at].backlog.push(backlog);
                self.random_batch()
            }
            None => self.random_batch(),
        };
        self.model.send(&said);
        let (Some(gateway), Some(peer)) = (&mut self.gateway, &mut self.agents[at].peer) else { return };
        let ticket = gateway.send(peer, payload.clone());
        self.agents[at].waiting.insert(ticket, (payload, said));
    }

    fn connect(&mut self, at: usize) {
        if self.agents[at].peer.is_none() {
            let gateway = self.gateway.as_mut().expect("runs");
            self.agents[at].peer = Some(gateway.connect(AGENTS[at]));
        }
    }

    fn random_batch(&mut self) -> (Vec<u8>, Said) {
        if self.random.random_range(0..12) == 0 { self.random_position() } else { self.random_sections() }
    }

    /// A batch of up to three sections over any devices and sequences: they overlap all the time.
    fn random_sections(&mut self) -> (Vec<u8>, Said) {
        let mut said = Said::default();
        let mut runs: Vec<RunBuilder> = Vec::new();
        let mut claims = Vec::new();
        for _ in 0..self.random.random_range(1..4) {
            let name = DEVICES[self.random.random_range(0..DEVICES.len())];
            let (device, restart) = (device(name), self.random.random_range(1..3));
            let start = self.random.random_range(0..SEQUENCES);
            let range = start..start + self.random.random_range(1..12);
            let identity = |sequence| -> Identity { (device, Restart(restart), sequence) };
            if self.random.random_range(0..4) == 0 {
                said.claimed.extend(range.clone().map(identity));
                // Every other one is no loss: an agent's rules left it out, and a reading that comes for it is a repeat.
                let kind = if start % 2 == 0 { LossKind::Ring } else { LossKind::Reduced };
                claims.push(claim(device, restart, range, kind));
                continue;
            }
            let poisoned = self.random.random_range(0..4) == 0;
            let bad = start + self.random.random_range(0..12);
            let is_bad = |sequence: u64| poisoned && (sequence == bad || sequence == bad + 2);
            runs.push(run_with(device, restart, range.clone(), |sequence| {
                is_bad(sequence).then(|| unknown_channel(sequence))
            }));
            for sequence in range {
                let set = if is_bad(sequence) { &mut said.invalid } else { &mut said.valid };
                set.insert(identity(sequence));
            }
        }
        let sections: Vec<_> = runs.iter().map(RunBuilder::section).chain(claims).collect();
        let payload = batch_of(&sections);
        if self.random.random_range(0..15) > 0 {
            return (payload, said);
        }
        // The body arrives damaged: everything in it becomes a dead letter.
        let invalid = said.valid.iter().chain(&said.invalid).chain(&said.claimed).copied().collect();
        (damaged_body(payload), Said { invalid, ..Said::default() })
    }

    /// Tries dead letters again, while everybody goes on; nobody waits for what comes of it.
    fn redrive(&mut self) {
        for (agent, format, original) in self.content().origins {
            if self.random.random() {
                let gateway = self.gateway();
                let mut peer = gateway.connect_retry(agent);
                gateway.retry(&mut peer, format, original);
            }
        }
    }

    /// Ends the commit under way, or begins one: meanwhile others send.
    fn commit(&mut self) {
        match self.writing.take() {
            Some(parts) => self.gateway().finish(parts),
            None => self.writing = self.gateway().engine.take_group(),
        }
        if self.random.random() {
            // What cannot be written is written later.
            let _ = self.gateway().keep();
        }
    }

    /// Ends the commit under way.
    pub(super) fn finish_commit(&mut self) {
        if let Some(parts) = self.writing.take() {
            self.gateway().finish(parts);
        }
    }

    /// Takes in what the agents were told.
    fn listen(&mut self) {
        for at in 0..self.agents.len() {
            self.listen_to(at);
        }
    }

    fn listen_to(&mut self, at: usize) {
        let (agent, model) = (&mut self.agents[at], &mut self.model);
        let Some(peer) = &mut agent.peer else { return };
        let mut refused = false;
        let mut asked: Vec<DeviceId> = Vec::new();
        let mut expected = agent.waiting.keys().copied().collect::<Vec<_>>().into_iter();
        for event in peer.events() {
            match event {
                Event::Ask(weir_protocol::batch::command::AgentCommand::Describe { device, .. }) => asked.push(device),
                Event::Outcomes(outcomes) => {
                    for outcome in outcomes {
                        let Some((payload, said)) = agent.waiting.remove(&outcome.ticket) else {
                            continue; // a description
                        };
                        assert_eq!(expected.next(), Some(outcome.ticket), "in the order of the messages");
                        model.note(&said, &outcome.verdict);
                        if outcome.verdict.is_refusal() {
                            assert!(!matches!(outcome.verdict, Verdict::Unreadable(_)), "{:?}", outcome.verdict);
                            agent.backlog.push((payload, said));
                            refused = true;
                        } else {
                            assert!(!refused, "a promise behind a refusal");
                        }
                    }
                }
            }
        }
        for device in asked {
            // Some descriptions never come.
            if self.random.random_range(0..4) > 0
                && let (Some(gateway), Some(peer)) = (&mut self.gateway, &mut self.agents[at].peer)
            {
                gateway.describe(peer, description(device));
            }
        }
        if refused {
            self.disconnect(at);
        }
    }

    fn disconnect(&mut self, at: usize) {
        let agent = &mut self.agents[at];
        let Some(peer) = agent.peer.take() else { return };
        self.gateway.as_mut().expect("runs").engine.disconnect(peer.id);
        agent.backlog.extend(std::mem::take(&mut agent.waiting).into_values());
    }

    /// Everybody hears what was said before, then the power goes.
    pub(super) fn power_cut(&mut self) {
        self.restart();
        let content = self.content();
        self.model.check(&content, value_of);
    }

    /// As [`Run::power_cut`], without a look at the log.
    pub(super) fn restart(&mut self) {
        self.listen();
        self.writing = None;
        for agent in &mut self.agents {
            agent.peer = None;
            agent.backlog.extend(std::mem::take(&mut agent.waiting).into_values());
        }
        if let Some(gateway) = self.gateway.take() {
            let survivor = gateway.fs.power_cut();
            survivor.set_capacity(None);
            drop(gateway);
            let routing = self.dealing.routing(&mut self.random);
            self.gateway = Some(Gateway::on(survivor, options(self.with_journal, routing)));
        }
    }

    /// No more faults: everybody sends everything again until all of it is acknowledged.
    fn finish(&mut self) {
        self.power_cut();
        let mut rounds = 0;
        while self.agents.iter().any(|agent| !agent.waiting.is_empty() || !agent.backlog.is_empty()) {
            for at in 0..self.agents.len() {
                self.connect(at);
                while let Some((payload, said)) = self.agents[at].backlog.pop() {
                    let (Some(gateway), Some(peer)) = (&mut self.gateway, &mut self.agents[at].peer) else { return };
                    let ticket = gateway.send(peer, payload.clone());
                    self.agents[at].waiting.insert(ticket, (payload, said));
                }
            }
            self.gateway().pass(Duration::from_secs(10));
            self.gateway().settle();
            self.listen();
            rounds += 1;
            assert!(rounds < 20, "it comes to an end");
        }
        let content = self.content();
        self.model.check(&content, value_of);
        self.model.check_counts(&content);
    }
}

fn value_of(sequence: u64) -> String {
    let value = match sample(sequence).value {
        weir_protocol::Value::Float(value) => serde_json::Value::from(value),
        weir_protocol::Value::Double(value) => value.into(),
        weir_protocol::Value::Integer(value) => value.into(),
        weir_protocol::Value::Boolean(value) => value.into(),
        weir_protocol::Value::Text(value) => value.into(),
    };
    value.to_string()
}

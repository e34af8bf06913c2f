//! An agent: the real intake, queue and uplink, on a disk that fails, with commits in steps.
//!
//! The uplink is the whole task, on the runtime's paused time. What `intake/task.rs` and `queue/keeper.rs` do around intake
//! and queue with channels and threads is done here by calls, in the same order: descriptions are durable before readings, one
//! commit is under way at a time, a failed one discards what was staged on top, and room is made before it runs out.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use weir_agent::config::Config;
use weir_agent::counters::Counters;
use weir_agent::intake::{Covered, Intake, LinkId};
use weir_agent::queue::{ClassId, Committed, Incarnation, Now, Policy, Queue, QueueOptions};
use weir_agent::uplink::budget::Budget;
use weir_agent::uplink::health::UplinkHealth;
use weir_agent::uplink::orders::Orders;
use weir_agent::uplink::{Drain, Uplink, UplinkOptions};
use weir_protocol::frame::{Decoder, MAX_FRAME};
use weir_protocol::serial::Down;
use weir_protocol::settings::Source;
use weir_storage::{FaultyFs, Fs};

use crate::clock::Clock;
use crate::damage::{self, Spoilt};

/// Where its files are.
const DATA: &str = "/agent";
/// Pauses after a commit that failed: the first, and the longest; as in the intake's task.
const RETRY: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];
/// How long a segment that must go, and may be in flight, waits for its acknowledgement; as in the intake's task.
const IN_FLIGHT: Duration = Duration::from_millis(500);

/// What an agent is like.
#[derive(Clone, Debug)]
pub(crate) struct AgentPlan {
    pub(crate) name: String,
    pub(crate) boards: usize,
    /// Bytes of the queue, and what it does when they are taken.
    pub(crate) cap: u64,
    pub(crate) policy: Policy,
    /// Publishes in flight.
    pub(crate) window: u16,
    pub(crate) batch_bytes: u64,
    /// Time between two checkpoints of the queue.
    pub(crate) checkpoint: Duration,
    /// How likely its disk is done with a step of a commit within one step of the world.
    pub(crate) pace: f64,
}

impl AgentPlan {
    fn config(&self) -> Config {
        let Self { name, window, batch_bytes, .. } = self;
        let settings = format!(
            "name = \"{name}\"\n[system]\nenabled = false\n[uplink]\naddress = \"gateway.example:1883\"\nwindow = {window}\n\
             batch_bytes = \"{batch_bytes} B\"\nack_timeout = \"5s\"\nprogress_timeout = \"20s\"\nstatus_interval = \"5s\"\n\
             position_interval = \"5s\"\nbacklog_delay = \"500ms\"\nbackoff_min = \"100ms\"\nbackoff_max = \"2s\"\n"
        );
        Config::of(&Source::new("simulated", &settings)).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// An agent, running or not.
pub(crate) struct Agent {
    pub(crate) plan: AgentPlan,
    pub(crate) disk: FaultyFs,
    pub(crate) clock: Clock,
    pub(crate) life: Option<Life>,
    config: Config,
    random: StdRng,
    incarnation: Incarnation,
    #[cfg(feature = "plant")]
    plant: Option<weir_agent::plant::Plant>,
}

/// An agent that runs.
pub(crate) struct Life {
    intake: Intake,
    queue: Arc<Queue>,
    decoders: Vec<Decoder<MAX_FRAME>>,
    attached: Vec<bool>,
    started: Instant,
    committed: watch::Sender<u64>,
    uplink: JoinHandle<()>,
    /// They close the way of the uplink when they go.
    _drain: watch::Sender<Drain>,
    _renewed: watch::Sender<u64>,
    under_way: Option<(Covered, Committed)>,
    /// Descriptions up to this revision are durable.
    described: u64,
    retry_at: Option<Instant>,
    failures: u32,
    drop_at: Option<Instant>,
    trim_at: Instant,
    /// The segment that was written when the state was saved last.
    trimmed_in: u64,
}

/// What one step of a commit came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// There is nothing to commit, or it is not the time.
    Idle,
    /// The commit returned; nobody was told.
    Committed,
    /// Devices were acknowledged.
    Acknowledged,
    /// It failed.
    Failed,
}

impl Agent {
    /// An agent that never ran.
    pub(crate) fn new(plan: AgentPlan, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let incarnation = Incarnation(random.random());
        Self {
            config: plan.config(),
            plan,
            disk: FaultyFs::new(seed),
            clock: Clock::new(),
            life: None,
            random,
            incarnation,
            #[cfg(feature = "plant")]
            plant: None,
        }
    }

    /// Plants a fault before the first start.
    #[cfg(feature = "plant")]
    pub(crate) fn plant(&mut self, plant: Option<crate::Plant>) {
        self.plant = plant.and_then(crate::Plant::of_agent);
        self.disk.lie(self.plant.and_then(weir_agent::plant::Plant::lie));
    }

    /// Starts it; an error says why it does not.
    pub(crate) fn start(&mut self) -> Result<(), String> {
        let fs: Arc<dyn Fs> = Arc::new(self.disk.clone());
        let options = QueueOptions { cap: self.plan.cap, policy: self.plan.policy, ..QueueOptions::default() };
        let (queue, recovered) =
            Queue::open(&fs, Path::new(DATA), options, self.incarnation).map_err(|error| error.to_string())?;
        if let Some(why) = recovered.state_damage.or(recovered.claims_damage) {
            return Err(format!("nobody damaged the disk: {why}"));
        }
        let (queue, counters) = (Arc::new(queue), Arc::new(Counters::default()));
        let clock = Arc::new(self.clock.clone());
        let mut random = || StdRng::seed_from_u64(self.random.random());
        let mut intake = Intake::new(queue.state(), queue.policies(), clock.clone(), random(), Arc::clone(&counters));
        (0..self.plan.boards).for_each(|line| intake.attach(link(line)));
        let (committed, is_committed) = watch::channel(queue.committed());
        let (drain, draining) = watch::channel(Drain::No);
        let (renewed, is_renewed) = watch::channel(0);
        let uplink = Uplink {
            options: UplinkOptions::of(&self.config),
            budget: Budget::unlimited(),
            health: Arc::new(UplinkHealth::default()),
            renewed: is_renewed,
            queue: Arc::clone(&queue),
            committed: is_committed,
            shipped: Arc::new(Notify::new()),
            drain: draining,
            clock,
            random: random(),
            counters: Arc::clone(&counters),
            orders: Orders::none(counters),
        };
        let now = Instant::now();
        self.life = Some(Life {
            intake,
            trimmed_in: 0,
            described: queue.state().lock().descriptions.revision(),
            queue,
            decoders: (0..self.plan.boards).map(|_| Decoder::default()).collect(),
            attached: vec![true; self.plan.boards],
            started: now,
            committed,
            uplink: tokio::spawn(uplink.run()),
            _drain: drain,
            _renewed: renewed,
            under_way: None,
            retry_at: None,
            failures: 0,
            drop_at: None,
            trim_at: now + self.plan.checkpoint,
        });
        Ok(())
    }

    /// Ends it as `kill -9` does: what was written is there.
    pub(crate) async fn kill(&mut self) {
        let Some(life) = self.life.take() else { return };
        life.uplink.abort();
        let _ = life.uplink.await;
    }

    /// The power goes: what was not synced is there in part, or not.
    pub(crate) async fn cut_power(&mut self) {
        // First, so that whatever still runs writes nothing to it.
        let survivor = self.disk.power_cut();
        self.kill().await;
        self.disk = survivor;
    }

    /// Bytes came on a line; a line that was closed opens.
    pub(crate) fn receive(&mut self, line: usize, mut bytes: &[u8]) {
        let Some(life) = &mut self.life else { return };
        if !life.attached[line] {
            return;
        }
        let rooms = life.queue.rooms();
        life.intake.set_rooms(rooms);
        while let Some(found) = life.decoders[line].feed(&mut bytes) {
            if let Ok(message) = found {
                life.intake.receive(link(line), message);
            }
        }
    }

    /// A line opens or closes.
    pub(crate) fn plug(&mut self, line: usize, plugged: bool) {
        let Some(life) = &mut self.life else { return };
        if life.attached[line] != plugged {
            life.attached[line] = plugged;
            life.decoders[line] = Decoder::default();
            if plugged { life.intake.attach(link(line)) } else { life.intake.detach(link(line)) }
        }
    }

    /// What it answers, by line.
    pub(crate) fn answers(&mut self) -> Vec<(usize, Down)> {
        let replies = self.life.as_mut().map(|life| life.intake.take_replies()).unwrap_or_default();
        replies.into_iter().map(|(LinkId(line), down)| (line as usize, down)).collect()
    }

    /// The next step of a commit.
    pub(crate) fn step_commit(&mut self) -> Step {
        let Some(life) = &mut self.life else { return Step::Idle };
        if let Some((covered, committed)) = life.under_way.take() {
            let done = life.intake.committed(&covered, &committed);
            life.committed.send_replace(life.queue.committed());
            return match done {
                Ok(()) => {
                    life.failures = 0;
                    Step::Acknowledged
                }
                Err(_) => life.failed(),
            };
        }
        if life.retry_at.is_some_and(|at| at > Instant::now()) || !life.intake.has_staged() {
            return Step::Idle;
        }
        life.retry_at = None;
        let revision = life.queue.state().lock().descriptions.revision();
        if revision != life.described {
            if life.queue.save().is_err() {
                return life.failed();
            }
            life.described = revision;
        }
        let Some(staged) = life.intake.take_stage(Vec::new()) else { return Step::Idle };
        #[cfg(feature = "plant")]
        weir_agent::plant::acknowledge_before_sync(self.plant, &mut life.intake, &staged.covered.marks);
        let (sender, done) = std::sync::mpsc::channel();
        let submitted = life.queue.submit(staged.entries, move |committed| drop(sender.send(committed)));
        match (submitted, done.recv()) {
            (Ok(()), Ok(committed)) => {
                life.under_way = Some((staged.covered, committed));
                Step::Committed
            }
            _ => panic!("the committer of the queue died"),
        }
    }

    /// Makes room and checkpoints, when it is time for it; whether it wrote anything.
    pub(crate) fn keep(&mut self) -> bool {
        let now = self.clock.now().as_millis();
        let checkpoint = self.plan.checkpoint;
        let Some(life) = &mut self.life else { return false };
        let _ = life.intake.tick(life.started.elapsed());
        let mut wrote = false;
        if life.queue.wants_room() {
            let patience = if life.queue.front_is_in_flight() { IN_FLIGHT } else { Duration::ZERO };
            let at = *life.drop_at.get_or_insert(Instant::now() + patience);
            if at <= Instant::now() {
                // A disk that fails keeps more than it must, no less.
                let dropped = life.queue.make_room();
                let pause = match dropped {
                    Ok(dropped) if dropped.segments > 0 => None,
                    _ => Some(Instant::now() + RETRY[0]),
                };
                life.drop_at = pause;
                wrote = true;
            }
        } else {
            life.drop_at = None;
        }
        let segment = life.queue.reader(ClassId::DEFAULT).segments().last().map_or(0, |segment| segment.base_offset);
        if life.trim_at <= Instant::now() || segment != life.trimmed_in {
            life.trimmed_in = segment;
            life.trim_at = Instant::now() + checkpoint;
            life.queue.age(Now { elapsed: life.started.elapsed(), wall_ms: now });
            // The same.
            let _ = life.queue.trim();
            wrote = true;
        }
        wrote
    }

    /// Whether its queue drops what does not fit.
    pub(crate) fn drops(&self) -> bool {
        self.plan.policy != Policy::Block
    }

    /// Whether it holds nothing that the gateway does not have.
    pub(crate) fn is_drained(&self) -> bool {
        self.life
            .as_ref()
            .is_some_and(|life| life.under_way.is_none() && !life.intake.has_staged() && life.queue.is_empty())
    }

    /// A bit of its queue flips; what it may cost.
    pub(crate) fn spoil(&self, random: &mut StdRng) -> Option<Spoilt> {
        damage::of_queue(&self.disk, Path::new(DATA), &self.life.as_ref()?.queue, random)
    }

    /// What it holds, in words.
    pub(crate) fn holding(&self) -> String {
        let Some(life) = &self.life else { return "it does not run".to_owned() };
        let state = life.queue.state();
        let state = state.lock();
        let logs = life.queue.ids().map(|class| {
            let reader = life.queue.reader(class);
            format!("{}..{}, shipped {:?}", reader.start_offset(), reader.end_offset(), state.of(class).shipped)
        });
        format!("queue {}, {} claims beside it", logs.collect::<Vec<_>>().join("; "), state.claims.sequences())
    }
}

impl Life {
    fn failed(&mut self) -> Step {
        self.intake.failed();
        let pause = RETRY[0].saturating_mul(1 << self.failures.min(16)).min(RETRY[1]);
        self.failures += 1;
        self.retry_at = Some(Instant::now() + pause);
        Step::Failed
    }
}

fn link(line: usize) -> LinkId {
    LinkId(line as u64)
}

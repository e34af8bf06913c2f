//! The rules of the intake and a queue on a faulty disk, without tasks: every step is the test's.

use std::path::Path;
use std::sync::{Arc, mpsc};

use rand::SeedableRng;
use rand::rngs::StdRng;
use weir_agent::config::Config;
use weir_agent::counters::{Counters, Event};
use weir_agent::intake::{Intake, LinkId};
use weir_agent::processing::{Rules, Tap};
use weir_agent::queue::{Committed, Entries, Incarnation, Policy, Queue, QueueOptions, Recovered};
use weir_protocol::items;
use weir_protocol::serial::{Down, Up};
use weir_protocol::settings::Source;
use weir_storage::{FaultyFs, Fs};

use super::StoppedClock;
use super::kept::{Kept, records};

pub(crate) const LINE: LinkId = LinkId(1);
pub(crate) const OTHER_LINE: LinkId = LinkId(2);

pub(crate) struct Desk {
    pub(crate) intake: Intake,
    pub(crate) queue: Queue,
    pub(crate) recovered: Recovered,
    pub(crate) counters: Arc<Counters>,
    pub(crate) tap: Tap,
}

impl Desk {
    /// Opens what is on the disk, with both lines attached.
    pub(crate) fn open(disk: &FaultyFs) -> Self {
        Self::with_policy(disk, Policy::Block)
    }

    pub(crate) fn with_policy(disk: &FaultyFs, policy: Policy) -> Self {
        Self::with_cap(disk, policy, 1 << 20)
    }

    pub(crate) fn with_cap(disk: &FaultyFs, policy: Policy, cap: u64) -> Self {
        Self::with_options(disk, QueueOptions { cap, policy, ..QueueOptions::default() })
    }

    /// The same with the rules and the classes of these settings; each life has a seed of its own.
    pub(crate) fn with_rules(disk: &FaultyFs, settings: &str, seed: u64) -> Self {
        let config = Config::of(&Source::new("rules", settings)).unwrap_or_else(|error| panic!("{error}"));
        let mut desk = Self::seeded(disk, QueueOptions::of(&config).expect("no key"), seed);
        let rules = Rules::of(&config.process, |class| config.queue.class_named(class));
        let classes: Vec<_> = desk.queue.ids().map(|class| (desk.queue.name(class), class)).collect();
        desk.intake = desk.intake.with_rules(rules, desk.tap.clone(), classes);
        desk
    }

    pub(crate) fn with_options(disk: &FaultyFs, options: QueueOptions) -> Self {
        Self::seeded(disk, options, 1)
    }

    fn seeded(disk: &FaultyFs, options: QueueOptions, seed: u64) -> Self {
        let fs: Arc<dyn Fs> = Arc::new(disk.clone());
        let (queue, recovered) =
            Queue::open(&fs, Path::new("/agent"), options, Incarnation(7)).expect("the queue opens");
        let counters = Arc::new(Counters::default());
        let random = StdRng::seed_from_u64(seed);
        let mut intake =
            Intake::new(queue.state(), queue.policies(), Arc::new(StoppedClock), random, Arc::clone(&counters));
        for line in [LINE, OTHER_LINE] {
            intake.attach(line);
        }
        assert_eq!(intake.take_replies(), [(LINE, Down::HelloRequest), (OTHER_LINE, Down::HelloRequest)]);
        Self { intake, queue, recovered, counters, tap: Tap::default() }
    }

    /// A message comes in on the first line.
    pub(crate) fn hears(&mut self, up: &Up<'_>) {
        self.hears_on(LINE, up);
    }

    pub(crate) fn hears_on(&mut self, line: LinkId, up: &Up<'_>) {
        let mut bytes = Vec::new();
        items::push(&mut bytes, up);
        self.intake.receive(line, &bytes);
    }

    /// Commits what is staged; whether that succeeded.
    pub(crate) fn commits(&mut self) -> bool {
        let Some(staged) = self.intake.take_stage(Vec::new()) else { return true };
        let committed = self.writes(staged.entries);
        self.intake.committed(&staged.covered, &committed).is_ok()
    }

    /// Makes entries durable, of which the intake knows nothing yet.
    pub(crate) fn writes(&self, entries: Entries) -> Committed {
        let (sender, done) = mpsc::channel();
        self.queue
            .submit(entries, move |committed| sender.send(committed).expect("somebody waits"))
            .expect("a running committer");
        done.recv().expect("an answer")
    }

    /// What was answered on the first line since the last call.
    pub(crate) fn answers(&mut self) -> Vec<Down> {
        self.intake.take_replies().into_iter().filter(|(line, _)| *line == LINE).map(|(_, down)| down).collect()
    }

    /// What is in the queue.
    pub(crate) fn kept(&self) -> Vec<Kept> {
        records(&self.queue).into_values().collect()
    }

    /// What waits beside the log.
    pub(crate) fn claimed(&self) -> Vec<Kept> {
        self.queue.state().lock().claims.sections(usize::MAX).iter().map(Kept::of).collect()
    }

    pub(crate) fn count(&self, event: Event) -> u64 {
        self.counters.get(event)
    }
}

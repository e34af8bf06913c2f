//! An intake with its queue on a disk in memory, for the sources that feed it.

use std::path::Path;
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::task::JoinHandle;
use weir_agent::config::Config;
use weir_agent::counters::{Counters, Event};
use weir_agent::intake::Intake;
use weir_agent::intake::task::{Handle, Task};
use weir_agent::processing::{Rules, Tap};
use weir_agent::queue::{Incarnation, Queue, QueueOptions};
use weir_protocol::settings::Source;
use weir_storage::{FaultyFs, Fs};

use super::StoppedClock;
use super::kept::{Kept, records};
use super::wait::until;

pub(crate) struct Office {
    pub(crate) queue: Arc<Queue>,
    pub(crate) counters: Arc<Counters>,
    task: JoinHandle<()>,
}

impl Office {
    pub(crate) fn open(disk: &FaultyFs) -> (Self, Handle) {
        Self::with_rules(disk, "")
    }

    /// The same with the queue and the rules of these settings.
    pub(crate) fn with_rules(disk: &FaultyFs, settings: &str) -> (Self, Handle) {
        let config = Config::of(&Source::new("rules", settings)).unwrap_or_else(|error| panic!("{error}"));
        let fs: Arc<dyn Fs> = Arc::new(disk.clone());
        let options = QueueOptions { cap: 1 << 20, ..QueueOptions::of(&config).expect("no key") };
        let (queue, _) = Queue::open(&fs, Path::new("/agent"), options, Incarnation(1)).expect("it opens");
        let (queue, counters) = (Arc::new(queue), Arc::new(Counters::default()));
        let random = StdRng::seed_from_u64(1);
        let intake =
            Intake::new(queue.state(), queue.policies(), Arc::new(StoppedClock), random, Arc::clone(&counters));
        let intake = intake.with_rules(Rules::of(&config.process, |_| None), Tap::default(), []);
        let (task, handle, _) = Task::new(intake, Arc::clone(&queue), Arc::clone(&counters), Arc::default());
        (Self { queue, counters, task: tokio::spawn(task.run()) }, handle)
    }

    /// Waits until this has happened.
    pub(crate) async fn sees(&self, event: Event) {
        until(event.name(), || (self.counters.get(event) > 0).then_some(())).await;
    }

    /// Waits for the end, once nobody has a handle.
    pub(crate) async fn ends(self) -> Arc<Queue> {
        self.task.await.expect("a good end");
        self.queue
    }

    /// Waits for the end, once nobody has a handle; what is in the queue.
    pub(crate) async fn closes(self) -> Vec<Kept> {
        self.task.await.expect("a good end");
        records(&self.queue).into_values().collect()
    }
}

//! An agent that runs with one set of settings: how its parts are opened and joined, and how they end.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use weir_protocol::DeviceId;

use super::{RunError, Shutdown};
use crate::Environment;
use crate::config::Config;
use crate::counters::Counters;
use crate::health::Health;
use crate::identity::Store;
use crate::identity::renewal::Renewal;
use crate::intake::Intake;
use crate::intake::task::{Handle, Task};
use crate::local::{self, Local, View};
use crate::processing::{Rules, Tap};
use crate::queue::{Incarnation, Queue, QueueOptions, Recovered, keeper};
use crate::remote::Hooks;
use crate::source::Sources;
use crate::uplink::budget::{Budget, BudgetOptions};
use crate::uplink::{Drain, Uplink, UplinkOptions};

/// How long a reload waits for the uplink to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);
/// How long a reload waits for the queue.
pub(super) const CLOSE: Duration = Duration::from_secs(30);
/// Time between two looks at it.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What stays the same while settings change.
pub(super) struct Given<'g> {
    /// When the agent started.
    pub started: Instant,
    pub environment: &'g mut Environment,
    pub counters: &'g Arc<Counters>,
    pub remote: &'g Hooks,
    pub health: &'g Arc<Health>,
    #[cfg(feature = "plant")]
    pub plant: Option<crate::plant::Plant>,
}

impl Given<'_> {
    /// What the local port shows.
    fn view(&self, config: &Config, queue: &Arc<Queue>, tap: &Tap) -> View {
        View {
            agent: config.name,
            queue: Arc::clone(queue),
            counters: Arc::clone(self.counters),
            health: Arc::clone(self.health),
            clock: Arc::clone(&self.environment.clock),
            started: self.started,
            progress_timeout: config.uplink.progress_timeout.get_ref().0,
            tap: tap.clone(),
            written: Arc::clone(&config.written),
            overlay: config.overlay,
            desk: Arc::clone(&self.remote.desk),
        }
    }

    /// The intake with the rules of the settings, how it is spoken to, and how far it committed.
    fn intake(
        &mut self,
        config: &Config,
        queue: &Arc<Queue>,
        tap: Tap,
        room: &Arc<Notify>,
    ) -> (Task, Handle, watch::Receiver<u64>) {
        let (random, clock) = (self.environment.fork_random(), Arc::clone(&self.environment.clock));
        let rules = Rules::of(&config.process, |class| config.queue.class_named(class));
        let classes = queue.ids().map(|class| (queue.name(class), class));
        let intake = Intake::new(queue.state(), queue.policies(), clock, random, Arc::clone(self.counters))
            .with_rules(rules, tap, classes)
            .with_own(DeviceId(config.name.0), self.remote.restarts());
        let (task, handle, committed) =
            Task::new(intake, Arc::clone(queue), Arc::clone(self.counters), Arc::clone(room));
        #[cfg(feature = "plant")]
        let task = task.with_plant(self.plant);
        (task, handle, committed)
    }

    /// Looks after the certificate; what is told when it is another one.
    fn renewal(&mut self, config: &Config) -> (JoinHandle<()>, watch::Receiver<u64>) {
        let (renewed, is_renewed) = watch::channel(0);
        let renewal = Renewal {
            store: Store::of(&config.data_dir),
            proxy: config.uplink.proxy.as_ref().map(|proxy| proxy.get_ref().clone()),
            clock: Arc::clone(&self.environment.clock),
            random: self.environment.fork_random(),
            counters: Arc::clone(self.counters),
            renewed,
        };
        (tokio::spawn(renewal.run()), is_renewed)
    }
}

/// An agent that runs with one set of settings.
pub(super) struct Running {
    queue: Arc<Queue>,
    intake: JoinHandle<()>,
    /// None once the sources are stopped. Held here too: an agent without a source still has a queue to ship.
    pub(super) handle: Option<Handle>,
    sources: Sources,
    uplink: JoinHandle<()>,
    drain: watch::Sender<Drain>,
    renewal: JoinHandle<()>,
    keeper: JoinHandle<()>,
    stop_keeper: watch::Sender<()>,
    local: local::Serving,
}

impl Running {
    /// Opens the queue and starts everything.
    pub(super) fn start(config: &Config, given: &mut Given<'_>) -> Result<Self, RunError> {
        let environment = &mut *given.environment;
        let incarnation = Incarnation(environment.random.random());
        let (queue, recovered) =
            Queue::open(&environment.fs, &config.data_dir, QueueOptions::of(config)?, incarnation)?;
        report(&queue, &recovered);
        let (fs, now) = (&environment.fs, environment.clock.now());
        let budget = Budget::open(fs, &config.data_dir, BudgetOptions::of(config), now)?;
        let local = Local::open(config)?;
        // Nothing fails from here on.
        let queue = Arc::new(queue);
        let (shipped, room) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let tap = Tap::default();
        let local = local.serve(&given.view(config, &queue, &tap));
        let (task, handle, committed) = given.intake(config, &queue, tap, &room);
        let intake = tokio::spawn(task.run());
        let Given { environment, counters, health, remote, .. } = given;
        let sources = Sources::start(config, environment, &handle, counters, health, remote.source(config));
        let (renewal, renewed) = given.renewal(config);
        let (drain, draining) = watch::channel(Drain::No);
        let uplink = Uplink {
            budget,
            health: Arc::clone(&given.health.uplink),
            renewed,
            options: UplinkOptions::of(config),
            queue: Arc::clone(&queue),
            committed,
            shipped: Arc::clone(&shipped),
            drain: draining,
            clock: Arc::clone(&given.environment.clock),
            random: given.environment.fork_random(),
            counters: Arc::clone(given.counters),
            orders: given.remote.orders(config),
        };
        let uplink = tokio::spawn(uplink.run());
        let (stop_keeper, keeper_stop) = watch::channel(());
        let checkpoint = config.queue.checkpoint.get_ref().0;
        let (counters, clock) = (Arc::clone(given.counters), Arc::clone(&given.environment.clock));
        let keeping = keeper::keep(Arc::clone(&queue), checkpoint, clock, shipped, room, counters, keeper_stop);
        let keeper = tokio::spawn(keeping);
        Ok(Self { queue, intake, handle: Some(handle), sources, uplink, drain, renewal, keeper, stop_keeper, local })
    }

    /// Waits for a part that ends although it must not; which.
    pub(super) async fn ended(&mut self) -> &'static str {
        tokio::select! {
            _ = &mut self.intake => "the intake",
            _ = &mut self.uplink => "the uplink",
        }
    }

    /// Ends the sources; what they sent is committed and acknowledged.
    async fn stop_sources(&mut self) {
        drop(self.handle.take());
        self.sources.stop().await;
        let _ = (&mut self.intake).await;
    }

    /// The end of the agent: ships what is in the queue for at most `patience`.
    pub(super) async fn drain(mut self, patience: Duration, shutdown: &mut watch::Receiver<Shutdown>) {
        let draining = async {
            self.stop_sources().await;
            self.drain.send_replace(Drain::Empty);
            let _ = (&mut self.uplink).await;
        };
        tokio::select! {
            () = draining => tracing::info!("stopped; the gateway has everything"),
            () = tokio::time::sleep(patience) => tracing::info!("stopped; the rest is kept on disk"),
            _ = shutdown.wait_for(|shutdown| *shutdown == Shutdown::Now) => return,
        }
        self.uplink.abort();
        self.renewal.abort();
        drop(self.stop_keeper);
        let _ = self.keeper.await;
        // Last, so that a stop can be watched.
        self.local.end().await;
    }

    /// The end of these settings: the queue keeps everything, and is closed. A disk that takes nothing for `patience`
    /// holds nothing up; devices send again what was not acknowledged.
    pub(super) async fn leave(mut self, patience: Duration) -> Result<(), RunError> {
        let _ = tokio::time::timeout(patience, self.stop_sources()).await;
        self.sources.shutdown().await;
        self.drain.send_replace(Drain::Leave);
        let _ = tokio::time::timeout(GOODBYE, &mut self.uplink).await;
        for task in [&mut self.intake, &mut self.uplink, &mut self.renewal] {
            task.abort();
            if !task.is_finished() {
                let _ = task.await;
            }
        }
        drop(self.stop_keeper);
        let _ = self.keeper.await;
        self.local.end().await;
        close(self.queue).await
    }
}

/// Waits until nobody works on the queue any more, and closes it.
async fn close(queue: Arc<Queue>) -> Result<(), RunError> {
    let released = async {
        // A thread that makes room or saves the state ends by itself; nobody says so.
        while Arc::strong_count(&queue) > 1 {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    if tokio::time::timeout(CLOSE, released).await.is_err() {
        return Err(RunError::Held);
    }
    // The thread of the commits is waited for.
    let _ = tokio::task::spawn_blocking(move || drop(queue)).await;
    Ok(())
}

/// Says what opening the queue found.
fn report(queue: &Queue, recovered: &Recovered) {
    let incarnation = queue.state().lock().incarnation;
    tracing::info!(%incarnation, replayed = recovered.replayed, "queue opened");
    for class in queue.ids() {
        let (start, end) = (queue.reader(class).start_offset(), queue.reader(class).end_offset());
        tracing::info!(class = %queue.name(class), start, end, "class opened");
    }
    if let Some(reason) = &recovered.state_damage {
        tracing::warn!(reason, "the state file cannot be believed; everything in the queue is shipped again");
    }
    if let Some(reason) = &recovered.claims_damage {
        tracing::error!(reason, "the file of the claims cannot be believed; what they named is lost, unaccounted");
    }
    for damage in recovered.logs.iter().flat_map(|log| &log.damage) {
        tracing::error!(%damage, "the queue is damaged; these readings are lost, unaccounted");
    }
}

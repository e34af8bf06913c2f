//! The agent as a whole: open, wire, run, drain; and again with other settings.
//!
//! Everything that can fail at start fails before a line is opened or a connection made. The order of a stop:
//! sources end, the intake commits and acknowledges what they sent, the uplink ships what is in the queue, as
//! far as the time for draining goes; what remains is on disk.
//!
//! A reload is a stop and a start in one process: sources end, the intake commits and acknowledges what they sent, the
//! uplink says goodbye, the queue is closed, and everything opens again with the new settings; if that fails, with
//! those before. What was in flight is sent again, and is a repeat if it was stored. Counters go on.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use weir_storage::IoError;

use crate::Environment;
use crate::config::Config;
use crate::counters::Counters;
use crate::health::Health;
use crate::http::ListenError;
use crate::identity::Store;
use crate::identity::renewal::Renewal;
use crate::intake::Intake;
use crate::intake::task::{Handle, Task};
use crate::local::{self, Local, View};
use crate::processing::{Rules, Tap};
use crate::queue::{Incarnation, Queue, QueueError, QueueOptions, Recovered, keeper};
use crate::reload::Reload;
use crate::remote::Hooks;
use crate::service;
use crate::source::Sources;
use crate::uplink::budget::{Budget, BudgetOptions};
use crate::uplink::{Drain, Uplink, UplinkOptions};

/// How the agent is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shutdown {
    /// Run.
    No,
    /// Stop the sources, ship what is there, end.
    Drain,
    /// End now. Loses nothing that was acknowledged.
    Now,
}

/// Why the agent could not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The queue cannot be opened.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// A local port that the settings name cannot be opened.
    #[error(transparent)]
    Local(#[from] ListenError),
    /// What was used of a metered link's day cannot be read.
    #[error("the budget of the uplink: {0}")]
    Budget(#[from] IoError),
    /// A part ended that must not; what was acknowledged is on disk, so starting again is safe.
    #[error("{0} ended by itself; start the agent again and report this with its log")]
    Ended(&'static str),
    /// The queue could not be closed for a reload.
    #[error("the queue is still in use {} s after everything was told to stop; start the agent again", CLOSE.as_secs())]
    Held,
}

/// How long a reload waits for the uplink to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);
/// How long a reload waits for the queue.
const CLOSE: Duration = Duration::from_secs(30);
/// Time between two looks at it.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What the agent is told from outside while it runs.
pub struct Control {
    /// When to stop.
    pub shutdown: watch::Receiver<Shutdown>,
    /// Settings to go on with.
    pub reloads: mpsc::Receiver<Reload>,
    /// What happened; it goes on counting over reloads.
    pub counters: Arc<Counters>,
    /// What an operator says, and what becomes of it.
    pub remote: Hooks,
    /// How the parts are.
    pub health: Arc<Health>,
}

/// Runs the agent until `control` says otherwise.
///
/// # Errors
/// [`RunError`].
pub async fn run(
    mut config: Config,
    mut environment: Environment,
    mut control: Control,
    #[cfg(feature = "plant")] plant: Option<crate::plant::Plant>,
) -> Result<(), RunError> {
    let (show_pulse, pulse) = watch::channel(None);
    let watchdog = tokio::spawn(service::watchdog(pulse));
    let started = Instant::now();
    let mut start = |config: &Config| {
        Running::start(
            config,
            started,
            &mut environment,
            &control.counters,
            &control.remote,
            &control.health,
            #[cfg(feature = "plant")]
            plant,
        )
    };
    let mut running = start(&config)?;
    service::ready("running");
    let ended = loop {
        show_pulse.send_replace(running.handle.as_ref().map(Handle::pulse));
        let reload = tokio::select! {
            // An error means that nobody can say stop any more, which is the same as being told.
            _ = control.shutdown.wait_for(|shutdown| *shutdown > Shutdown::No) => break Ok(()),
            Some(reload) = control.reloads.recv() => reload,
            part = running.ended() => break Err(RunError::Ended(part)),
        };
        show_pulse.send_replace(None);
        let Reload { config: new, answer } = reload;
        running.leave(config.drain.0).await?;
        let started = start(&new);
        // Whoever asked may be gone.
        let _ = answer.send(started.as_ref().map(|_| ()).map_err(ToString::to_string));
        running = match started {
            Ok(running) => {
                config = *new;
                control.remote.current.send_replace(Arc::new(config.clone()));
                running
            }
            Err(error) => {
                tracing::error!(%error, "the new settings do not start; going on with those before");
                start(&config)?
            }
        };
    };
    show_pulse.send_replace(None);
    watchdog.abort();
    ended?;
    tracing::info!("stopping");
    service::stopping();
    running.drain(config.drain.0, &mut control.shutdown).await;
    Ok(())
}

/// An agent that runs with one set of settings.
struct Running {
    queue: Arc<Queue>,
    intake: JoinHandle<()>,
    /// None once the sources are stopped. Held here too: an agent without a source still has a queue to ship.
    handle: Option<Handle>,
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
    fn start(
        config: &Config,
        started: Instant,
        environment: &mut Environment,
        counters: &Arc<Counters>,
        remote: &Hooks,
        health: &Arc<Health>,
        #[cfg(feature = "plant")] plant: Option<crate::plant::Plant>,
    ) -> Result<Self, RunError> {
        let incarnation = Incarnation(environment.random.random());
        let (queue, recovered) =
            Queue::open(&environment.fs, &config.data_dir, QueueOptions::of(config)?, incarnation)?;
        report(&queue, &recovered);
        let (fs, now) = (&environment.fs, environment.clock.now());
        let budget = Budget::open(fs, &config.data_dir, BudgetOptions::of(config), now)?;
        let local = Local::open(config)?;
        let queue = Arc::new(queue);
        let (shipped, room) = (Arc::new(Notify::new()), Arc::new(Notify::new()));

        let tap = Tap::default();
        let local = local.serve(&View {
            agent: config.name,
            queue: Arc::clone(&queue),
            counters: Arc::clone(counters),
            health: Arc::clone(health),
            clock: Arc::clone(&environment.clock),
            started,
            progress_timeout: config.uplink.progress_timeout.get_ref().0,
            tap: tap.clone(),
            written: Arc::clone(&config.written),
            overlay: config.overlay,
            desk: Arc::clone(&remote.desk),
        });

        let random = environment.fork_random();
        let clock = Arc::clone(&environment.clock);
        let rules = Rules::of(&config.process, |class| config.queue.class_named(class));
        let classes = queue.ids().map(|class| (queue.name(class), class));
        let intake = Intake::new(queue.state(), queue.policies(), clock, random, Arc::clone(counters))
            .with_rules(rules, tap, classes);
        let (task, handle, committed) = Task::new(intake, Arc::clone(&queue), Arc::clone(counters), Arc::clone(&room));
        #[cfg(feature = "plant")]
        let task = task.with_plant(plant);
        let intake = tokio::spawn(task.run());

        let sources = Sources::start(config, environment, &handle, counters, health, remote.source(config));

        let (drain, draining) = watch::channel(Drain::No);
        let (renewed, is_renewed) = watch::channel(0);
        let renewal = Renewal {
            store: Store::of(&config.data_dir),
            proxy: config.uplink.proxy.as_ref().map(|proxy| proxy.get_ref().clone()),
            clock: Arc::clone(&environment.clock),
            random: environment.fork_random(),
            counters: Arc::clone(counters),
            renewed,
        };
        let renewal = tokio::spawn(renewal.run());
        let uplink = Uplink {
            budget,
            health: Arc::clone(&health.uplink),
            renewed: is_renewed,
            options: UplinkOptions::of(config),
            queue: Arc::clone(&queue),
            committed,
            shipped: Arc::clone(&shipped),
            drain: draining,
            clock: Arc::clone(&environment.clock),
            random: environment.fork_random(),
            counters: Arc::clone(counters),
            orders: remote.orders(config),
        };
        let uplink = tokio::spawn(uplink.run());
        let (stop_keeper, keeper_stop) = watch::channel(());
        let checkpoint = config.queue.checkpoint.get_ref().0;
        let counters = Arc::clone(counters);
        let clock = Arc::clone(&environment.clock);
        let keeping = keeper::keep(Arc::clone(&queue), checkpoint, clock, shipped, room, counters, keeper_stop);
        let keeper = tokio::spawn(keeping);
        Ok(Self { queue, intake, handle: Some(handle), sources, uplink, drain, renewal, keeper, stop_keeper, local })
    }

    /// Waits for a part that ends although it must not; which.
    async fn ended(&mut self) -> &'static str {
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
    async fn drain(mut self, patience: Duration, shutdown: &mut watch::Receiver<Shutdown>) {
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
    async fn leave(mut self, patience: Duration) -> Result<(), RunError> {
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

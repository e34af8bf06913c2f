//! The agent as a whole: open, wire, run, drain.
//!
//! Everything that can fail at start fails before a line is opened or a connection made. The order of a stop:
//! sources end, the intake commits and acknowledges what they sent, the uplink ships what is in the queue, as
//! far as the time for draining goes; what remains is on disk.

use std::sync::Arc;

use rand::Rng;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use weir_protocol::Restart;

use crate::config::{Config, Mqtt};
use crate::counters::Counters;
use crate::identity::Store;
use crate::identity::renewal::Renewal;
use crate::intake::Intake;
use crate::intake::task::{Handle, Task};
use crate::queue::{Incarnation, Queue, QueueError, QueueOptions, Recovered, keeper};
use crate::serial::{self, Lines, SerialOptions};
use crate::system::{self, Clocks, SystemOptions};
use crate::uplink::connection::{Options, Version};
use crate::uplink::credentials::Credentials;
use crate::uplink::{Drain, Uplink, UplinkOptions};
use crate::{Environment, environment};

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
    /// A part ended that must not; what was acknowledged is on disk, so starting again is safe.
    #[error("{0} ended by itself; start the agent again and report this with its log")]
    Ended(&'static str),
}

/// Runs the agent until `shutdown` says otherwise.
pub async fn run(
    config: Config,
    mut environment: Environment,
    mut shutdown: watch::Receiver<Shutdown>,
    #[cfg(feature = "plant")] plant: Option<crate::plant::Plant>,
) -> Result<(), RunError> {
    let incarnation = Incarnation(environment.random.random());
    let (queue, recovered) = Queue::open(&environment.fs, &config.data_dir, QueueOptions::of(&config), incarnation)?;
    report(&queue, &recovered);
    let queue = Arc::new(queue);
    let counters = Arc::new(Counters::default());
    let (shipped, room) = (Arc::new(Notify::new()), Arc::new(Notify::new()));

    let random = environment.fork_random();
    let clock = Arc::clone(&environment.clock);
    let intake = Intake::new(queue.state(), config.queue.policy, clock, random, Arc::clone(&counters));
    let (task, handle, committed) = Task::new(intake, Arc::clone(&queue), Arc::clone(&counters), Arc::clone(&room));
    #[cfg(feature = "plant")]
    let task = task.with_plant(plant);
    let mut intake = tokio::spawn(task.run());

    let (stop_sources, sources_stop) = watch::channel(());
    // Held here too: an agent without a source still has a queue to ship.
    let mut sources = start_sources(&config, &mut environment, &handle, &counters, &sources_stop);

    let (drain, draining) = watch::channel(Drain::No);
    let (renewed, is_renewed) = watch::channel(0);
    let renewal = Renewal {
        store: Store::of(&config.data_dir),
        clock: Arc::clone(&environment.clock),
        random: environment.fork_random(),
        counters: Arc::clone(&counters),
        renewed,
    };
    let renewal = tokio::spawn(renewal.run());
    let uplink = Uplink {
        credentials: Credentials::of(&config),
        renewed: is_renewed,
        options: uplink_options(&config),
        queue: Arc::clone(&queue),
        committed,
        shipped: Arc::clone(&shipped),
        drain: draining,
        clock: Arc::clone(&environment.clock),
        random: environment.fork_random(),
        counters: Arc::clone(&counters),
    };
    let mut uplink = tokio::spawn(uplink.run());
    let (stop_keeper, keeper_stop) = watch::channel(());
    let checkpoint = config.queue.checkpoint.get_ref().0;
    let keeper = tokio::spawn(keeper::keep(Arc::clone(&queue), checkpoint, shipped, room, counters, keeper_stop));

    tokio::select! {
        // An error means that nobody can say stop any more, which is the same as being told.
        _ = shutdown.wait_for(|shutdown| *shutdown > Shutdown::No) => {}
        _ = &mut intake => return Err(RunError::Ended("the intake")),
        _ = &mut uplink => return Err(RunError::Ended("the uplink")),
    }
    tracing::info!("stopping");
    let draining = async {
        drop((stop_sources, handle));
        while sources.join_next().await.is_some() {}
        let _ = intake.await;
        drain.send_replace(Drain::Empty);
        let _ = (&mut uplink).await;
    };
    tokio::select! {
        () = draining => tracing::info!("stopped; the gateway has everything"),
        () = tokio::time::sleep(config.drain.0) => tracing::info!("stopped; the rest is kept on disk"),
        _ = shutdown.wait_for(|shutdown| *shutdown == Shutdown::Now) => return Ok(()),
    }
    uplink.abort();
    renewal.abort();
    drop(stop_keeper);
    let _ = keeper.await;
    Ok(())
}

/// Starts every source that is configured.
fn start_sources(
    config: &Config,
    environment: &mut environment::Environment,
    intake: &Handle,
    counters: &Arc<Counters>,
    stop: &watch::Receiver<()>,
) -> JoinSet<()> {
    let mut sources = JoinSet::new();
    for serial in &config.serial {
        let options = SerialOptions { pattern: serial.path.get_ref().clone(), baud: serial.baud, poll: serial.poll.0 };
        let lines = Lines {
            intake: intake.clone(),
            clock: Arc::clone(&environment.clock),
            counters: Arc::clone(counters),
            stop: stop.clone(),
        };
        sources.spawn(serial::run(options, lines));
    }
    if config.system.enabled {
        let options = SystemOptions {
            device: config.system.device,
            interval: config.system.interval.get_ref().0,
            ring: *config.system.ring.get_ref() as usize,
            root: config.system.root.clone(),
            disks: config.system.disks.get_ref().clone(),
        };
        let restart = Restart::from_agent(environment.random.random());
        let clocks = Clocks { wall: Arc::clone(&environment.clock), is_synchronised: environment.is_synchronised };
        sources.spawn(system::run(options, restart, intake.clone(), clocks, Arc::clone(counters), stop.clone()));
    }
    sources
}

fn uplink_options(config: &Config) -> UplinkOptions {
    let uplink = &config.uplink;
    UplinkOptions {
        agent: config.name,
        connection: Options {
            version: match uplink.mqtt {
                Mqtt::V3 => Version::V4,
                Mqtt::V5 => Version::V5,
            },
            host: uplink.address.host.clone(),
            port: uplink.address.port,
            shown: Default::default(),
            client_id: config.name.to_string(),
            keep_alive: uplink.keep_alive.get_ref().0,
            window: *uplink.window.get_ref(),
            will: Default::default(),
        },
        batch_bytes: uplink.batch_bytes.get_ref().0 as usize,
        batch_interval: uplink.batch_interval.0,
        compress: uplink.compress,
        ack_timeout: uplink.ack_timeout.get_ref().0,
        status_interval: uplink.status_interval.get_ref().0,
        position_interval: uplink.position_interval.get_ref().0,
        backoff: (uplink.backoff_min.get_ref().0, uplink.backoff_max.get_ref().0),
    }
}

/// Says what opening the queue found.
fn report(queue: &Queue, recovered: &Recovered) {
    let reader = queue.reader();
    let (start, end) = (reader.start_offset(), reader.end_offset());
    let incarnation = queue.state().lock().incarnation;
    tracing::info!(%incarnation, start, end, replayed = recovered.replayed, "queue opened");
    if let Some(reason) = &recovered.state_damage {
        tracing::warn!(reason, "the state file cannot be believed; everything in the queue is shipped again");
    }
    if let Some(reason) = &recovered.claims_damage {
        tracing::error!(reason, "the file of the claims cannot be believed; what they named is lost, unaccounted");
    }
    for damage in &recovered.log.damage {
        tracing::error!(%damage, "the queue is damaged; these readings are lost, unaccounted");
    }
}

//! `run`: the daemon, and its signals.

use std::sync::Arc;

use rand::Rng;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use weir_protocol::Restart;
use weir_storage::OpenError;

use super::arguments::RunArgs;
use super::{Failure, owner};
use crate::config::Config;
use crate::counters::Counters;
use crate::health::Health;
use crate::queue::QueueError;
use crate::reload::{self, Read, Reloader};
use crate::remote::{Desk, Hooks, Office};
use crate::uplink::orders::Orders;
use crate::{Control, Environment, RunError, Shutdown};

pub(super) fn run(config: Config, args: &RunArgs) -> Result<(), Failure> {
    owner::may_change(&config)?;
    // One thread: the work is moving bytes, and every further one costs memory on a small board.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build()
        .map_err(|error| Failure::Failed(format!("cannot start: {error}")))?;
    let ended = runtime.block_on(run_with(config, args));
    // A blocked disk must not hold up an end that was asked for.
    runtime.shutdown_background();
    ended
}

async fn run_with(local: Config, args: &RunArgs) -> Result<(), Failure> {
    let hangup = Arc::new(Notify::new());
    let signals = signals(Arc::clone(&hangup));
    let shutdown = signals.map_err(|error| Failure::Failed(format!("cannot take signals: {error}")))?;
    let (reloads, asked) = reload::channel();
    let counters = Arc::new(Counters::default());
    #[cfg(not(feature = "plant"))]
    let mut environment = environment();
    #[cfg(feature = "plant")]
    let mut environment = environment(args.plant);
    let restart = Restart::from_agent(environment.random.random());
    let desk = Desk::open(&environment.fs, &local.data_dir, restart, Arc::clone(&counters));
    let desk = Arc::new(desk.map_err(|error| Failure::Failed(error.to_string()))?);
    let read = reader(&local, args);
    let config = first(local, &*read, &desk);
    let (orders, taken) = Orders::channel(config.name, Arc::clone(&desk.decided), Arc::clone(&counters));
    let (show, current) = watch::channel(Arc::new(config.clone()));
    let (stop_office, office_stop) = watch::channel(());
    let office = Office {
        desk: Arc::clone(&desk),
        agent: config.name,
        current,
        read: Arc::clone(&read),
        reloads: reloads.clone(),
        clock: Arc::clone(&environment.clock),
        counters: Arc::clone(&counters),
        stop: office_stop,
    };
    let office = tokio::spawn(office.run(taken));
    let overlaid = Arc::clone(&desk);
    let reloader = Reloader {
        read: Box::new(move || read(overlaid.overlay().as_ref())),
        hangup,
        watched: args.watch_config.then(|| args.settings.config.clone()),
        reloads,
        counters: Arc::clone(&counters),
    };
    tokio::spawn(reloader.run());
    let remote = Hooks { orders, desk, current: show };
    let health = Arc::new(Health::default());
    let control = Control { shutdown, reloads: asked, counters, health, remote };
    let running = crate::run(
        config,
        environment,
        control,
        #[cfg(feature = "plant")]
        args.plant,
    );
    let ended = running.await.map_err(failure);
    drop(stop_office);
    let _ = office.await;
    ended
}

/// Reads the settings as at the start, for the agent that runs.
fn reader(config: &Config, args: &RunArgs) -> Arc<Read> {
    let (name, data_dir) = (config.name, config.data_dir.clone());
    let path = args.settings.config.clone();
    Arc::new(move |overlay| {
        let new = Config::load_with(&path, overlay).map_err(|error| error.to_string())?;
        reload::check_same_agent((name, &data_dir), &new)?;
        Ok(new)
    })
}

/// The settings to start with: those of the operator over those of the file. A trial that does not go with the file is
/// over; confirmed settings that do not are left out until it is mended.
fn first(local: Config, read: &Read, desk: &Desk) -> Config {
    for _ in ["the trial", "what was confirmed before it"] {
        let Some(overlay) = desk.overlay() else { return local };
        match read(Some(&overlay)) {
            Ok(config) => return config,
            Err(why) => tracing::error!("running without {}:\n{why}", overlay.name()),
        }
        if let Err(error) = desk.change(|ledger, desk| desk.roll_back(ledger, "the settings file does not go with it"))
        {
            tracing::error!(%error, "that they were rolled back cannot be kept");
        }
    }
    local
}

#[cfg(not(feature = "plant"))]
fn environment() -> Environment {
    Environment::real()
}

/// Where killing the process loses what it did not sync.
#[cfg(feature = "plant")]
fn environment(plant: Option<crate::plant::Plant>) -> Environment {
    let fs = std::sync::Arc::new(weir_storage::fs::ForgetfulFs::lying(plant.and_then(crate::plant::Plant::lie)));
    Environment { fs, ..Environment::real() }
}

fn failure(error: RunError) -> Failure {
    match error {
        RunError::Queue(QueueError::Open(OpenError::Locked(_))) => Failure::Unavailable(error.to_string()),
        RunError::Local(_) => Failure::Unavailable(error.to_string()),
        error => Failure::Failed(error.to_string()),
    }
}

/// The first SIGTERM or SIGINT drains, the second ends; SIGHUP tells `hangup`.
fn signals(hangup: Arc<Notify>) -> std::io::Result<watch::Receiver<Shutdown>> {
    let mut hangups = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            hangup.notify_one();
        }
    });
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (sender, receiver) = watch::channel(Shutdown::No);
    tokio::spawn(async move {
        for shutdown in [Shutdown::Drain, Shutdown::Now] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            sender.send_replace(shutdown);
        }
        // Nobody is told that there will be no more signals.
        sender.closed().await;
    });
    Ok(receiver)
}

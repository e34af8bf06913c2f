//! `run`: the daemon, and its signals.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use weir_storage::OpenError;

use super::Failure;
use super::arguments::RunArgs;
use crate::config::Config;
use crate::counters::Counters;
use crate::queue::QueueError;
use crate::reload::{self, Reloader};
use crate::{Control, Environment, RunError, Shutdown};

pub(super) fn run(config: Config, args: &RunArgs) -> Result<(), Failure> {
    // One thread: the work is moving bytes, and every further one costs memory on a small board.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build()
        .map_err(|error| Failure::Failed(format!("cannot start: {error}")))?;
    let ended = runtime.block_on(async {
        let hangup = Arc::new(Notify::new());
        let signals = signals(Arc::clone(&hangup));
        let shutdown = signals.map_err(|error| Failure::Failed(format!("cannot take signals: {error}")))?;
        let (reloads, asked) = reload::channel();
        let counters = Arc::new(Counters::default());
        let reloader = Reloader {
            read: Box::new(reader(&config, args)),
            hangup,
            watched: args.watch_config.then(|| args.settings.config.clone()),
            reloads,
            counters: Arc::clone(&counters),
        };
        tokio::spawn(reloader.run());
        let control = Control { shutdown, reloads: asked, counters };
        let running = crate::run(
            config,
            environment(),
            control,
            #[cfg(feature = "plant")]
            args.plant,
        );
        running.await.map_err(failure)
    });
    // A blocked disk must not hold up an end that was asked for.
    runtime.shutdown_background();
    ended
}

/// Reads the settings as at the start, for the agent that runs.
fn reader(config: &Config, args: &RunArgs) -> impl Fn() -> Result<Config, String> + Send + Sync + 'static {
    let (name, data_dir) = (config.name, config.data_dir.clone());
    let path = args.settings.config.clone();
    move || {
        let new = Config::load(&path).map_err(|error| error.to_string())?;
        reload::check_same_agent((name, &data_dir), &new)?;
        Ok(new)
    }
}

#[cfg(not(feature = "plant"))]
fn environment() -> Environment {
    Environment::real()
}

/// Where killing the process loses what it did not sync.
#[cfg(feature = "plant")]
fn environment() -> Environment {
    let fs = std::sync::Arc::new(weir_storage::fs::ForgetfulFs::default());
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

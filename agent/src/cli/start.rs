//! `run`: the daemon, and its signals.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use weir_storage::OpenError;

use super::Failure;
use crate::config::Config;
use crate::queue::QueueError;
use crate::{Environment, RunError, Shutdown};

pub(super) fn run(config: Config, #[cfg(feature = "plant")] plant: Option<crate::plant::Plant>) -> Result<(), Failure> {
    // One thread: the work is moving bytes, and every further one costs memory on a small board.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build()
        .map_err(|error| Failure::Failed(format!("cannot start: {error}")))?;
    let ended = runtime.block_on(async {
        let shutdown = signals().map_err(|error| Failure::Failed(format!("cannot take signals: {error}")))?;
        let running = crate::run(
            config,
            environment(),
            shutdown,
            #[cfg(feature = "plant")]
            plant,
        );
        running.await.map_err(failure)
    });
    // A blocked disk must not hold up an end that was asked for.
    runtime.shutdown_background();
    ended
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
        error => Failure::Failed(error.to_string()),
    }
}

/// The first SIGTERM or SIGINT drains, the second ends.
fn signals() -> std::io::Result<watch::Receiver<Shutdown>> {
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

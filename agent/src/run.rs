//! The agent as a whole: open, wire, run, drain; and again with other settings.
//!
//! Everything that can fail at start fails before a line is opened or a connection made. The order of a stop:
//! sources end, the intake commits and acknowledges what they sent, the uplink ships what is in the queue, as
//! far as the time for draining goes; what remains is on disk.
//!
//! A reload is a stop and a start in one process: sources end, the intake commits and acknowledges what they sent, the
//! uplink says goodbye, the queue is closed, and everything opens again with the new settings; if that fails, with
//! those before. What was in flight is sent again, and is a repeat if it was stored. Counters go on.

mod running;

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use weir_storage::IoError;

use crate::Environment;
use crate::config::Config;
use crate::counters::Counters;
use crate::health::Health;
use crate::http::ListenError;
use crate::intake::task::Handle;
use crate::queue::QueueError;
use crate::reload::Reload;
use crate::remote::Hooks;
use crate::service;
use running::{CLOSE, Given, Running};

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
    let mut given = Given {
        started: Instant::now(),
        environment: &mut environment,
        counters: &control.counters,
        remote: &control.remote,
        health: &control.health,
        #[cfg(feature = "plant")]
        plant,
    };
    let mut running = Running::start(&config, &mut given)?;
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
        let started = Running::start(&new, &mut given);
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
                Running::start(&config, &mut given)?
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

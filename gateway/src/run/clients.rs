//! What the gateway keeps of MQTT clients, sessions and retained messages: opened, kept and closed together.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use weir_protocol::time::WallClock;
use weir_storage::{Fs, Recovery};

use crate::config::Config;
use crate::groups;
use crate::ingest::Ingest;
use crate::keyed_log::KeyedLogError;
use crate::retained::{self, Retained};
use crate::sessions::{self, Outlet, Sessions};

/// Both as they were found on disk.
pub(super) struct Opened {
    sessions: sessions::Opened,
    retained: retained::Opened,
}

/// Both.
#[derive(Clone)]
pub(super) struct Clients {
    pub(super) sessions: Sessions,
    pub(super) retained: Retained,
}

/// What lets time pass for them.
pub(super) struct Keeping {
    clients: Clients,
    stop: watch::Sender<bool>,
    tasks: [JoinHandle<()>; 2],
}

impl Opened {
    /// Reads files: not for an async task.
    pub(super) fn open(fs: &Arc<dyn Fs>, config: &Config) -> Result<Self, KeyedLogError> {
        let data = &config.data;
        Ok(Self { sessions: sessions::Opened::open(fs, data)?, retained: retained::Opened::open(fs, data)? })
    }
}

impl Clients {
    pub(super) fn new(opened: Opened, config: &Config, clock: &dyn WallClock) -> Self {
        let Opened { sessions, retained } = opened;
        warn_of(sessions::TOPIC, sessions.recovery(), "clients may begin new sessions, or get messages again");
        warn_of(retained::TOPIC, retained.recovery(), "topics may have an earlier retained message, or none");
        // The lower half is as random as the whole.
        let random = Box::new(|| groups::random_bits() as u64);
        let sessions = Sessions::new(sessions, config.mqtt.session_options(), clock, random);
        let retained = Retained::new(retained, config.mqtt.retained_options(), clock);
        let (known, kept) = (sessions.stats(), retained.stats());
        tracing::info!(sessions = known.durable, retained = kept.messages, "sessions and retained messages read");
        Self { sessions, retained }
    }

    /// Sessions and retained messages.
    pub(super) fn both(&self) -> (Sessions, Retained) {
        (self.sessions.clone(), self.retained.clone())
    }

    /// Lets time pass for them; wills go through `ingest`.
    pub(super) fn keep(&self, ingest: &Ingest) -> Keeping {
        let (stop, stopping) = watch::channel(false);
        let outlet = Outlet::new(ingest.clone(), self.retained.clone());
        let sessions = tokio::spawn(self.sessions.clone().run(outlet, stopping.clone()));
        let retained = tokio::spawn(self.retained.clone().run(stopping));
        Keeping { clients: self.clone(), stop, tasks: [sessions, retained] }
    }
}

impl Keeping {
    /// Publishes the wills that are due, and closes the logs. Nobody is connected any more.
    pub(super) async fn stop(self) {
        let Self { clients: Clients { sessions, retained }, stop, tasks } = self;
        // Receivers live in the tasks; one that is gone needs no telling.
        let _ = stop.send(true);
        for task in tasks {
            let _ = task.await;
        }
        // Waits for what was handed in.
        let closed = tokio::task::spawn_blocking(move || {
            sessions.stop();
            retained.stop();
        });
        let _ = closed.await;
    }
}

/// Says what was found of a log that was damaged.
fn warn_of(topic: &'static str, recovery: &Recovery, so: &'static str) {
    if recovery.damage_count > 0 {
        let (damages, lost_offsets) = (recovery.damage_count, recovery.lost_offsets);
        tracing::warn!(topic, damages, lost_offsets, "an internal topic is damaged: {so}");
    }
}

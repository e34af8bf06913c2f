//! Opening what says who may do what, and keeping it: reading settings again, retention, the last counts of a stop.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use weir_protocol::time::WallClock;
use weir_storage::Fs;

use crate::access::audit::{Audit, Keep};
use crate::access::credentials::Credentials;
use crate::access::{Access, Parts, Settings};
use crate::config::Config;
use crate::kafka::Kafka;
use crate::keyed_log::KeyedLogError;
use crate::limits::{Limits, LimitsOptions};
use crate::tls::Revocations;

/// How often tokens that ended are forgotten and the log of credentials is looked at.
const UPKEEP: Duration = Duration::from_secs(60);

/// What the settings want of it.
pub(super) struct Wanted {
    settings: Settings,
    rates: LimitsOptions,
    most_waiting: usize,
}

impl Wanted {
    pub(super) fn of(config: &Config) -> Self {
        Self { settings: config.access_settings(), rates: config.rates(), most_waiting: config.passwords_waiting() }
    }
}

/// Opens credentials and audit. Reads files: not for an async task.
pub(super) fn open(
    fs: &Arc<dyn Fs>,
    data: &Path,
    wanted: Wanted,
    clock: Arc<dyn WallClock>,
    revocations: Revocations,
) -> Result<Access, KeyedLogError> {
    let (credentials, recovery) = Credentials::open(fs, data)?;
    if recovery.damage_count > 0 {
        let (damages, lost_offsets) = (recovery.damage_count, recovery.lost_offsets);
        tracing::error!(damages, lost_offsets, "weir.access is damaged: users and tokens may be missing, or be back");
    }
    let audit = Audit::open(fs, data, Arc::clone(&clock))?;
    let limits = Limits::new(wanted.rates);
    let parts = Parts { credentials, revocations, audit, limits, clock, most_waiting: wanted.most_waiting };
    Ok(Access::new(parts, wanted.settings))
}

/// Keeps credentials and audit until `stop` turns true.
pub(super) async fn keep(access: Access, keep: watch::Receiver<Keep>, mut stop: watch::Receiver<bool>) {
    let auditing = tokio::spawn(access.audit().clone().run(keep, stop.clone()));
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            () = tokio::time::sleep(UPKEEP) => (),
        }
        access.forget_tokens().await;
        let credentials = access.credentials().clone();
        let _ = tokio::task::spawn_blocking(move || credentials.upkeep()).await;
    }
    let _ = auditing.await;
}

/// Commits what was handed in. Waits for the disk: not for an async task.
pub(super) fn stop(access: &Access) {
    access.credentials().stop();
    access.audit().stop();
}

/// Reads settings again when the operator asks for it (SIGHUP).
pub(super) struct Reloading {
    config: Config,
    asked: Arc<Notify>,
    of_tls: Arc<Notify>,
    keep: watch::Sender<Keep>,
    access: Access,
    kafka: Arc<Kafka>,
}

impl Reloading {
    pub(super) fn new(config: &Config, asked: Arc<Notify>, access: Access, kafka: Arc<Kafka>) -> Self {
        let keep = watch::Sender::new(config.access.keep());
        Self { config: config.clone(), asked, of_tls: Arc::default(), keep, access, kafka }
    }

    /// Told when the files of TLS are to be read again.
    pub(super) fn of_tls(&self) -> Arc<Notify> {
        Arc::clone(&self.of_tls)
    }

    /// How long the audit is kept.
    pub(super) fn keep(&self) -> watch::Receiver<Keep> {
        self.keep.subscribe()
    }

    pub(super) async fn run(self, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = self.asked.notified() => (),
            }
            self.of_tls.notify_one();
            let config = self.config.clone();
            match tokio::task::spawn_blocking(move || config.read_again()).await {
                Ok(Some(Ok(config))) => self.apply(&config),
                Ok(Some(Err(error))) => tracing::error!("the settings are not good; the old ones stay: {error}"),
                // Settings that were made in memory cannot be read again.
                Ok(None) | Err(_) => (),
            }
        }
    }

    fn apply(&self, config: &Config) {
        self.access.reload(config.access_settings());
        self.kafka.set_users(config.kafka.users());
        self.keep.send_replace(config.access.keep());
        let data: &PathBuf = &self.config.data;
        if config.data != *data {
            tracing::warn!("`data` changes with a restart");
        }
        tracing::info!(
            "settings read again: access, kafka.users and the files of TLS; the others change with a restart"
        );
    }
}

//! Passwords of devices and tokens: the internal topic [`TOPIC`], by key, and its contents in memory.
//!
//! What it guarantees: a change that was acknowledged is on disk, and neither a kill nor a power cut brings back what it
//! replaced or removed; a change is seen by everybody at once, and after its commit; changes come one after the other, and
//! each is decided on what those before it left; what is kept is bounded. Nobody reads the topic over Kafka or HTTP.

pub mod record;
mod table;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use thiserror::Error;
use tokio::sync::{Mutex, oneshot, watch};
use weir_storage::{Batch, Fs, Recovery};

use crate::keyed_log::{self, KeyedLog, KeyedLogError, Refused};
use record::Change;
pub use record::User;
pub use table::Table;

/// The topic.
pub const TOPIC: &str = "weir.access";
/// The most users.
pub const MAX_USERS: usize = 100_000;
/// The most tokens, those included that ended and were not forgotten yet.
pub const MAX_TOKENS: usize = 10_000;

/// The credentials; clones are the same.
#[derive(Clone)]
pub struct Credentials {
    inner: Arc<Inner>,
}

struct Inner {
    table: RwLock<Table>,
    /// None: nothing is written, for tests and a door that is open.
    log: Option<KeyedLog>,
    turn: Arc<Mutex<()>>,
    changed: watch::Sender<u64>,
}

/// Why nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ChangeError {
    /// It is not there.
    #[error("there is no {0}")]
    NotFound(String),
    /// As many as there may be.
    #[error("there are {0} already, which is as many as there may be")]
    Full(usize),
    /// It could not be written.
    #[error("it could not be written: {0}")]
    NotWritten(String),
}

impl Credentials {
    /// None, in memory alone.
    pub fn none() -> Self {
        Self::of(Table::default(), None)
    }

    /// Opens the topic and reads it.
    ///
    /// # Errors
    /// [`KeyedLogError`].
    pub fn open(fs: &Arc<dyn Fs>, data: &Path) -> Result<(Self, Recovery), KeyedLogError> {
        let options = keyed_log::options();
        let (log, recovery) = keyed_log::open(fs, data, TOPIC, options)?;
        let mut table = Table::default();
        keyed_log::read(&log.reader(), |record| match Change::decode(record.key.unwrap_or_default(), record.value) {
            Ok(change) => table.apply(&change),
            Err(foreign) => tracing::warn!(offset = record.offset, "{TOPIC}: {foreign}; it is left alone"),
        })?;
        Ok((Self::of(table, Some(KeyedLog::start(log, options)?)), recovery))
    }

    fn of(table: Table, log: Option<KeyedLog>) -> Self {
        let inner = Inner { table: RwLock::new(table), log, turn: Arc::default(), changed: watch::Sender::new(0) };
        Self { inner: Arc::new(inner) }
    }

    /// What is known now. Not to be held across an await.
    pub fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.inner.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes up after each change.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    /// Makes a change durable and then seen. Dropping the future leaves it to be made or not, as a whole.
    ///
    /// # Errors
    /// [`ChangeError::NotWritten`]: it is not made, and will not be.
    pub async fn change(&self, at_ms: i64, change: Change) -> Result<(), ChangeError> {
        self.decide(at_ms, |_| Ok((Some(change), ()))).await
    }

    /// The same for what `decide` makes of what is known; perhaps nothing.
    ///
    /// # Errors
    /// Those of `decide`, and [`ChangeError::NotWritten`].
    pub async fn decide<T>(
        &self,
        at_ms: i64,
        decide: impl FnOnce(&Table) -> Result<(Option<Change>, T), ChangeError>,
    ) -> Result<T, ChangeError> {
        let turn = Arc::clone(&self.inner.turn).lock_owned().await;
        let (change, answer) = decide(&self.table())?;
        let Some(change) = change else { return Ok(answer) };
        let Some(log) = &self.inner.log else {
            self.inner.apply(&change);
            return Ok(answer);
        };
        let (key, value) = change.encode();
        let mut batch = Batch::new();
        batch
            .push(at_ms, Some(&key), value.as_deref(), &[])
            .map_err(|error| ChangeError::NotWritten(error.to_string()))?;
        let (tell, told) = oneshot::channel();
        let inner = Arc::clone(&self.inner);
        let done = move |written: Result<_, String>| {
            if written.is_ok() {
                inner.apply(&change);
            }
            // The next one decides on what this one left, whether or not somebody still waits for it.
            drop(turn);
            let _ = tell.send(written.map(|_| ()));
        };
        log.submit(batch, done).unwrap_or_else(Refused::tell);
        let written = told.await.unwrap_or_else(|_| Err("the gateway stops".to_owned()));
        written.map(|()| answer).map_err(ChangeError::NotWritten)
    }

    /// Keeps the last record of each key if that is worth it. Reads and writes files: not for an async task.
    pub fn upkeep(&self) {
        let Some(log) = self.inner.log.as_ref().filter(|log| log.has_grown()) else { return };
        if let Err(error) = log.compact() {
            tracing::warn!(%error, "{TOPIC} was not compacted");
        }
    }

    /// Commits what was handed in, and ends. Waits for the disk: not for an async task.
    pub fn stop(&self) {
        if let Some(log) = &self.inner.log {
            log.stop();
        }
    }
}

impl Inner {
    fn apply(&self, change: &Change) {
        self.table.write().unwrap_or_else(PoisonError::into_inner).apply(change);
        self.changed.send_modify(|changes| *changes += 1);
    }
}

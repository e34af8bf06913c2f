//! The ledger of an agent that runs: changed by one at a time, durable before anybody sees the change.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use weir_storage::fs::File;
use weir_storage::{Fs, IoError};

use super::ledger::{About, Ledger, LedgerFile, Outcome, Overlay};
use crate::counters::{Counters, Event};

/// The longest detail of a result, in bytes.
pub const MAX_DETAIL: usize = 4096;

/// The ledger and its file.
pub struct Desk {
    /// Held by whoever changes the ledger.
    file: Mutex<LedgerFile>,
    ledger: Mutex<Ledger>,
    owed: Notify,
    counters: Arc<Counters>,
    /// Held while the agent runs, if the ledger was changed at the start.
    _lock: Option<Box<dyn File>>,
}

impl Desk {
    /// Opens the ledger below `data_dir` as the agent starts: a trial that was started too often is rolled back, and
    /// commands that were interrupted are said to be.
    ///
    /// # Errors
    /// [`IoError`].
    pub fn open(fs: &Arc<dyn Fs>, data_dir: &Path, counters: Arc<Counters>) -> Result<Self, IoError> {
        let (file, ledger, damage) = LedgerFile::open(fs, data_dir)?;
        if let Some(reason) = damage {
            tracing::error!(
                reason,
                "the ledger of remote configuration cannot be believed: running with the local settings; old documents may \
                 be obeyed again"
            );
        }
        let is_open = ledger.trial.is_some() || ledger.has_interrupted();
        let lock = if is_open { Some(file.lock()?) } else { None };
        // Another agent that runs has it: this one will be turned away by the queue.
        let is_ours = lock.as_ref().is_some_and(|(_, is_locked)| *is_locked);
        let (file, ledger, lock) = (Mutex::new(file), Mutex::new(ledger), lock.map(|(lock, _)| lock));
        let desk = Self { file, ledger, owed: Notify::new(), counters, _lock: lock };
        if is_ours {
            desk.change(|ledger, desk| {
                if !ledger.begin_trial() {
                    desk.roll_back(ledger, "the agent ended twice before they were confirmed");
                }
                for id in ledger.take_interrupted() {
                    desk.owe(ledger, About::Command, format!("{id} interrupted"), "the agent ended meanwhile");
                }
            })?;
        }
        Ok(desk)
    }

    /// Changes the ledger; nothing is changed if that cannot be made durable. Blocks.
    ///
    /// # Errors
    /// [`IoError`].
    pub fn change<T>(&self, change: impl FnOnce(&mut Ledger, &Self) -> T) -> Result<T, IoError> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = self.ledger().clone();
        let result = change(&mut changed, self);
        if *self.ledger() == changed {
            return Ok(result);
        }
        file.save(&changed)?;
        let is_owed = changed.owed().is_some();
        *self.ledger() = changed;
        if is_owed {
            self.owed.notify_one();
        }
        Ok(result)
    }

    /// The settings to lay over the file now.
    pub fn overlay(&self) -> Option<Overlay> {
        self.ledger().overlay().cloned()
    }

    /// Looks at the ledger as it is on disk.
    pub fn look<T>(&self, look: impl FnOnce(&Ledger) -> T) -> T {
        look(&self.ledger())
    }

    /// Waits for a result that is owed.
    pub async fn owed(&self) -> Outcome {
        loop {
            if let Some(outcome) = self.look(|ledger| ledger.owed().cloned()) {
                return outcome;
            }
            self.owed.notified().await;
        }
    }

    /// Puts a result among those that are owed.
    pub fn owe(&self, ledger: &mut Ledger, about: About, headline: String, detail: &str) {
        tracing::info!(detail, "remote: {headline}");
        let end = (0..=detail.len().min(MAX_DETAIL)).rev().find(|at| detail.is_char_boundary(*at)).unwrap_or(0);
        if let Some(Outcome { headline, .. }) = ledger.owe(about, headline, detail[..end].to_owned()) {
            self.counters.warn(Event::ResultsDropped, || format!("nobody took the result {headline:?} for too long"));
        }
    }

    /// Ends the trial in favour of the settings before it.
    pub fn roll_back(&self, ledger: &mut Ledger, why: &str) {
        if let Some(trial) = ledger.trial.take() {
            self.counters.add(Event::RemoteRolledBack, 1);
            self.owe(ledger, About::Config, format!("{} rolled-back", trial.overlay.version), why);
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // It is replaced as a whole.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

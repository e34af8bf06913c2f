//! The ledger of an agent that runs: changed by one at a time, durable before anybody sees the change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use weir_protocol::Restart;
use weir_protocol::name::Name;
use weir_storage::fs::File;
use weir_storage::{Fs, IoError};

use super::ledger::{Ledger, LedgerFile, Overlay, Recorded};
use super::outcome::{About, Outcome};
use crate::counters::{Counters, Event};
use crate::uplink::orders::Decided;

/// The longest detail of a result, in bytes.
pub const MAX_DETAIL: usize = 4096;

/// Why the ledger stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// Another agent has it.
    #[error("{}: another agent that runs holds it; stop that one, or give this one a data_dir of its own", .0.display())]
    Locked(PathBuf),
    /// The disk.
    #[error(transparent)]
    Io(#[from] IoError),
}

/// The ledger and its file.
pub struct Desk {
    /// Held by whoever changes the ledger.
    file: Mutex<LedgerFile>,
    ledger: Mutex<Ledger>,
    owed: Notify,
    /// What the connection is told.
    pub decided: Arc<Decided>,
    counters: Arc<Counters>,
    /// Taken with the first change and held while the agent runs: another one that is started by mistake must not count
    /// as a start of the trial, nor write over what this one decided.
    lock: Mutex<Option<Box<dyn File>>>,
}

impl Desk {
    /// Opens the ledger below `data_dir` as the agent starts: a trial that was started too often is rolled back, and
    /// commands that were interrupted are said to be. Results go under `restart` from now on, which nobody had before.
    ///
    /// # Errors
    /// [`IoError`].
    pub fn open(fs: &Arc<dyn Fs>, data_dir: &Path, restart: Restart, counters: Arc<Counters>) -> Result<Self, IoError> {
        let (file, mut ledger, damage) = LedgerFile::open(fs, data_dir)?;
        ledger.start(restart);
        if let Some(reason) = damage {
            tracing::error!(
                reason,
                "the ledger of remote configuration cannot be believed: running with the local settings; old documents may \
                 be obeyed again"
            );
        }
        let is_open = ledger.trial.is_some() || !ledger.interrupted().is_empty() || ledger.has_unplaced();
        let (file, ledger) = (Mutex::new(file), Mutex::new(ledger));
        let desk =
            Self { file, ledger, owed: Notify::new(), decided: Arc::default(), counters, lock: Mutex::new(None) };
        if is_open {
            let changed = desk.change(|ledger, desk| {
                ledger.place();
                if !ledger.begin_trial() {
                    desk.roll_back(ledger, "the agent ended twice before they were confirmed");
                }
                for id in ledger.interrupted() {
                    desk.end(ledger, &id, "interrupted", "the agent ended meanwhile");
                }
            });
            match changed {
                // Another agent that runs has it: this one will be turned away by the queue.
                Err(DeskError::Locked(_)) => {}
                Err(DeskError::Io(error)) => return Err(error),
                Ok(()) => {}
            }
        }
        Ok(desk)
    }

    /// Changes the ledger; nothing is changed if that cannot be made durable. Blocks.
    ///
    /// # Errors
    /// [`DeskError`].
    pub fn change<T>(&self, change: impl FnOnce(&mut Ledger, &Self) -> T) -> Result<T, DeskError> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        self.lock(&file)?;
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

    /// Takes the lock, unless it is held.
    fn lock(&self, file: &LedgerFile) -> Result<(), DeskError> {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if lock.is_none() {
            *lock = Some(file.lock()?);
        }
        Ok(())
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

    /// Notes how a command ended, and puts that among the results that are owed.
    pub fn end(&self, ledger: &mut Ledger, id: &str, how: &str, output: &str) {
        let result = Recorded { how: how.to_owned(), output: output.to_owned() };
        let decides = ledger.end(id, result);
        self.owe_decided(ledger, About::Command, format!("{id} {how}"), output, decides);
    }

    /// Puts a result among those that are owed.
    pub fn owe(&self, ledger: &mut Ledger, about: About, headline: String, detail: &str) {
        self.owe_decided(ledger, about, headline, detail, None);
    }

    /// The same of a command that came on a topic of its own, which has this id.
    pub fn owe_decided(
        &self,
        ledger: &mut Ledger,
        about: About,
        headline: String,
        detail: &str,
        decides: Option<Name>,
    ) {
        tracing::info!(detail, "remote: {headline}");
        let end = (0..=detail.len().min(MAX_DETAIL)).rev().find(|at| detail.is_char_boundary(*at)).unwrap_or(0);
        if let Some(Outcome { headline, .. }) = ledger.owe(about, headline, detail[..end].to_owned(), decides) {
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

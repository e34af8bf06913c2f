//! What this agent decided on documents, durable in `<data_dir>/remote/ledger`.
//!
//! Guarantees:
//! - A version is decided on once, whatever is delivered again: versions only rise, and one that was rolled back or
//!   refused is at or below [`Ledger::highest`].
//! - A command is begun at most once: its id is in the file before it begins, and stays there until the document has
//!   expired; after that its expiry refuses it, whatever the clock of this machine does ([`Ledger::forgotten`]).
//! - A result is owed until the queue has it, under the identity that it got with what it tells ([`Place`]): told again
//!   after a crash it is the same readings. At most [`MAX_OWED`] are owed: the oldest goes, and is counted as lost.
//! - Settings change hands in one replace of the file: after a crash they are those before or those after.
//!
//! The file is a [`StateFile`] whose payload is JSON.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use weir_protocol::name::Name;
use weir_protocol::{Restart, Sequence};
use weir_storage::fs::{File, Mode};
use weir_storage::{Fs, IoError, Loaded, StateFile, durable};

use super::desk::DeskError;
use super::outcome::{About, Outcome, Place};

/// The directory below `data_dir`.
pub const DIR: &str = "remote";
const FILE: &str = "ledger";
/// The most results that wait for the queue.
pub const MAX_OWED: usize = 64;
/// The most commands whose documents have not expired.
pub const MAX_COMMANDS: usize = 256;
/// What is kept of the output of each of them, in bytes: all of it is told once.
pub const MAX_RECORDED: usize = 256;
/// The most restarts that are remembered of those that results were told under: one for each start of the agent that told
/// any.
pub const MAX_RESTARTS: usize = 16;
/// A trial that was begun so often without being confirmed is over.
pub const MAX_STARTS: u32 = 2;

/// Settings of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    /// The version of the document.
    pub version: u64,
    /// TOML, laid over the settings file.
    pub settings: String,
}

impl Overlay {
    /// What messages call it.
    pub fn name(&self) -> String {
        format!("remote settings {}", self.version)
    }
}

/// Settings that have to show that they work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// What is tried.
    pub overlay: Overlay,
    /// How often the agent was started with it.
    pub starts: u32,
}

/// What became of a command, for whoever gives it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// As it was told: `exited 0`.
    pub how: String,
    /// The last [`MAX_RECORDED`] bytes of what it printed.
    pub output: String,
}

/// A command that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Begun {
    id: String,
    /// The SHA-256 of its document.
    digest: String,
    expires: i64,
    is_done: bool,
    #[serde(default)]
    result: Option<Recorded>,
    /// Whether it came on a topic of its own.
    #[serde(default)]
    own_topic: bool,
}

/// Everything that is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// The highest version that was decided on.
    pub highest: u64,
    /// The SHA-256 of its document.
    highest_digest: String,
    /// The settings that were confirmed last.
    pub confirmed: Option<Overlay>,
    /// Those that are tried.
    pub trial: Option<Trial>,
    owed: VecDeque<Outcome>,
    next_number: u64,
    /// What results were told under, the newest last.
    restarts: VecDeque<Restart>,
    /// Where the next result goes, in this life of the agent.
    #[serde(skip)]
    next: Option<Place>,
    commands: Vec<Begun>,
    /// Commands that expire at or before this are refused: they may have been begun, and were forgotten.
    forgotten: i64,
}

/// Why a command is not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotBegun {
    /// It was.
    #[error("it was begun before")]
    Repeated,
    /// It may have been.
    #[error("it expired, by what this agent knows of the time")]
    Forgotten,
    /// There is no room to remember it.
    #[error("{MAX_COMMANDS} commands have not expired yet; sign them for a shorter time")]
    Full,
}

impl Recorded {
    fn cut(mut self) -> Self {
        let start = self.output.len().saturating_sub(MAX_RECORDED);
        let start = (start..=self.output.len()).find(|at| self.output.is_char_boundary(*at)).unwrap_or(0);
        self.output.drain(..start);
        self
    }
}

impl Ledger {
    /// The settings to lay over the file now.
    pub fn overlay(&self) -> Option<&Overlay> {
        self.trial.as_ref().map(|trial| &trial.overlay).or(self.confirmed.as_ref())
    }

    /// Whether the highest version is that of the document with this SHA-256.
    pub fn is_highest(&self, digest: &str) -> bool {
        self.highest_digest == digest
    }

    /// Notes that a version was decided on.
    pub fn decided(&mut self, version: u64, digest: String) {
        (self.highest, self.highest_digest) = (version, digest);
    }

    /// Puts settings on trial, which begins.
    pub fn try_out(&mut self, overlay: Overlay) {
        self.trial = Some(Trial { overlay, starts: 1 });
    }

    /// The settings on trial work; their version.
    pub fn confirm(&mut self) -> Option<u64> {
        let overlay = self.trial.take()?.overlay;
        let version = overlay.version;
        self.confirmed = Some(overlay);
        Some(version)
    }

    /// Notes that the agent starts with the trial; false if it did too often, and the trial must be rolled back.
    pub fn begin_trial(&mut self) -> bool {
        match &mut self.trial {
            Some(trial) if trial.starts >= MAX_STARTS => false,
            Some(trial) => {
                trial.starts += 1;
                true
            }
            None => true,
        }
    }

    /// The agent starts: results go under `restart` from now on, which nobody had before.
    pub fn start(&mut self, restart: Restart) {
        self.next = Some(Place { restart, first: Sequence(0) });
    }

    /// What results were and will be told under.
    pub fn restarts(&self) -> impl Iterator<Item = Restart> {
        let owed = self.owed.iter().filter_map(|outcome| Some(outcome.place?.restart));
        self.restarts.iter().copied().chain(owed).chain(self.next.map(|next| next.restart))
    }

    /// Whether something is owed that has no place: an earlier build gave none.
    pub fn has_unplaced(&self) -> bool {
        self.owed.iter().any(|outcome| outcome.place.is_none())
    }

    /// Gives a place to what has none.
    pub fn place(&mut self) {
        let Some(next) = &mut self.next else { return };
        for outcome in self.owed.iter_mut().filter(|outcome| outcome.place.is_none()) {
            outcome.place = Some(*next);
            next.first = Sequence(next.first.0 + outcome.texts().count() as u64);
            if self.restarts.back() != Some(&next.restart) {
                self.restarts.push_back(next.restart);
            }
        }
        while self.restarts.len() > MAX_RESTARTS {
            self.restarts.pop_front();
        }
    }

    /// Notes what became of a document.
    pub fn owe(&mut self, about: About, headline: String, detail: String, decides: Option<Name>) -> Option<Outcome> {
        let outcome = Outcome { number: self.next_number, about, headline, detail, decides, place: None };
        self.next_number += 1;
        self.owed.push_back(outcome);
        self.place();
        if self.owed.len() > MAX_OWED { self.owed.pop_front() } else { None }
    }

    /// The result that is owed longest.
    pub fn owed(&self) -> Option<&Outcome> {
        self.owed.front()
    }

    /// The queue has a result.
    pub fn paid(&mut self, number: u64) {
        self.owed.retain(|outcome| outcome.number != number);
    }

    /// Notes that a command begins, which came on a topic of its own or not; `now` and `expires` in seconds since 1970.
    ///
    /// # Errors
    /// [`NotBegun`]: then it must not.
    pub fn begin(
        &mut self,
        id: &str,
        digest: &str,
        (expires, now): (i64, i64),
        own_topic: bool,
    ) -> Result<(), NotBegun> {
        self.forget_expired(now);
        if self.commands.iter().any(|begun| begun.id == id) {
            return Err(NotBegun::Repeated);
        }
        if expires <= self.forgotten {
            return Err(NotBegun::Forgotten);
        }
        if self.commands.len() >= MAX_COMMANDS {
            return Err(NotBegun::Full);
        }
        let (id, digest) = (id.to_owned(), digest.to_owned());
        self.commands.push(Begun { id, digest, expires, is_done: false, result: None, own_topic });
        Ok(())
    }

    /// Whether this very document was begun.
    pub fn has_begun(&self, id: &str, digest: &str) -> bool {
        self.commands.iter().any(|begun| begun.id == id && begun.digest == digest)
    }

    /// Notes how a command ended; its id if it came on a topic of its own.
    pub fn end(&mut self, id: &str, result: Recorded) -> Option<Name> {
        let begun = self.commands.iter_mut().find(|begun| begun.id == id)?;
        begun.is_done = true;
        begun.result = Some(result.cut());
        Name::new(id).ok().filter(|_| begun.own_topic)
    }

    /// What became of a command, unless that is still owed or it still runs.
    pub fn result_of(&self, id: &str) -> Option<&Recorded> {
        let is_of_it = |outcome: &Outcome| outcome.headline.split(' ').next() == Some(id);
        let is_owed = self.owed.iter().any(|outcome| outcome.about == About::Command && is_of_it(outcome));
        let begun = self.commands.iter().find(|begun| begun.id == id)?;
        begun.result.as_ref().filter(|_| begun.is_done && !is_owed)
    }

    /// The commands that were begun and did not end.
    pub fn interrupted(&self) -> Vec<String> {
        self.commands.iter().filter(|begun| !begun.is_done).map(|begun| begun.id.clone()).collect()
    }

    fn forget_expired(&mut self, now: i64) {
        let forgotten = &mut self.forgotten;
        self.commands.retain(|begun| {
            let keep = !begun.is_done || begun.expires >= now;
            if !keep {
                *forgotten = begun.expires.max(*forgotten);
            }
            keep
        });
    }
}

/// The file of the ledger.
pub struct LedgerFile {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    file: StateFile,
}

impl LedgerFile {
    /// Reads the ledger below `data_dir`. A file that cannot be believed counts as none, and why is said.
    ///
    /// # Errors
    /// [`IoError`].
    pub fn open(fs: &Arc<dyn Fs>, data_dir: &Path) -> Result<(Self, Ledger, Option<String>), IoError> {
        let dir = data_dir.join(DIR);
        let file = StateFile::new(Arc::clone(fs), &dir.join(FILE));
        let (ledger, damage) = match file.load()? {
            Loaded::Missing => (Ledger::default(), None),
            Loaded::Damaged { reason } => (Ledger::default(), Some(reason)),
            Loaded::Good(bytes) => match serde_json::from_slice(&bytes) {
                Ok(ledger) => (ledger, None),
                Err(error) => (Ledger::default(), Some(error.to_string())),
            },
        };
        Ok((Self { fs: Arc::clone(fs), dir, file }, ledger, damage))
    }

    /// Takes the lock of the ledger; held until the file is dropped.
    ///
    /// # Errors
    /// [`DeskError`]: somebody else has it, or the disk.
    pub fn lock(&self) -> Result<Box<dyn File>, DeskError> {
        durable::create_dir_all(&*self.fs, &self.dir)?;
        let path = self.dir.join("lock");
        let file = self.fs.open(&path, Mode::Create).map_err(IoError::on("create", &path))?;
        let is_locked = file.try_lock().map_err(IoError::on("lock", &path))?;
        if is_locked { Ok(file) } else { Err(DeskError::Locked(path)) }
    }

    /// Makes the ledger durable; whoever calls this has the lock. Blocks.
    ///
    /// # Errors
    /// [`IoError`]; the file holds this or what it held.
    pub fn save(&self, ledger: &Ledger) -> Result<(), IoError> {
        // It has text, numbers and lists: nothing that JSON does not.
        self.file.replace(&serde_json::to_vec(ledger).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;

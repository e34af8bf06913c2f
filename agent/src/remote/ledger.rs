//! What this agent decided on documents, durable in `<data_dir>/remote/ledger`.
//!
//! Guarantees:
//! - A version is decided on once, whatever is delivered again: versions only rise, and one that was rolled back or
//!   refused is at or below [`Ledger::highest`].
//! - A command is begun at most once: its id is in the file before it begins, and stays there until the document has
//!   expired; after that its expiry refuses it, whatever the clock of this machine does ([`Ledger::forgotten`]).
//! - A result is owed until the queue has it. At most [`MAX_OWED`] are: the oldest goes.
//! - Settings change hands in one replace of the file: after a crash they are those before or those after.
//!
//! The file is a [`StateFile`] whose payload is JSON.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use weir_protocol::name::Name;
use weir_storage::fs::{File, Mode};
use weir_storage::{Fs, IoError, Loaded, StateFile, durable};

use super::desk::DeskError;

/// The directory below `data_dir`.
pub const DIR: &str = "remote";
const FILE: &str = "ledger";
/// The most results that wait for the queue.
pub const MAX_OWED: usize = 64;
/// The most commands whose documents have not expired.
pub const MAX_COMMANDS: usize = 256;
/// What is kept of the output of each of them, in bytes: all of it is told once.
pub const MAX_RECORDED: usize = 256;
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

/// Where a result is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum About {
    /// In the channel `config.result`.
    Config,
    /// In the channel `command.result`.
    Command,
}

/// What became of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Rises with every result of this agent.
    pub number: u64,
    /// What it is about.
    pub about: About,
    /// One line, such as `7 confirmed`.
    pub headline: String,
    /// Why, or what the command printed; may be empty.
    pub detail: String,
    /// The id of a command with a topic of its own, which is taken back from there once the queue has this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decides: Option<Name>,
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

    /// Notes what became of a document.
    pub fn owe(&mut self, about: About, headline: String, detail: String, decides: Option<Name>) -> Option<Outcome> {
        let outcome = Outcome { number: self.next_number, about, headline, detail, decides };
        self.next_number += 1;
        self.owed.push_back(outcome);
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
mod tests {
    use super::*;

    /// As the first build wrote it, and with a field of a later one.
    #[test]
    fn a_ledger_of_any_build_is_read() {
        let written = r#"{"highest":8,"highest_digest":"ab","confirmed":{"version":7,"settings":"drain = \"3s\"\n"},
            "trial":{"overlay":{"version":8,"settings":""},"starts":1},
            "owed":[{"number":3,"about":"config","headline":"8 trying","detail":""}],"next_number":4,
            "commands":[{"id":"c-1","digest":"cd","expires":100,"is_done":false}],"forgotten":50,"of_a_later_build":1}"#;
        let mut ledger: Ledger = serde_json::from_str(written).unwrap();
        assert_eq!(ledger.overlay().map(|overlay| overlay.version), Some(8));
        assert_eq!(ledger.owed().map(|outcome| outcome.about), Some(About::Config));
        assert_eq!(ledger.begin("c-2", "", (50, 0), false), Err(NotBegun::Forgotten));
        assert_eq!(ledger.interrupted(), ["c-1"]);
        assert_eq!(serde_json::from_str::<Ledger>("{}").unwrap(), Ledger::default());
    }

    #[test]
    fn a_command_is_begun_once_even_if_the_clock_goes_back_after_it_was_forgotten() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.begin("a", "", (100, 50), false), Ok(()));
        assert_eq!(ledger.begin("a", "", (100, 51), false), Err(NotBegun::Repeated));
        ledger.end("a", Recorded { how: "exited 0".to_owned(), output: String::new() });
        assert_eq!(ledger.begin("b", "", (300, 200), false), Ok(()), "which forgets the first");
        assert_eq!(ledger.begin("a", "", (100, 50), false), Err(NotBegun::Forgotten));
        assert_eq!(ledger.interrupted(), ["b"]);
    }

    #[test]
    fn what_became_of_a_command_is_kept_for_whoever_asks_again_once_it_is_not_owed() {
        let mut ledger = Ledger::default();
        ledger.begin("a", "", (100, 50), true).unwrap();
        assert_eq!(ledger.result_of("a"), None, "it runs");
        let output = format!("{}é{}", "x".repeat(10), "y".repeat(MAX_RECORDED - 1));
        let decides = ledger.end("a", Recorded { how: "exited 0".to_owned(), output });
        assert_eq!(decides.map(|id| id.to_string()).as_deref(), Some("a"));
        ledger.owe(About::Command, "a exited 0".to_owned(), String::new(), decides);
        assert_eq!(ledger.result_of("a"), None, "it is owed");
        ledger.paid(0);
        let result = ledger.result_of("a").unwrap();
        assert_eq!((result.how.as_str(), result.output.as_str()), ("exited 0", &*"y".repeat(MAX_RECORDED - 1)));
    }

    #[test]
    fn commands_and_results_that_are_remembered_are_bounded() {
        let mut ledger = Ledger::default();
        for number in 0..MAX_COMMANDS {
            assert_eq!(ledger.begin(&format!("c{number}"), "", (100, 50), false), Ok(()));
        }
        assert_eq!(ledger.begin("one-more", "", (100, 50), false), Err(NotBegun::Full));
        let gone: Vec<_> = (0..MAX_OWED + 2)
            .filter_map(|number| ledger.owe(About::Config, number.to_string(), String::new(), None))
            .map(|outcome| outcome.headline)
            .collect();
        assert_eq!(gone, ["0", "1"]);
        ledger.paid(2);
        assert_eq!(ledger.owed().map(|outcome| outcome.number), Some(3));
    }

    #[test]
    fn a_trial_that_was_started_twice_is_not_started_again() {
        let overlay = Overlay { version: 1, settings: String::new() };
        let mut ledger = Ledger { trial: Some(Trial { overlay, starts: 0 }), ..Ledger::default() };
        assert_eq!([ledger.begin_trial(), ledger.begin_trial(), ledger.begin_trial()], [true, true, false]);
    }
}

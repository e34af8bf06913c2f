//! The queue on disk: what devices were acknowledged for, until the gateway has it.
//!
//! Guarantees:
//! - A record that was committed survives a power cut, and so does everything its removal depends on.
//! - Memory does not grow with the backlog: opening reads the last segment and the state, reading takes a window.
//! - The disk that each class takes has a cap. What happens when it is full is the [`Policy`]; whatever is dropped is
//!   claimed first.
//! - What is damaged is skipped and told; positions ([`Standing`]) make it exactly unaccounted at the gateway.
//!
//! `<data_dir>/queue/` is the log of the class `default`, `<data_dir>/classes/<name>/` that of another class ([`class`]);
//! their record values are encoded [`weir_protocol::batch::Section`]s ([`records`]), so that a batch is a copy of bytes.
//! `<data_dir>/state` holds [`State`]: how far each restart was accepted, and of each log which offsets the gateway has
//! and what its segments name. `<data_dir>/claims` holds [`Claims`] that wait beside the logs.

mod age;
mod blocks;
mod claims;
pub mod class;
mod cover;
mod descriptions;
mod examination;
mod facts;
mod files;
mod inspection;
pub mod keeper;
mod options;
mod policy;
pub mod records;
mod recovery;
mod repair;
mod replay;
mod restarts;
mod sealed_file;
mod standing;
mod state;
mod stored;
mod submission;
mod summary;
pub mod vault;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use weir_storage::{Committer, CommitterOptions, Fs, IoError, Log, OpenError, Reader, RemoveError};

pub use age::Now;
pub use blocks::Blocks;
pub use claims::{Claims, ClaimsError, ClaimsFull};
pub use class::{ClassId, ClassOptions, DEFAULT_CLASS, MAX_CLASSES, MIN_CLASS_CAP};
pub use cover::coarsen;
pub use descriptions::{Descriptions, MAX_DESCRIPTIONS};
pub use examination::Examination;
pub use facts::{ClassFacts, Facts};
pub use files::Files;
pub use inspection::{Holding, Inspection};
pub use options::QueueOptions;
pub use policy::{DropError, Dropped, Policy};
pub use records::ClassLog;
pub use recovery::Recovered;
pub use repair::{DAMAGED_DIR, RepairError, Repaired, repair};
pub use restarts::{Key, MAX_RESTARTS, Progress, Restarts};
pub use sealed_file::FileError;
pub use standing::Standing;
pub use state::{ClassState, Incarnation, SharedState, State};
pub use submission::{Committed, CommittedPart, Entries};
pub use summary::{ClassSummary, DeviceSummary, Summary};
pub use vault::Vault;

use claims::ClaimsFile;
use sealed_file::SealedFile;

/// The directory of the log of `default`, that of the directories of the others, and the files beside them.
pub const LOG_DIR: &str = "queue";
/// See [`LOG_DIR`].
pub const CLASSES_DIR: &str = "classes";
/// See [`LOG_DIR`].
pub const STATE_FILE: &str = "state";
/// See [`LOG_DIR`].
pub const CLAIMS_FILE: &str = "claims";
/// The smallest cap of `default`, in bytes.
pub const MIN_CAP: u64 = 1 << 20;
/// The claims' file takes this part of the cap of `default`, and at most [`MAX_CLAIMS`] bytes.
const CLAIMS_PART: u64 = 64;
const MAX_CLAIMS: u64 = 1 << 20;

/// The queue, open.
pub struct Queue {
    committer: Committer,
    /// By [`ClassId::index`], which is also the index of the committer's log.
    classes: Vec<Class>,
    state: SharedState,
    /// One write at a time, and what is written later is newer.
    file: Mutex<SealedFile>,
    claims: Arc<ClaimsFile>,
    /// Held by whoever removes segments.
    front: Mutex<()>,
    rolled: Arc<Notify>,
    /// When ages were noted last.
    aged_at: Mutex<Option<std::time::Duration>>,
    /// Why the last try to make something durable failed.
    failing: Mutex<Option<String>>,
    options: QueueOptions,
}

/// One class of it.
struct Class {
    options: ClassOptions,
    log: ClassLog,
}

/// Why the queue could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// A log.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A record could not be read while a log was gone through.
    #[error(transparent)]
    Read(#[from] weir_storage::ReadError),
    /// The state file, or the system's refusal of something else.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The key of the settings.
    #[error(transparent)]
    Key(#[from] crate::config::KeyError),
    /// It does not open what is there.
    #[error(transparent)]
    Locked(#[from] vault::Locked),
    /// No epoch for it.
    #[error(transparent)]
    Random(#[from] vault::NoRandom),
    /// No thread for the committer.
    #[error("cannot start the commit thread: {0}")]
    Thread(#[source] std::io::Error),
}

impl From<FileError> for QueueError {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Io(error) => error.into(),
            FileError::Locked(error) => error.into(),
        }
    }
}

impl Queue {
    /// Opens the queue below `data_dir`, or starts one there. `incarnation` is for a queue that starts.
    pub fn open(
        fs: &Arc<dyn Fs>,
        data_dir: &Path,
        options: QueueOptions,
        incarnation: Incarnation,
    ) -> Result<(Self, Recovered), QueueError> {
        let vault = &options.vault;
        // Before anything is touched.
        Files::load(fs, data_dir, vault)?;
        let mut classes = vec![options.default_class()];
        classes.extend(options.classes.iter().copied());
        let on_disk = class::classes_on_disk(&**fs, data_dir)?;
        let retired = on_disk.into_iter().filter(|name| classes.iter().all(|class| class.name != *name));
        let retired: Vec<_> = retired.map(ClassOptions::retired).collect();
        classes.extend(retired);
        let mut logs = Vec::with_capacity(classes.len());
        let mut found = Vec::with_capacity(classes.len());
        for class in &classes {
            let dir = class::log_dir(data_dir, class.name);
            let (log, recovery) = Log::open(Arc::clone(fs), &dir, class.log_options())?;
            logs.push(log);
            found.push(recovery);
        }
        let opened = classes.iter().zip(&logs);
        let classes: Vec<Class> = opened
            .map(|(class, log)| Class { options: *class, log: ClassLog::new(class.name, log.reader(), vault) })
            .collect();
        classes.iter().try_for_each(|class| class.log.check_key())?;
        let file = SealedFile::new(fs, data_dir, STATE_FILE, vault);
        let claims = SealedFile::new(fs, data_dir, CLAIMS_FILE, vault);
        let readable: Vec<ClassLog> = classes.iter().map(|class| class.log.clone()).collect();
        let (state, recovered) = recovery::recover(&file, &claims, &readable, found, incarnation)?;
        if !file.is_current()? {
            // Before the first record that needs the key: whoever opens the queue without it is told.
            file.replace(state.encode())?;
        }
        if !claims.is_current()? {
            claims.replace(state.claims.encode())?;
        }
        let state = SharedState::new(state);
        let most_claims = (options.cap / CLAIMS_PART).min(MAX_CLAIMS) as usize;
        let claims = Arc::new(ClaimsFile::new(claims, state.clone(), most_claims));
        // Flash takes one write at a time; threads for more would only take memory.
        let (min_interval, max_parallel_syncs) = (options.commit_interval, 1);
        let committing = CommitterOptions { min_interval, max_parallel_syncs, ..CommitterOptions::default() };
        let committer = Committer::spawn(logs, committing).map_err(QueueError::Thread)?;
        let (file, front, rolled) = (Mutex::new(file), Mutex::new(()), Arc::new(Notify::new()));
        let aged_at = Mutex::new(None);
        let failing = Mutex::default();
        Ok((Self { committer, classes, state, file, claims, front, rolled, aged_at, failing, options }, recovered))
    }

    /// Why the last try to make something durable failed, if it did.
    pub fn failing(&self) -> Option<String> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes how a try to make something durable ended.
    pub(crate) fn set_failing(&self, why: Option<String>) {
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Makes claims beside the logs durable. Blocks.
    pub fn claim(&self, claims: &Claims) -> Result<bool, ClaimsError> {
        self.claims.add(claims)
    }

    /// Makes the state durable. Blocks.
    pub fn save(&self) -> Result<(), IoError> {
        let file = self.file();
        let bytes = self.state.lock().encode();
        file.replace(bytes)
    }

    /// Removes what the gateway has, as far as whole segments go; the state first. Blocks.
    pub fn trim(&self) -> Result<(), RemoveError> {
        let _front = self.front();
        let file = self.file();
        let held = self.claims.hold();
        let (bytes, claims, upto) = {
            let mut state = self.state.lock();
            let upto: Vec<u64> = self.ids().map(|class| state.of_mut(class).trim(self.reader(class))).collect();
            (state.encode(), state.claims.clone(), upto)
        };
        file.replace(bytes)?;
        drop(file);
        held.keep(claims)?;
        for (class, upto) in self.ids().zip(upto) {
            let kept_from = self.committer.remove_before(class.index(), upto)?;
            // What is gone needs no memory.
            self.state.lock().of_mut(class).shipped.remove(0..kept_from);
        }
        Ok(())
    }

    fn file(&self) -> MutexGuard<'_, SealedFile> {
        // It holds nothing but a path.
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn front(&self) -> MutexGuard<'_, ()> {
        self.front.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the gateway has everything.
    pub fn is_empty(&self) -> bool {
        let state = self.state.lock();
        let is_shipped = |class: ClassId| {
            let reader = self.reader(class);
            state.of(class).first_unshipped(reader.start_offset()) >= reader.end_offset()
        };
        state.claims.is_empty() && self.ids().all(is_shipped)
    }

    /// Bytes that may still be committed to a class.
    pub fn room(&self, class: ClassId) -> u64 {
        let Class { options, log } = &self.classes[class.index()];
        options.log_cap().saturating_sub(log.reader.filled())
    }

    /// [`Self::room`] of every class, by [`ClassId::index`].
    pub fn rooms(&self) -> Vec<u64> {
        self.ids().map(|class| self.room(class)).collect()
    }

    /// Whether a class is half full, so that every segment counts.
    pub(crate) fn is_half_full(&self) -> bool {
        self.ids().any(|class| self.room(class) < self.classes[class.index()].options.cap / 2)
    }

    /// Where every restart stands.
    pub fn standings(&self) -> Vec<Standing> {
        let starts: Vec<u64> = self.ids().map(|class| self.reader(class).start_offset()).collect();
        self.state.lock().standings(&starts)
    }

    /// How it is kept.
    pub fn options(&self) -> &QueueOptions {
        &self.options
    }

    /// Told when a segment begins.
    pub(crate) fn rolled(&self) -> &Notify {
        &self.rolled
    }

    /// All classes, `default` first; those that settings no longer name are behind the others.
    pub fn ids(&self) -> impl Iterator<Item = ClassId> + use<> {
        (0..self.classes.len()).map(|at| ClassId(at as u8))
    }

    /// The class of a name.
    pub fn class_id(&self, name: &str) -> Option<ClassId> {
        self.ids().find(|class| self.name(*class).as_str() == name)
    }

    /// What each class does when it is full, by [`ClassId::index`].
    pub fn policies(&self) -> Vec<Policy> {
        self.classes.iter().map(|class| class.options.policy).collect()
    }

    /// What a class is called.
    pub fn name(&self, class: ClassId) -> weir_protocol::name::Name {
        self.classes[class.index()].options.name
    }

    /// Reads a class beside the commits.
    pub fn log(&self, class: ClassId) -> &ClassLog {
        &self.classes[class.index()].log
    }

    /// The same, as bytes.
    pub fn reader(&self, class: ClassId) -> &Reader {
        &self.log(class).reader
    }

    /// Records committed so far, in all classes.
    pub fn committed(&self) -> u64 {
        self.ids().map(|class| self.reader(class).end_offset()).sum()
    }

    /// What is known besides the records.
    pub fn state(&self) -> SharedState {
        self.state.clone()
    }
}

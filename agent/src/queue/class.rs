//! Classes: parts of the queue with a log, a cap and a policy of their own, so that alarms neither wait behind telemetry
//! nor are dropped for it.
//!
//! Guarantees: the log of `default` is where that of a queue without classes is; what is in the log of a class that the
//! settings no longer name is still shipped, and nothing is added to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use weir_protocol::name::Name;
use weir_storage::{Fs, IoError, LogOptions, RecoveryMode};

use super::{CLASSES_DIR, ClassLog, LOG_DIR, Policy, Vault};

/// The most classes beside `default`.
pub const MAX_CLASSES: usize = 8;
/// The class of everything that no rule puts into another.
pub const DEFAULT_CLASS: Name = match Name::new("default") {
    Ok(name) => name,
    Err(_) => unreachable!(),
};
/// The smallest cap of a class beside `default`, in bytes.
pub const MIN_CLASS_CAP: u64 = 64 << 10;
/// So many parts of the cap of `default` are its log's; one more is for claims: their file, its successor while it is
/// written, and the room that is kept so that this works on a full disk.
const LOG_PARTS: u64 = 15;

/// A class of an open queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassId(pub u8);

impl ClassId {
    /// See [`DEFAULT_CLASS`].
    pub const DEFAULT: Self = Self(0);

    /// Its place where classes are counted, `default` being the first.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The classes of a queue that has `count`, the most urgent first; `default` is the last.
    pub fn by_priority(count: usize) -> impl Iterator<Item = Self> {
        (1..count).chain([0]).map(|at| Self(at as u8))
    }
}

/// The most zeros that its log writes ahead: with 10 readings a commit some 250 commits' worth.
const MOST_ROOM: u64 = 64 << 10;
/// In steps of so many.
const ROOM_STEP: u64 = 8 << 10;

/// How one class is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassOptions {
    /// What it is called.
    pub name: Name,
    /// The most bytes that it takes on disk.
    pub cap: u64,
    /// What to do when it is full.
    pub policy: Policy,
    /// How long what the gateway does not take is kept; `None` is for ever.
    pub max_age: Option<Duration>,
}

impl ClassOptions {
    /// A class that is only shipped.
    pub(super) fn retired(name: Name) -> Self {
        Self { name, cap: MIN_CLASS_CAP, policy: Policy::Block, max_age: None }
    }

    /// The most bytes of the log.
    pub(super) fn log_cap(&self) -> u64 {
        if self.name == DEFAULT_CLASS { self.cap / (LOG_PARTS + 1) * LOG_PARTS } else { self.cap }
    }

    /// Sixteen segments to a full queue: room comes back in steps of a sixteenth.
    pub(super) fn segment_bytes(&self) -> u64 {
        (self.cap / 16).clamp(4 << 10, 16 << 20)
    }

    /// Flash is spared by room ahead, of which a small queue has little to give: none below 512 KiB.
    pub(super) fn room_bytes(&self) -> u64 {
        (self.cap / 64).min(MOST_ROOM) / ROOM_STEP * ROOM_STEP
    }

    pub(super) fn log_options(&self) -> LogOptions {
        LogOptions {
            segment_bytes: self.segment_bytes(),
            cap_bytes: Some(self.log_cap()),
            room_bytes: self.room_bytes(),
            recovery: RecoveryMode::Tail,
            ..LogOptions::default()
        }
    }
}

/// Where the log of a class is.
pub fn log_dir(data_dir: &Path, class: Name) -> PathBuf {
    if class == DEFAULT_CLASS { data_dir.join(LOG_DIR) } else { data_dir.join(CLASSES_DIR).join(class.as_str()) }
}

/// The classes that have a log below `data_dir`, `default` first, then by name.
pub fn classes_on_disk(fs: &dyn Fs, data_dir: &Path) -> Result<Vec<Name>, IoError> {
    let dir = data_dir.join(CLASSES_DIR);
    let mut names = Vec::new();
    if fs.exists(&dir).map_err(IoError::on("look at", &dir))? {
        let found = fs.list(&dir).map_err(IoError::on("list", &dir))?;
        names.extend(found.iter().filter_map(|name| Name::new(name).ok()).filter(|name| *name != DEFAULT_CLASS));
        names.sort();
    }
    names.insert(0, DEFAULT_CLASS);
    Ok(names)
}

/// Opens the logs below `data_dir` for reading only, `default` first.
pub fn read_logs(fs: &Arc<dyn Fs>, data_dir: &Path, vault: &Arc<Vault>) -> Result<Vec<ClassLog>, IoError> {
    let names = classes_on_disk(&**fs, data_dir)?;
    names.into_iter().map(|name| ClassLog::open(fs, data_dir, name, vault)).collect()
}

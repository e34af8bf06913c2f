//! Keyed state: a read model that a log can rebuild, in sled, made durable.
//!
//! What it is for: what one wants to look up by key although the truth is a log: the device registry, latest
//! values, received ranges between checkpoints. Deleting it loses nothing.
//!
//! Guarantees:
//! - A [`Keyed::commit`] that returned survives a power cut, and a commit survives whole or not at all, its stamps
//!   with it. sled by itself never syncs its file, so a commit applies the changes as one sled batch,
//!   flushes sled, and then calls `fdatasync` on the file.
//! - What is served is exactly what some commit left: every commit keeps a digest of all entries, and
//!   opening reads everything and compares. Damage of any kind (sled refuses, sled panics, entries are
//!   missing, stale or doubled, a populated state comes up empty) is [`Opened::Rebuild`]: the state starts empty and the
//!   caller fills it from the log. It is never an error, and never a panic of the caller.
//! - After an error nothing is served any more, because after a failed sync the page cache cannot be trusted: open it
//!   again, which rebuilds it, or [`Keyed::clear`] it.
//! - Keys, values and commits are bounded ([`MAX_KEY_BYTES`], [`MAX_VALUE_BYTES`], [`MAX_CHANGES`]); sled's cache is.
//!   Opening takes time and reads with the size of the state, so it is meant for some 100 MB at most.
//!
//! A reader beside a commit may see a part of it. There is one writer: commits wait for each other.
//!
//! Format: `<dir>/lock`; `<dir>/generation`, a [`StateFile`] with the generation as u64 big endian, counted up
//! whenever the state starts empty; `<dir>/sled.<generation>/`, a database of sled 0.34 with one tree. A key is the name of
//! its space, a zero byte, and the caller's key. Spaces of its own start with a zero byte: see [`store`].

mod changes;
mod digest;
mod engine;
mod store;

use crate::durable;
use crate::error::{IoError, OpenError};
use crate::fs::{File, Fs, Mode, RealFs};
use crate::state::{Loaded, StateFile};
pub use changes::{Changes, TooLarge};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::Store;
use thiserror::Error;

/// The longest name of a space, in bytes.
pub const MAX_SPACE_BYTES: usize = 32;
/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 512;
/// The longest value, in bytes: sled writes small values well and large ones badly.
pub const MAX_VALUE_BYTES: usize = 4096;
/// The most keys that one commit changes.
pub const MAX_CHANGES: usize = 16 * 1024;

const DATABASE_PREFIX: &str = "sled.";

/// What was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// Nothing: this is the first start.
    Fresh,
    /// A state that is what its last commit left.
    Existing,
    /// A state that cannot be believed, for this reason. It is gone and the new one is empty: fill it from the log.
    Rebuild(String),
}

/// Why keyed state could not be read or changed.
#[derive(Debug, Clone, Error)]
pub enum KeyedError {
    /// sled or the filesystem failed, now or at an earlier call. Open it again, or clear it.
    #[error("the keyed state in {} failed: {reason}; open it again", dir.display())]
    Failed {
        /// Where it is.
        dir: PathBuf,
        /// What sled or the system said.
        reason: String,
    },
}

/// Keyed state, open. One process has it at a time.
pub struct Keyed {
    dir: PathBuf,
    generation: StateFile,
    state: Mutex<State>,
    _lock: Box<dyn File>,
}

enum State {
    Open(Arc<Store>),
    Failed(String),
}

impl Keyed {
    /// Opens the state in `dir`, or starts one there.
    ///
    /// # Errors
    /// [`OpenError::Locked`] when another process has it; [`OpenError::Io`] when no state can be made here either.
    pub fn open(dir: &Path) -> Result<(Keyed, Opened), OpenError> {
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        durable::create_dir_all(&*fs, dir)?;
        let lock_path = dir.join("lock");
        let lock = fs.open(&lock_path, Mode::Create).map_err(IoError::on("create", &lock_path))?;
        if !lock.try_lock().map_err(IoError::on("lock", &lock_path))? {
            return Err(OpenError::Locked(dir.to_owned()));
        }
        let generation = StateFile::new(Arc::clone(&fs), &dir.join("generation"));
        let (opened, store) = match find(&*fs, dir, &generation)? {
            Found::Nothing => (Opened::Fresh, start(&*fs, dir, &generation)?),
            Found::Store(store) => (Opened::Existing, store),
            Found::Unusable(reason) => (Opened::Rebuild(reason), start(&*fs, dir, &generation)?),
        };
        let state = Mutex::new(State::Open(Arc::new(store)));
        Ok((Keyed { dir: dir.to_owned(), generation, state, _lock: lock }, opened))
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`KeyedError::Failed`].
    pub fn get(&self, space: &str, key: &[u8]) -> Result<Option<Vec<u8>>, KeyedError> {
        self.with(|store| store.get(space, key))
    }

    /// Keys and values of a space in the order of the keys: at most `limit` whose key starts with `prefix` and, if
    /// `after` is given, comes behind it.
    ///
    /// # Errors
    /// [`KeyedError::Failed`].
    #[allow(clippy::type_complexity)] // a list of keys and values
    pub fn range(
        &self,
        space: &str,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, KeyedError> {
        self.with(|store| store.range(space, prefix, after, limit))
    }

    /// The offset up to which this state covers a log, as the last commit that said so; see [`Changes::stamp`].
    ///
    /// # Errors
    /// [`KeyedError::Failed`].
    pub fn stamp(&self, log: &str) -> Result<Option<u64>, KeyedError> {
        self.with(|store| store.stamp(log))
    }

    /// Makes the changes, all or none; durable when this returns.
    ///
    /// # Errors
    /// [`KeyedError::Failed`]; opened again, it has all of the changes or none, or is rebuilt.
    pub fn commit(&self, changes: &Changes) -> Result<(), KeyedError> {
        self.with(|store| store.commit(changes))
    }

    /// Empties it, also after a failure, and makes that durable.
    ///
    /// # Errors
    /// [`KeyedError::Failed`].
    pub fn clear(&self) -> Result<(), KeyedError> {
        let mut state = self.state();
        *state = State::Failed("it was being cleared".into());
        match start(&RealFs, &self.dir, &self.generation) {
            Ok(store) => *state = State::Open(Arc::new(store)),
            Err(error) => *state = State::Failed(error.to_string()),
        }
        match &*state {
            State::Open(_) => Ok(()),
            State::Failed(reason) => Err(self.failed(reason)),
        }
    }

    /// Bytes that the database takes on disk; `None` after a failure.
    pub fn bytes_on_disk(&self) -> Option<u64> {
        self.with(Store::bytes_on_disk).ok()
    }

    fn with<T>(&self, act: impl FnOnce(&Store) -> Result<T, String>) -> Result<T, KeyedError> {
        let store = match &*self.state() {
            State::Open(store) => Arc::clone(store),
            State::Failed(reason) => return Err(self.failed(reason)),
        };
        act(&store).map_err(|reason| {
            let mut state = self.state();
            // Meanwhile it may have been cleared.
            if matches!(&*state, State::Open(current) if Arc::ptr_eq(current, &store)) {
                *state = State::Failed(reason.clone());
            }
            self.failed(&reason)
        })
    }

    fn failed(&self, reason: &str) -> KeyedError {
        KeyedError::Failed { dir: self.dir.clone(), reason: reason.to_owned() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Found {
    Nothing,
    Store(Store),
    /// For this reason.
    Unusable(String),
}

/// Looks at what is in `dir`.
fn find(fs: &dyn Fs, dir: &Path, generation: &StateFile) -> Result<Found, IoError> {
    let there = databases(fs, dir)?;
    let loaded = match generation.load()? {
        Loaded::Missing if there.is_empty() => return Ok(Found::Nothing),
        Loaded::Missing => Err("its generation is missing".to_owned()),
        Loaded::Damaged { reason } => Err(format!("its generation is damaged: {reason}")),
        Loaded::Good(payload) => number(&payload).ok_or_else(|| format!("got a generation of {} bytes", payload.len())),
    };
    Ok(match loaded {
        Err(reason) => Found::Unusable(reason),
        Ok(generation) if !there.contains(&generation) => Found::Unusable("its database is missing".into()),
        Ok(generation) => match Store::open(&database(dir, generation)).and_then(|store| store.checked(generation)) {
            Ok(store) => Found::Store(store),
            Err(reason) => Found::Unusable(reason),
        },
    })
}

/// Starts an empty database in place of what is there, in a generation above every one that was.
fn start(fs: &dyn Fs, dir: &Path, generation: &StateFile) -> Result<Store, IoError> {
    let before = databases(fs, dir)?;
    let last = match generation.load()? {
        Loaded::Good(payload) => number(&payload),
        Loaded::Missing | Loaded::Damaged { .. } => None,
    };
    let next = before.iter().copied().chain(last).max().unwrap_or(0).wrapping_add(1);
    // First, so that whatever is left of the old database, if this is interrupted, is not believed.
    generation.replace(&next.to_be_bytes())?;
    for generation in before {
        engine::remove(&database(dir, generation))?;
    }
    let path = database(dir, next);
    Store::create(&path, next).map_err(|reason| IoError::on("create", &path)(std::io::Error::other(reason)))
}

/// Each generation has a directory of its own, so that a thread of sled that was given up on writes into none but its
/// own.
fn database(dir: &Path, generation: u64) -> PathBuf {
    dir.join(format!("{DATABASE_PREFIX}{generation}"))
}

/// Generations that have a database in `dir`.
fn databases(fs: &dyn Fs, dir: &Path) -> Result<Vec<u64>, IoError> {
    let names = fs.list(dir).map_err(IoError::on("list", dir))?;
    Ok(names.iter().filter_map(|name| name.strip_prefix(DATABASE_PREFIX)?.parse().ok()).collect())
}

pub(crate) fn number(payload: &[u8]) -> Option<u64> {
    payload.try_into().ok().map(u64::from_be_bytes)
}

//! sled, made durable and kept from panicking its callers.
//!
//! sled 0.34 writes its log to the page cache and starts write-back, but never syncs the file (`iobuf.rs` of 0.34.7:
//! `sync_file_range`), so after each flush this syncs it by a descriptor of its own. Names are synced when the
//! database is made and each time it is opened, because opening writes a snapshot file. On damage sled may panic
//! or loop, at opening or later: opening runs on a thread that is given up after [`OPEN_TIME`], every call catches
//! panics, and a database that failed is leaked rather than dropped, because dropping it would touch it again.

use crate::durable;
use crate::error::IoError;
use crate::fs::{Fs, Mode, RealFs};
use std::fs::File;
use std::io::ErrorKind;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// sled's page cache; it is a soft bound, so half of what it may take.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;
/// A database that takes longer to open is damaged: a sound one of 100 MB opens within a second.
const OPEN_TIME: Duration = Duration::from_secs(60);

/// A database that was dropped gives its lock back when the last of sled's threads is through with it.
const LOCK_TIME: Duration = Duration::from_secs(10);

pub(super) struct Engine {
    /// There until it is dropped.
    database: Option<sled::Db>,
    /// The same file as sled's.
    file: File,
    failed: AtomicBool,
}

/// Removes a database and makes that durable.
pub(super) fn remove(path: &Path) -> Result<(), IoError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        removed => removed.map_err(IoError::on("remove", path))?,
    }
    path.parent().map_or(Ok(()), |parent| durable::sync_dir(&RealFs, parent))
}

impl Engine {
    /// An empty database.
    pub(super) fn create(path: &Path) -> Result<Engine, String> {
        durable::create_dir_all(&RealFs, path).map_err(text)?;
        Engine::open(path)
    }

    /// The database at `path`.
    pub(super) fn open(path: &Path) -> Result<Engine, String> {
        let config = sled::Config::new().path(path).cache_capacity(CACHE_BYTES).flush_every_ms(None);
        let file_path = path.join("db");
        let (released, is_released) = mpsc::sync_channel(1);
        let (answer, answered) = mpsc::sync_channel(1);
        let opening = move || {
            wait_for_lock(&file_path);
            settle_file(&file_path);
            // What comes too late, and a panic, find nobody listening.
            let _ = released.send(());
            let _ = answer.send(config.open());
        };
        std::thread::Builder::new().name("keyed-open".into()).spawn(opening).map_err(text)?;
        is_released.recv_timeout(LOCK_TIME).map_err(|_| "a failed database of this process still has it".to_owned())?;
        let database = match answered.recv_timeout(OPEN_TIME) {
            Ok(opened) => opened.map_err(text)?,
            Err(mpsc::RecvTimeoutError::Timeout) => return Err(format!("sled did not open it within {OPEN_TIME:?}")),
            Err(mpsc::RecvTimeoutError::Disconnected) => return Err("sled panicked at opening it".into()),
        };
        let file = File::open(path.join("db")).map_err(text)?;
        let engine = Engine { database: Some(database), file, failed: AtomicBool::new(false) };
        engine.settle(path)?;
        Ok(engine)
    }

    /// Makes durable what opening wrote.
    fn settle(&self, path: &Path) -> Result<(), String> {
        let synced = || -> std::io::Result<()> {
            File::open(path.join("conf"))?.sync_all()?;
            self.file.sync_all()?;
            File::open(path.join("blobs"))?.sync_all()?;
            File::open(path)?.sync_all()
        };
        synced().map_err(|error| self.fail(error.to_string()))
    }

    /// Makes all the writes or none of them; durable when this returns.
    pub(super) fn apply(&self, writes: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<(), String> {
        let mut batch = sled::Batch::default();
        for (key, value) in writes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.guarded(|database| {
            database.apply_batch(batch)?;
            database.flush()
        })?;
        self.file.sync_data().map_err(|error| self.fail(error.to_string()))
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        self.guarded(|database| Ok(database.get(key)?.map(|value| value.to_vec())))
    }

    /// The first `limit` entries whose key starts with `prefix` and comes behind `after`.
    #[allow(clippy::type_complexity)] // a list of keys and values
    pub(super) fn range(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, String> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        self.guarded(|database| {
            let entries = database.range::<&[u8], _>((from, Bound::Unbounded));
            let ours = entries.take_while(|entry| entry.as_ref().map_or(true, |(key, _)| key.starts_with(prefix)));
            ours.take(limit).map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec()))).collect()
        })
    }

    /// Every entry, in the order of the keys.
    pub(super) fn each(&self, mut look: impl FnMut(&[u8], &[u8])) -> Result<(), String> {
        self.guarded(|database| {
            for entry in database.iter() {
                let (key, value) = entry?;
                look(&key, &value);
            }
            Ok(())
        })
    }

    pub(super) fn bytes_on_disk(&self) -> Result<u64, String> {
        self.guarded(|database| database.size_on_disk())
    }

    fn guarded<T>(&self, act: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, String> {
        if self.failed.load(Ordering::Acquire) {
            return Err("it failed before".into());
        }
        // After a panic the database is never touched again, so nothing half done is seen.
        match catch_unwind(AssertUnwindSafe(|| self.database.as_ref().map(act))) {
            Ok(Some(done)) => done.map_err(|error| self.fail(error.to_string())),
            Ok(None) | Err(_) => Err(self.fail("sled panicked".into())),
        }
    }

    fn fail(&self, reason: String) -> String {
        self.failed.store(true, Ordering::Release);
        reason
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let database = self.database.take();
        if self.failed.load(Ordering::Acquire) {
            std::mem::forget(database);
        } else {
            // A panic here damages nothing that a commit made durable.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
        }
    }
}

/// Waits until nobody has the file any more. Other processes are kept out by the caller's lock.
fn wait_for_lock(path: &Path) {
    // A file that is not there, or none, is for sled to complain about.
    if let Ok(file) = File::open(path) {
        let _ = file.lock();
    }
}

/// What an earlier process left in the page cache alone is pushed out, and what a failed sync marked clean is
/// dropped, so that sled reads the disk.
fn settle_file(path: &Path) {
    if let Ok(file) = RealFs.open(path, Mode::Read) {
        let _ = file.sync_data().and_then(|()| file.forget_cache());
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

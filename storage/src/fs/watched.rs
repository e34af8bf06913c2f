//! A filesystem that shows what is done to it: tests count operations, and hold one back while others go on.

use super::{File, Fs, Mode};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is done, and to which path: [`Watcher`] is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A file is opened, or made.
    Open,
    /// An open file is dropped.
    Close,
    /// Bytes of a file are read.
    Read,
    /// Bytes of a file are written.
    Write,
    /// A file is made durable.
    Sync,
    /// A name is removed.
    Remove,
    /// A name is changed; the path is the new one.
    Rename,
    /// The names of a directory are made durable.
    SyncDir,
}

/// Looks on; both are called on the thread that does it, and may wait.
pub trait Watcher: Send + Sync {
    /// It is about to be done.
    fn before(&self, operation: Operation, path: &Path) {
        let _ = (operation, path);
    }

    /// It was tried; `result` is the bytes read or written, else 0.
    fn after(&self, operation: Operation, path: &Path, result: &io::Result<usize>) {
        let _ = (operation, path, result);
    }
}

/// Another filesystem, watched. Clones have the same watcher.
#[derive(Clone)]
pub struct WatchedFs {
    fs: Arc<dyn Fs>,
    watcher: Arc<dyn Watcher>,
}

struct WatchedFile {
    file: Box<dyn File>,
    path: PathBuf,
    watcher: Arc<dyn Watcher>,
}

impl WatchedFs {
    /// Shows the operations on `fs` to `watcher`.
    pub fn new(fs: Arc<dyn Fs>, watcher: Arc<dyn Watcher>) -> WatchedFs {
        WatchedFs { fs, watcher }
    }
}

fn watch<T>(
    watcher: &dyn Watcher,
    operation: Operation,
    path: &Path,
    bytes: impl FnOnce(&T) -> usize,
    operate: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    watcher.before(operation, path);
    let done = operate();
    let told = done.as_ref().map(bytes).map_err(|error| error.kind().into());
    watcher.after(operation, path, &told);
    done
}

impl Fs for WatchedFs {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn File>> {
        let file = watch(&*self.watcher, Operation::Open, path, |_| 0, || self.fs.open(path, mode))?;
        Ok(Box::new(WatchedFile { file, path: path.to_owned(), watcher: Arc::clone(&self.watcher) }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.fs.create_dir(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.fs.list(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.fs.exists(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        watch(&*self.watcher, Operation::Rename, to, |()| 0, || self.fs.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        watch(&*self.watcher, Operation::Remove, path, |()| 0, || self.fs.remove(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        watch(&*self.watcher, Operation::SyncDir, dir, |()| 0, || self.fs.sync_dir(dir))
    }
}

impl File for WatchedFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let read = || self.file.read_at(buffer, position);
        watch(&*self.watcher, Operation::Read, &self.path, |read| *read, read)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        let write = || self.file.write_at(bytes, position);
        watch(&*self.watcher, Operation::Write, &self.path, |()| bytes.len(), write)
    }

    fn sync_data(&self) -> io::Result<()> {
        watch(&*self.watcher, Operation::Sync, &self.path, |()| 0, || self.file.sync_data())
    }

    fn write_out(&self, range: Range<u64>) -> io::Result<()> {
        self.file.write_out(range)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn allocated(&self) -> io::Result<u64> {
        self.file.allocated()
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }

    fn forget_cache(&self) -> io::Result<()> {
        self.file.forget_cache()
    }
}

impl Drop for WatchedFile {
    fn drop(&mut self) {
        self.watcher.before(Operation::Close, &self.path);
    }
}

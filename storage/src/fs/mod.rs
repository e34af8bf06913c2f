//! The filesystem as a parameter: the few operations a log needs, so that every one of them can fail in
//! a test.
//!
//! Guarantees asked of an implementation are those of POSIX and no more: written bytes are durable only
//! after [`File::sync_data`] returned, a name only after [`Fs::sync_dir`] of its directory returned, a file that was
//! made only after both, and after a failed sync nothing is known about the bytes it covered.

mod faulty;
#[cfg(any(test, feature = "plant"))]
mod forgetful;
#[cfg(any(test, feature = "plant"))]
mod lie;
#[cfg(any(test, feature = "plant"))]
mod names;
mod real;
mod watched;

pub use faulty::{Fault, FaultyFs};
#[cfg(any(test, feature = "plant"))]
pub use forgetful::ForgetfulFs;
#[cfg(any(test, feature = "plant"))]
pub use lie::Lie;
pub use real::RealFs;
pub use watched::{Operation, WatchedFs, Watcher};

use std::io;
use std::ops::Range;
use std::path::Path;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Reading; the file exists.
    Read,
    /// Reading and writing; the file exists.
    ReadWrite,
    /// Reading and writing; made if it is missing.
    Create,
    /// Reading and writing; an error if it exists.
    CreateNew,
}

/// A filesystem.
pub trait Fs: Send + Sync {
    /// Opens a file. What this creates is durable after [`File::sync_data`], its name after [`Fs::sync_dir`].
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn File>>;
    /// Makes one directory; its parent exists. See [`crate::durable::create_dir_all`].
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Names in a directory, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Whether the path exists.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Renames within one directory, replacing what has the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file; those who hold it open go on reading it.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// An open file, read and written by position so that readers need no lock.
pub trait File: Send + Sync {
    /// Reads up to `buffer.len()` bytes; 0 at the end of the file.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
    /// Writes all of `bytes`; on an error any part may have been written.
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()>;
    /// Makes the bytes and the length durable.
    fn sync_data(&self) -> io::Result<()>;
    /// Sends a part of the file on its way to the disk and waits for it, so that the next sync has less to do. Promises nothing;
    /// an error is one of a sync, and no later sync tells it again.
    fn write_out(&self, range: Range<u64>) -> io::Result<()> {
        let _ = range;
        Ok(())
    }
    /// Cuts or extends the file.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// Length in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Bytes that the file takes on disk.
    fn allocated(&self) -> io::Result<u64>;
    /// Takes the exclusive lock without waiting; false when another open file holds it. Dropping the
    /// file gives it back.
    fn try_lock(&self) -> io::Result<bool>;
    /// Drops clean pages from the cache: after a failed sync of an earlier process they may show bytes
    /// that never reached the disk.
    fn forget_cache(&self) -> io::Result<()>;
}

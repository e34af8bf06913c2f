//! Files that are read as they are: what recovery would cut off is hidden, and nothing on disk is changed.
//!
//! Opening a log truncates a torn tail. A command that only looks must not, so it opens the log on this
//! filesystem: writes are refused, a truncation shortens the view of this process alone, and the lock of a
//! writer is not asked for. Nothing is created: a missing file of a log is an empty one here.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use weir_storage::{File, Fs, Mode, RealFs};

/// The real filesystem, for reading only.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReadOnlyFs;

/// A file whose end may be hidden.
struct View {
    /// `None` for a file that a writer would have made.
    file: Option<Box<dyn File>>,
    /// Bytes from here on are hidden.
    end: AtomicU64,
}

impl Fs for ReadOnlyFs {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn File>> {
        let file = match RealFs.open(path, Mode::Read) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound && mode == Mode::Create => None,
            Err(error) => return Err(error),
        };
        Ok(Box::new(View { file, end: AtomicU64::new(u64::MAX) }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        Err(refused("create", path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealFs.list(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        RealFs.exists(path)
    }

    fn rename(&self, from: &Path, _to: &Path) -> io::Result<()> {
        Err(refused("rename", from))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Err(refused("remove", path))
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }
}

fn refused(action: &str, path: &Path) -> io::Error {
    let message = format!("will not {action} {}: opened for reading only", path.display());
    io::Error::new(io::ErrorKind::ReadOnlyFilesystem, message)
}

impl File for View {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let Some(file) = &self.file else { return Ok(0) };
        let left = self.end.load(Ordering::Relaxed).saturating_sub(position);
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        file.read_at(&mut buffer[..most], position)
    }

    fn write_at(&self, _bytes: &[u8], _position: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.end.fetch_min(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        let size = self.file.as_ref().map_or(Ok(0), |file| file.size())?;
        Ok(size.min(self.end.load(Ordering::Relaxed)))
    }

    fn allocated(&self) -> io::Result<u64> {
        self.file.as_ref().map_or(Ok(0), |file| file.allocated())
    }

    fn try_lock(&self) -> io::Result<bool> {
        Ok(true)
    }

    fn forget_cache(&self) -> io::Result<()> {
        Ok(())
    }
}

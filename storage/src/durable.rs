//! The one place that makes things durable.
//!
//! Guarantees: when a function here returns, what it names survives a power cut: the bytes, the length,
//! and the name in its directory up to the root that existed before.

use crate::error::IoError;
use crate::fs::{File, Fs, Mode};
use std::path::Path;

/// Makes `dir` and its missing parents, each durable in its own parent.
///
/// # Errors
/// [`IoError`] naming the directory that could not be made or synced.
pub fn create_dir_all(fs: &dyn Fs, dir: &Path) -> Result<(), IoError> {
    if fs.exists(dir).map_err(IoError::on("look at", dir))? {
        return Ok(());
    }
    let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) else {
        return fs.create_dir(dir).map_err(IoError::on("create", dir));
    };
    create_dir_all(fs, parent)?;
    if let Err(error) = fs.create_dir(dir)
        && error.kind() != std::io::ErrorKind::AlreadyExists
    {
        return Err(IoError::on("create", dir)(error));
    }
    sync_dir(fs, parent)
}

/// Makes a new empty file that is durable with its name, in place of what has that name: after a power cut the name
/// is the old file's or the new one's. May leave `temporary` behind when it fails; the next one removes it.
pub(crate) fn create(fs: &dyn Fs, path: &Path, temporary: &Path) -> Result<Box<dyn File>, IoError> {
    if fs.exists(temporary).map_err(IoError::on("look at", temporary))? {
        fs.remove(temporary).map_err(IoError::on("remove", temporary))?;
    }
    let file = fs.open(temporary, Mode::CreateNew).map_err(IoError::on("create", temporary))?;
    // A durable name is worth nothing without a durable file: ext4 without a journal writes the inode with a sync of the
    // file alone, and only of a file that changed since it was made.
    file.set_len(0).map_err(IoError::on("cut", temporary))?;
    file.sync_data().map_err(IoError::on("sync", temporary))?;
    fs.rename(temporary, path).map_err(IoError::on("create", path))?;
    sync_parent(fs, path)?;
    Ok(file)
}

/// Removes a file, if it is there; the name stays away. So a removal whose sync failed can be tried again.
///
/// # Errors
/// [`IoError`] naming what could not be removed or synced.
pub fn remove(fs: &dyn Fs, path: &Path) -> Result<(), IoError> {
    match fs.remove(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(IoError::on("remove", path)(error)),
        _ => sync_parent(fs, path),
    }
}

/// Replaces the whole content of `path`: after a power cut it has the old content or the new one.
/// Leaves `temporary` behind when it fails; the next replace overwrites it.
///
/// # Errors
/// [`IoError`] naming what could not be written, synced or renamed.
pub fn replace(fs: &dyn Fs, path: &Path, temporary: &Path, content: &[u8]) -> Result<(), IoError> {
    let file = fs.open(temporary, Mode::Create).map_err(IoError::on("create", temporary))?;
    file.set_len(0).map_err(IoError::on("cut", temporary))?;
    file.write_at(content, 0).map_err(IoError::on("write", temporary))?;
    file.sync_data().map_err(IoError::on("sync", temporary))?;
    fs.rename(temporary, path).map_err(IoError::on("rename", temporary))?;
    sync_parent(fs, path)
}

pub(crate) fn sync_dir(fs: &dyn Fs, dir: &Path) -> Result<(), IoError> {
    fs.sync_dir(dir).map_err(IoError::on("sync", dir))
}

fn sync_parent(fs: &dyn Fs, path: &Path) -> Result<(), IoError> {
    path.parent().map_or(Ok(()), |parent| sync_dir(fs, parent))
}

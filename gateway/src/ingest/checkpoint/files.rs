//! The files of the checkpoints of one log.

use std::path::{Path, PathBuf};

use weir_storage::{Fs, IoError, Mode, durable};

use super::{Checkpoint, MAX_BYTES, decode_state, verified};

const PREFIX: &str = "ranges-";
const DIGITS: usize = 20;
/// How many are kept beside the one at the log's first offset.
const KEPT: usize = 2;

/// The offsets of the checkpoints in `dir`, ascending.
///
/// # Errors
/// [`IoError`] when the directory cannot be read.
pub(crate) fn list(fs: &dyn Fs, dir: &Path) -> Result<Vec<u64>, IoError> {
    let names = fs.list(dir).map_err(IoError::on("list", dir))?;
    let offset = |name: &String| {
        let digits = name.strip_prefix(PREFIX).filter(|digits| digits.len() == DIGITS)?;
        digits.parse::<u64>().ok()
    };
    let mut offsets: Vec<u64> = names.iter().filter_map(offset).collect();
    offsets.sort_unstable();
    Ok(offsets)
}

/// Reads the checkpoint at `offset` back and checks every bit of it.
///
/// # Errors
/// Why it cannot be believed, with the file's name.
pub(crate) fn load(fs: &dyn Fs, dir: &Path, offset: u64) -> Result<Checkpoint, String> {
    let path = path(dir, offset);
    let named = |why: String| format!("{}: {why}", path.display());
    let file = read(fs, &path).map_err(|error| named(error.to_string()))?;
    let (head, body) = verified(&file).map_err(named)?;
    if head.offset != offset {
        return Err(named(format!("got offset {}, expected {offset}", head.offset)));
    }
    let (closed, state) = decode_state(body).map_err(named)?;
    Ok(Checkpoint { head, closed, state })
}

/// Reads every checkpoint in `dir`: how many there are, and why some cannot be believed.
///
/// # Errors
/// [`IoError`] when the directory cannot be read.
pub(crate) fn verify(fs: &dyn Fs, dir: &Path) -> Result<(usize, Vec<String>), IoError> {
    let offsets = list(fs, dir)?;
    let bad = offsets.iter().filter_map(|offset| load(fs, dir, *offset).err());
    Ok((offsets.len(), bad.collect()))
}

/// Makes the checkpoint at `offset` durable, in place of one that is there.
///
/// # Errors
/// [`IoError`]; the checkpoints that were there are as they were.
pub(crate) fn store(fs: &dyn Fs, dir: &Path, offset: u64, file: &[u8]) -> Result<(), IoError> {
    let (path, temporary) = (path(dir, offset), dir.join("ranges.tmp"));
    if file.len() as u64 > MAX_BYTES {
        let message = format!("got {} bytes, expected at most {MAX_BYTES}", file.len());
        return Err(IoError::on("write", &path)(std::io::Error::other(message)));
    }
    durable::replace(fs, &path, &temporary, file).inspect_err(|_| {
        // On a full disk a part of a checkpoint is worth less than its room.
        let _ = fs.remove(&temporary);
    })
}

/// Removes the checkpoint at `offset`.
///
/// # Errors
/// [`IoError`] when the filesystem refuses.
pub(crate) fn remove(fs: &dyn Fs, dir: &Path, offset: u64) -> Result<(), IoError> {
    durable::remove(fs, &path(dir, offset))
}

/// Removes what is neither among the last two nor at one of `starts`, the log's first offset.
///
/// # Errors
/// [`IoError`] when the filesystem refuses; what is left does no harm.
pub(crate) fn prune(fs: &dyn Fs, dir: &Path, starts: &[u64]) -> Result<(), IoError> {
    let offsets = list(fs, dir)?;
    let older = offsets.len().saturating_sub(KEPT);
    offsets[..older].iter().filter(|offset| !starts.contains(offset)).try_for_each(|offset| remove(fs, dir, *offset))
}

fn path(dir: &Path, offset: u64) -> PathBuf {
    dir.join(format!("{PREFIX}{offset:0DIGITS$}"))
}

fn read(fs: &dyn Fs, path: &Path) -> Result<Vec<u8>, IoError> {
    let file = fs.open(path, Mode::Read).map_err(IoError::on("open", path))?;
    let size = file.size().map_err(IoError::on("measure", path))?;
    if size > MAX_BYTES {
        let message = format!("got {size} bytes, expected at most {MAX_BYTES}");
        return Err(IoError::on("read", path)(std::io::Error::other(message)));
    }
    let mut bytes = vec![0; size as usize];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], filled as u64).map_err(IoError::on("read", path))? {
            0 => break,
            more => filled += more,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

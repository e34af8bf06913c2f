//! Redo: what a journal holds is written into its segments again, before the logs are opened.
//!
//! Guarantees: every entry that was acknowledged is in its segments and synced when [`recover`] returns, and the
//! journal is void from then on, so that nothing is redone twice. Redoing is physical (segment and position), so
//! doing it over what is there already changes nothing. A segment that is gone was removed, and stays so.

use super::entry::{Part, Place};
use super::file::JournalFile;
use super::walk::Walk;
use crate::error::IoError;
use crate::fs::{File, Fs, Mode};
use crate::segment;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// What a journal held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Redone {
    /// Groups written again.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Parts of them whose segment has been removed since.
    pub removed: u64,
    /// Groups that were acknowledged and cannot be read: what of them did not reach its segments by itself is
    /// missing there, and opening the logs names it.
    pub damaged: u64,
    /// The whole journal could not be believed and was put aside.
    pub put_aside: bool,
}

/// Redoes the journal of `root`, if there is one. Call it before any log below `root` is opened, also when no
/// journal is wanted any more.
///
/// # Errors
/// [`IoError`]; nothing was lost, and no log may be opened for writing. On a full disk there may be no room for what a
/// power cut took out of the segments: make some, and come back.
pub fn recover(fs: &Arc<dyn Fs>, root: &Path) -> Result<Redone, IoError> {
    let mut redone = Redone::default();
    let had = exists(&**fs, root)?;
    JournalFile::remove_temporary(&**fs, root)?;
    let Some(mut journal) = JournalFile::open(&**fs, root)? else {
        return Ok(Redone { put_aside: had, ..redone });
    };
    let mut targets = Targets { fs: &**fs, root, files: BTreeMap::new() };
    let mut places = Vec::new();
    let mut next = journal.floor;
    for half in journal.halves() {
        let mut walk = Walk::new(&journal, half);
        while let Some(entry) = walk.next().map_err(IoError::on("read", &journal.path))? {
            for part in entry.parts() {
                redone.removed += u64::from(!targets.write(&part)?);
            }
            redone.entries += 1;
            redone.bytes += entry.byte_len();
            places.push(entry.place);
            next = next.max(Place { epoch: entry.place.epoch + 1, sequence: entry.place.sequence + 1 });
        }
    }
    targets.sync()?;
    redone.damaged = count_missing(&places);
    if redone.entries > 0 {
        journal.void_before(next)?;
    }
    Ok(redone)
}

/// Whether [`recover`] has something to redo in the journal of `root`: until then segments that were closed may lack
/// their end, which is not damage. Changes nothing. Beside a committer that runs the answer means nothing: what its
/// journal holds is in the files that others read.
///
/// # Errors
/// [`IoError`] when it cannot be read.
pub fn awaits_redo(fs: &dyn Fs, root: &Path) -> Result<bool, IoError> {
    let Some(journal) = JournalFile::look(fs, root)? else { return Ok(false) };
    for half in journal.halves() {
        if Walk::new(&journal, half).next().map_err(IoError::on("read", &journal.path))?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Entries between others that cannot be read, in the last run. In the run before, an entry that was interrupted may
/// have overwritten some: their segments were synced then.
fn count_missing(places: &[Place]) -> u64 {
    let epoch = places.iter().map(|place| place.epoch).max();
    let last_run: Vec<u64> =
        places.iter().filter(|place| Some(place.epoch) == epoch).map(|place| place.sequence).collect();
    last_run.windows(2).map(|pair| pair[1] - pair[0] - 1).sum()
}

fn exists(fs: &dyn Fs, root: &Path) -> Result<bool, IoError> {
    let path = super::file::path(root);
    fs.exists(&path).map_err(IoError::on("look at", &path))
}

/// The segments that are written again, by path; `None` for those that are gone.
struct Targets<'a> {
    fs: &'a dyn Fs,
    root: &'a Path,
    files: BTreeMap<PathBuf, Option<Box<dyn File>>>,
}

impl Targets<'_> {
    /// False when the segment is gone.
    fn write(&mut self, part: &Part<'_>) -> Result<bool, IoError> {
        let Some(dir) = below(self.root, part.name) else { return Ok(false) };
        let path = segment::path(&dir, part.base_offset);
        if !self.files.contains_key(&path) {
            let file = match self.fs.open(&path, Mode::ReadWrite) {
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                opened => Some(opened.map_err(IoError::on("open", &path))?),
            };
            self.files.insert(path.clone(), file);
        }
        let Some(Some(file)) = self.files.get(&path) else { return Ok(false) };
        file.write_at(part.frames, part.position).map_err(IoError::on("write", &path))?;
        Ok(true)
    }

    fn sync(&self) -> Result<(), IoError> {
        for (path, file) in &self.files {
            if let Some(file) = file {
                file.sync_data().map_err(IoError::on("sync", path))?;
            }
        }
        Ok(())
    }
}

/// The directory of a log; `None` for a name that leads elsewhere.
fn below(root: &Path, name: &str) -> Option<PathBuf> {
    let inside = Path::new(name).components().all(|component| matches!(component, Component::Normal(_)));
    inside.then(|| root.join(name))
}

//! Names that are not durable yet, so that the next process can undo them as a power cut would.
//!
//! Before a name is made, renamed or removed, a note of it goes into a directory beside it that is named for the program, such
//! as `.unsynced-weir-agent`; with what the change would destroy, as a hard link. `sync_dir` throws the notes away. A process that finds notes of an earlier
//! one when it first looks into a directory goes back, the newest first. A note whose change never came undoes nothing.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What the directory of the notes begins with. Each program has its own: agent and gateway may share the directory that
/// holds those of their data.
const NOTES: &str = ".unsynced-";

/// The notes of all directories that a process has looked into.
#[derive(Debug, Default)]
pub(super) struct Names(Mutex<Looked>);

#[derive(Debug, Default)]
struct Looked {
    directories: HashSet<PathBuf>,
    notes: u64,
}

/// What is to be undone: `NUMBER.KIND` in the directory of the notes, with the names as lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Made,
    Renamed,
    Removed,
}

impl Names {
    /// Whether a name belongs to the notes.
    pub(super) fn is_own(name: &str) -> bool {
        name.starts_with(NOTES)
    }

    /// Undoes in the directory of `path` what an earlier process left.
    pub(super) fn settle(&self, path: &Path) -> io::Result<()> {
        path.parent().map_or(Ok(()), |directory| self.settle_in(directory))
    }

    /// The same in `directory`, and in those above it: what is above may take this one along.
    pub(super) fn settle_in(&self, directory: &Path) -> io::Result<()> {
        let mut looked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut above: Vec<_> = directory.ancestors().collect();
        above.reverse();
        for directory in above {
            if looked.directories.insert(directory.to_owned()) {
                undo(directory)?;
            }
        }
        Ok(())
    }

    /// `path` is about to be made.
    pub(super) fn made(&self, path: &Path) -> io::Result<()> {
        self.note(path, Kind::Made, &[name(path)?], None)
    }

    /// `from` is about to be renamed to `to`.
    pub(super) fn renamed(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.note(to, Kind::Renamed, &[name(from)?, name(to)?], Some(to).filter(|to| to.exists()))
    }

    /// `path` is about to be removed.
    pub(super) fn removed(&self, path: &Path) -> io::Result<()> {
        self.note(path, Kind::Removed, &[name(path)?], Some(path).filter(|path| path.is_file()))
    }

    /// The names in `directory` are durable.
    pub(super) fn synced(&self, directory: &Path) -> io::Result<()> {
        let _no_note_comes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match fs::remove_dir_all(notes_of(directory)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Notes a change beside `path`; `kept` would be destroyed by it.
    fn note(&self, path: &Path, kind: Kind, names: &[&str], kept: Option<&Path>) -> io::Result<()> {
        let directory = notes_of(path.parent().unwrap_or(Path::new("")));
        let mut looked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match fs::create_dir(&directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        looked.notes += 1;
        let note = directory.join(format!("{:012}.{}", looked.notes, kind.as_str()));
        if let Some(kept) = kept {
            fs::hard_link(kept, note.with_extension("kept"))?;
        }
        // Whole or not there: a process may be killed while it writes.
        let unfinished = note.with_extension("new");
        fs::write(&unfinished, names.join("\n"))?;
        fs::rename(unfinished, note)
    }
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::Renamed => "renamed",
            Self::Removed => "removed",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Made, Self::Renamed, Self::Removed].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Where the notes of this program about a directory are.
fn notes_of(directory: &Path) -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let program = program.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    directory.join(format!("{NOTES}{program}"))
}

/// The last part of a path, which storage gives as text.
fn name(path: &Path) -> io::Result<&str> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a name that is no text"))
}

/// Goes back to what was durable in `directory`.
fn undo(directory: &Path) -> io::Result<()> {
    let notes = notes_of(directory);
    let mut found = match fs::read_dir(&notes) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        // Not a directory, or not ours to read: nothing of ours.
        Err(_) => return Ok(()),
    };
    found.sort();
    for note in found.into_iter().rev() {
        let Some(kind) = note.extension().and_then(|kind| kind.to_str()).and_then(Kind::parse) else { continue };
        let names = fs::read_to_string(&note)?;
        let mut names = names.lines().map(|name| directory.join(name));
        let (Some(first), second) = (names.next(), names.next()) else { continue };
        let kept = note.with_extension("kept");
        match (kind, second) {
            (Kind::Made, _) if first.is_dir() => fs::remove_dir_all(first)?,
            (Kind::Made, _) if first.exists() => fs::remove_file(first)?,
            // If the old name is still there, the change never came.
            (Kind::Renamed, Some(second)) if !first.exists() && second.exists() => {
                fs::rename(&second, first)?;
                if kept.exists() {
                    fs::rename(kept, second)?;
                }
            }
            (Kind::Removed, _) if !first.exists() && kept.exists() => fs::rename(kept, first)?,
            _ => {}
        }
    }
    fs::remove_dir_all(notes)
}

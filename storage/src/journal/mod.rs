//! The journal of a committer: one write and one `fdatasync` for all logs that a group touches.
//!
//! Guarantees:
//! - A group whose [`Journal::commit`] returned survives a power cut in all of its logs: [`recover`] writes it into
//!   their segments again before they are opened. What a log's own files lack until then is the end of them, so
//!   they can be opened without the journal for reading, and show less.
//! - Nothing is overwritten before the segments it names are synced; their names are durable before an entry names
//!   them. A full journal makes the next group wait; it never grows.
//! - After a sync of a segment failed, nothing is believed about its bytes: they are written again from the journal
//!   and synced, before another group goes on.
//! - After a write or sync of the journal itself failed, its file is never written again: every segment is synced,
//!   then the file is removed, which makes the failed group void for ever, and only then another group goes on, with
//!   a new file, or without a journal if the disk has no room for one.
//!
//! How: the file ([`file`]) has two halves. Entries ([`entry`]) fill one; when the next does not fit, syncing the
//! segments of that half begins in the background and entries go on in the other, once its own segments are synced.
//! Each run through a half has the next epoch, and entries are numbered without a gap, so that what an earlier run
//! left behind is told apart. An interrupted entry was never acknowledged; its group may survive in part, as
//! a prefix in each log.
//!
//! A journal writes every byte twice. That is worth it even for a group of one log: the file does not grow, so its sync
//! waits for no commit of the filesystem's own journal, and after a stall the group that has piled up is not the one
//! that takes longest. [`Journal::takes`] says up to which size; measured in `storage/COMMIT.md`.

mod entry;
mod file;
mod redo;
mod walk;

pub use redo::{Redone, awaits_redo, recover};

use crate::batch::Batch;
use crate::committer::syncs::{Background, Syncs};
use crate::error::IoError;
use crate::fs::Fs;
use crate::log::Log;
use crate::log::commit::Staged;
use crate::segment::Segment;
use entry::{Builder, Place};
use file::JournalFile;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use walk::Walk;

/// The smallest journal in bytes.
pub const MIN_BYTES: u64 = 64 * 1024;
/// The largest journal in bytes.
pub const MAX_BYTES: u64 = 4 << 30;
/// With this many bytes waiting for each log, writing them twice costs more than syncing each log.
const DIRECT_BYTES: usize = 512 * 1024;

/// How a journal is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalOptions {
    /// Size of the file, [`MIN_BYTES`] to [`MAX_BYTES`].
    pub bytes: u64,
    /// Any number that nobody outside can know: it keeps bytes of a payload from passing for an entry.
    pub salt: u64,
}

/// The journal of one committer.
pub struct Journal {
    fs: Arc<dyn Fs>,
    root: PathBuf,
    options: JournalOptions,
    /// None once a failure could not be mended by a new file: all commits go to the logs directly from then on.
    file: Option<JournalFile>,
    /// A write or sync of the file failed: it is void and must go before anything else is committed.
    failed: bool,
    halves: [Half; 2],
    /// The half that takes entries.
    active: usize,
    /// Where the next entry belongs.
    next: Place,
    /// Names of the logs, by index: their directories below the root.
    names: Vec<String>,
    entry: Builder,
}

/// One half of the file, and the segments that its entries name.
struct Half {
    range: Range<u64>,
    /// Where the next entry goes.
    at: u64,
    /// The epoch of its entries.
    epoch: u64,
    dirty: Vec<Dirty>,
    syncing: Option<Background>,
}

/// A segment whose last bytes may be in the journal alone.
struct Dirty {
    log: usize,
    segment: Arc<Segment>,
}

/// What a group staged in one log.
pub(crate) struct Share<'a> {
    pub(crate) log: usize,
    pub(crate) staged: &'a Staged,
    pub(crate) batches: &'a [&'a mut Batch],
}

impl Journal {
    /// Takes the journal of `root`, or makes one there. [`recover`] was called before, and then the logs were opened.
    ///
    /// # Errors
    /// [`IoError`], for example because there is no room: commits can go on without a journal.
    pub fn open(fs: Arc<dyn Fs>, root: &Path, options: JournalOptions) -> Result<Journal, IoError> {
        let wanted = options.bytes.clamp(MIN_BYTES, MAX_BYTES);
        let options = JournalOptions { bytes: wanted, ..options };
        let start = Place { epoch: 1, sequence: 1 };
        let file = match JournalFile::open(&*fs, root)? {
            Some(file) if file.bytes == wanted => file,
            Some(other) => {
                let floor = other.floor;
                drop(other);
                JournalFile::remove(&*fs, root)?;
                JournalFile::create(&*fs, root, (wanted, options.salt), floor)?
            }
            None => JournalFile::create(&*fs, root, (wanted, options.salt), start)?,
        };
        let next = file.floor;
        let halves = file.halves().map(|range| Half::new(range, next.epoch));
        let root = root.to_owned();
        let (names, entry) = (Vec::new(), Builder::default());
        Ok(Journal { fs, root, options, file: Some(file), failed: false, halves, active: 0, next, names, entry })
    }

    /// Removes the journal of `root`, for a committer that is to run without one. [`recover`] was called before.
    ///
    /// # Errors
    /// [`IoError`] when it cannot be removed.
    pub fn remove(fs: &Arc<dyn Fs>, root: &Path) -> Result<(), IoError> {
        match JournalFile::open(&**fs, root)? {
            Some(_) => JournalFile::remove(&**fs, root),
            None => Ok(()),
        }
    }

    /// Learns the logs that it is for; all of them lie below its root.
    pub(crate) fn name(&mut self, logs: &[Log]) -> io::Result<()> {
        let name = |log: &Log| {
            let name = log.dir().strip_prefix(&self.root).ok().and_then(Path::to_str).map(str::to_owned);
            name.filter(|name| u16::try_from(name.len()).is_ok()).ok_or_else(|| {
                let (dir, root) = (log.dir().display(), self.root.display());
                io::Error::other(format!("a journal of {root} cannot serve the log {dir}: it lies elsewhere"))
            })
        };
        self.names = logs.iter().map(name).collect::<io::Result<_>>()?;
        Ok(())
    }

    /// Whether a group of `bytes` for `logs` logs is for the journal: one sync of a file that does not grow, for less than
    /// it costs to write the bytes twice.
    pub(crate) fn takes(&self, logs: usize, bytes: usize) -> bool {
        let names = self.names.iter().map(String::len).sum();
        let room = entry::room(logs, names, bytes);
        self.file.is_some() && bytes < logs * DIRECT_BYTES && room <= self.halves[0].bytes()
    }

    /// Mends what failed since the last group. Nothing is committed to any log, in whatever way, until this returned.
    pub(crate) fn settle(&mut self, syncs: &Syncs) -> Result<(), IoError> {
        if self.halves.iter().any(Half::is_suspect) {
            self.repair()?;
        }
        if self.failed {
            self.checkpoint(syncs)?;
            self.replace_file()?;
        }
        Ok(())
    }

    /// Makes what was staged durable. After an error none of it is, once [`Journal::settle`] returned.
    pub(crate) fn commit(&mut self, shares: &[Share<'_>], syncs: &Syncs) -> Result<(), IoError> {
        self.entry.start();
        for Share { log, staged, batches } in shares {
            let name = self.names.get(*log).map_or("", String::as_str);
            let pieces = batches.iter().map(|batch| batch.bytes());
            self.entry.push(name, staged.segment.base_offset, staged.position, pieces);
        }
        self.make_room(self.entry.room(), syncs)?;
        let Some(file) = &self.file else { return Ok(()) };
        let half = &mut self.halves[self.active];
        let bytes = self.entry.finish(self.next, file.salt);
        let written = file.file.write_at(bytes, half.at).map_err(IoError::on("write", &file.path));
        let synced = written.and_then(|()| file.file.sync_data().map_err(IoError::on("sync", &file.path)));
        if let Err(error) = synced {
            self.failed = true;
            return Err(error);
        }
        half.at += bytes.len() as u64;
        self.next.sequence += 1;
        for share in shares {
            half.note(share.log, &share.staged.segment);
        }
        Ok(())
    }

    /// Syncs every segment and voids what is in the file, so that nothing of it is ever redone.
    pub(crate) fn void(&mut self, syncs: &Syncs) -> Result<(), IoError> {
        self.settle(syncs)?;
        self.checkpoint(syncs)?;
        self.next.epoch += 1;
        let voided = self.file.as_mut().map_or(Ok(()), |file| file.void_before(self.next));
        // Entries of two epochs in one half would not count: without the new floor the file goes.
        self.failed |= voided.is_err();
        self.begin_file();
        voided
    }

    /// Goes on in the other half if the entry does not fit into this one, when the other's segments are synced.
    fn make_room(&mut self, room: u64, syncs: &Syncs) -> Result<(), IoError> {
        if self.halves[self.active].at + room <= self.halves[self.active].range.end {
            return Ok(());
        }
        let other = 1 - self.active;
        self.halves[other].wait();
        if self.halves.iter().any(Half::is_suspect) {
            self.repair()?;
        }
        self.halves[self.active].begin_sync(syncs);
        self.next.epoch += 1;
        self.halves[other].start(self.next.epoch);
        self.active = other;
        Ok(())
    }

    /// Syncs every segment that an entry names.
    fn checkpoint(&mut self, syncs: &Syncs) -> Result<(), IoError> {
        for half in &mut self.halves {
            half.wait();
            half.begin_sync(syncs);
            half.wait();
        }
        if self.halves.iter().any(Half::is_suspect) {
            self.repair()?;
        }
        self.halves.iter_mut().for_each(|half| half.dirty.clear());
        Ok(())
    }

    /// Writes everything that the journal holds for segments whose sync failed again, and syncs them.
    fn repair(&mut self) -> Result<(), IoError> {
        self.halves.iter_mut().for_each(Half::wait);
        let Some(file) = &self.file else { return Ok(()) };
        let suspects = || self.halves.iter().flat_map(|half| &half.dirty).filter(|dirty| dirty.segment.is_suspect());
        for half in &self.halves {
            let mut walk = Walk::new(file, half.range.start..half.at);
            let mut expected = 0;
            while let Some(entry) = walk.next().map_err(IoError::on("read", &file.path))? {
                expected += entry::padded(entry.byte_len());
                for part in entry.parts() {
                    for Dirty { log, segment } in suspects() {
                        if segment.base_offset == part.base_offset && self.names[*log] == part.name {
                            let written = segment.file.write_at(part.frames, part.position);
                            written.map_err(IoError::on("repair a segment from", &file.path))?;
                        }
                    }
                }
            }
            if expected != half.at - half.range.start {
                let damaged = io::Error::other("an entry is damaged: restart, and recovery names what is missing");
                return Err(IoError::on("repair a segment from", &file.path)(damaged));
            }
        }
        for dirty in suspects() {
            dirty.segment.file.sync_data().map_err(IoError::on("repair a segment from", &file.path))?;
        }
        suspects().for_each(|dirty| dirty.segment.clear());
        Ok(())
    }

    /// Puts an empty file in the place of one that failed, or none if the disk has no room. Every segment is synced.
    fn replace_file(&mut self) -> Result<(), IoError> {
        JournalFile::remove(&*self.fs, &self.root)?;
        self.failed = false;
        self.next = Place { epoch: self.next.epoch + 1, sequence: self.next.sequence };
        let JournalOptions { bytes, salt } = self.options;
        self.file = JournalFile::create(&*self.fs, &self.root, (bytes, salt), self.next).ok();
        self.begin_file();
        Ok(())
    }

    /// Goes on at the front of a file in which nothing counts.
    fn begin_file(&mut self) {
        for half in &mut self.halves {
            half.start(self.next.epoch);
        }
        self.active = 0;
    }
}

impl Half {
    fn new(range: Range<u64>, epoch: u64) -> Half {
        Half { at: range.start, range, epoch, dirty: Vec::new(), syncing: None }
    }

    fn bytes(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Begins the next run. Its segments are synced.
    fn start(&mut self, epoch: u64) {
        self.at = self.range.start;
        self.epoch = epoch;
        self.dirty.clear();
    }

    fn note(&mut self, log: usize, segment: &Arc<Segment>) {
        if !segment.was_noted_in(self.epoch) {
            self.dirty.push(Dirty { log, segment: Arc::clone(segment) });
        }
    }

    fn begin_sync(&mut self, syncs: &Syncs) {
        self.syncing = Some(syncs.begin(self.dirty.iter().map(|dirty| Arc::clone(&dirty.segment))));
    }

    fn wait(&mut self) {
        if let Some(syncing) = self.syncing.take() {
            syncing.wait();
        }
    }

    fn is_suspect(&self) -> bool {
        self.dirty.iter().any(|dirty| dirty.segment.is_suspect())
    }
}

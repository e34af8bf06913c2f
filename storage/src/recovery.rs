//! Opening the files of a log: what is there, what is damaged, what was never acknowledged.
//!
//! Guarantees: streams, never holds more than a window of the log in memory; truncates a torn tail and
//! what the base rule discards; skips damage, counts it and names it; makes the last segment and the
//! directory durable before anything is served. Only input that cannot be read at all (an I/O error) refuses to
//! open, damage never does.
//!
//! How much is read is a named choice, [`RecoveryMode`]. `Tail` rests on this: a segment is closed after the sync of
//! its last commit returned, so whatever it is, it is not torn; where its offsets end is the name of the next file;
//! and what a failed commit left behind its end is discarded by the base rule at each read.

use crate::compaction;
use crate::durable;
use crate::error::IoError;
use crate::fs::{File, Fs, Mode};
use crate::scan::{DamageAt, Leftover};
use crate::segment::{self, Segment};
use crate::segments::Closed;
use crate::sidecar;
use crate::survey::{Survey, survey_closed, survey_last};
use std::fmt;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

/// Damages and truncations listed one by one; more are only counted.
pub const MAX_LISTED: usize = 4096;
/// How often a reader beside the writer of another process looks before it believes that a file is missing.
const MAX_LOOKS: usize = 16;

/// How much of a log opening reads. Either way a torn tail is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RecoveryMode {
    /// Every frame of every segment: all damage is known once the log is open.
    #[default]
    Full,
    /// The frames of the last segment only, of these those that came after the last clean stop, so that opening takes
    /// the same time whatever the log holds. Damage before it is met by the reader that comes to it, or by
    /// [`crate::verify`].
    Tail,
}

/// What opening a log found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// How much was read.
    pub mode: RecoveryMode,
    /// Segments in the log.
    pub segments: u64,
    /// Records that can be read, of the segments that were read.
    pub records: u64,
    /// What was cut off: never acknowledged, so nothing is lost. The first [`MAX_LISTED`].
    pub truncations: Vec<Truncation>,
    /// Bytes cut off in all.
    pub truncated_bytes: u64,
    /// What cannot be read any more. The first [`MAX_LISTED`].
    pub damage: Vec<Damage>,
    /// Damages in all.
    pub damage_count: u64,
    /// Offsets lost in all.
    pub lost_offsets: u64,
}

/// Bytes of a segment that cannot be read, and the offsets lost with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Name of the segment file.
    pub file: String,
    /// First damaged byte.
    pub position: u64,
    /// Damaged bytes; 0 when the bytes are missing.
    pub bytes: u64,
    /// Offsets lost; empty when only a field outside the checksum was hit and has been restored.
    pub gap: Range<u64>,
}

/// Bytes cut off the end of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truncation {
    /// Name of the segment file.
    pub file: String,
    /// New length of the file.
    pub position: u64,
    /// Bytes cut off.
    pub bytes: u64,
    /// Why they cannot have been acknowledged.
    pub reason: TruncationReason,
}

/// Why bytes were cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TruncationReason {
    /// The last commit was interrupted.
    TornTail,
    /// They start at or above the base offset of the next segment: left by a commit that failed.
    BaseRule,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: {} bytes damaged, ", self.file, self.position, self.bytes)?;
        match self.gap.end - self.gap.start {
            0 => write!(f, "nothing lost"),
            lost => write!(f, "{lost} offsets lost: {} to {}", self.gap.start, self.gap.end - 1),
        }
    }
}

impl Recovery {
    pub(crate) fn note_damage(&mut self, file: &str, damage: DamageAt) {
        self.damage_count += 1;
        self.lost_offsets += damage.gap.end - damage.gap.start;
        if self.damage.len() < MAX_LISTED {
            let DamageAt { position, bytes, gap } = damage;
            self.damage.push(Damage { file: file.to_owned(), position, bytes, gap });
        }
    }

    /// Adds what was found in one more segment.
    pub(crate) fn absorb(&mut self, found: Recovery) {
        self.records += found.records;
        self.truncated_bytes += found.truncated_bytes;
        self.damage_count += found.damage_count;
        self.lost_offsets += found.lost_offsets;
        self.truncations.extend(found.truncations);
        self.truncations.truncate(MAX_LISTED);
        self.damage.extend(found.damage);
        self.damage.truncate(MAX_LISTED);
    }

    pub(crate) fn note_leftover(&mut self, file: &str, leftover: Leftover) {
        let Leftover { position, bytes, base_rule, .. } = leftover;
        let reason = if base_rule { TruncationReason::BaseRule } else { TruncationReason::TornTail };
        self.truncated_bytes += bytes;
        if self.truncations.len() < MAX_LISTED {
            self.truncations.push(Truncation { file: file.to_owned(), position, bytes, reason });
        }
    }
}

/// A log as it was found.
pub(crate) struct Recovered {
    pub(crate) closed: Vec<Closed>,
    pub(crate) last: Option<Segment>,
    /// Whether commits may go on in the last segment.
    pub(crate) is_appendable: bool,
    pub(crate) recovery: Recovery,
}

/// Opens the log in `dir` to go on writing. The directory is locked by the caller.
pub(crate) fn recover(
    fs: &dyn Fs,
    dir: &Path,
    mode: RecoveryMode,
    index_interval_bytes: u64,
) -> Result<Recovered, IoError> {
    let names = fs.list(dir).map_err(IoError::on("list", dir))?;
    let bases = bases_in(&names);
    let mut recovered = Recovered::new(mode);
    let mut ends = bases.iter().skip(1);
    for &base_offset in &bases {
        let path = segment::path(dir, base_offset);
        let file = fs.open(&path, Mode::ReadWrite).map_err(IoError::on("open", &path))?;
        let Some(&end_offset) = ends.next() else {
            settle(&*file).map_err(IoError::on("sync", &path))?;
            let mut found = survey_last(fs, &*file, &path, base_offset, (mode, index_interval_bytes))?;
            if found.has_leftover {
                file.set_len(found.extent.bytes).map_err(IoError::on("truncate", &path))?;
            }
            file.sync_data().map_err(IoError::on("sync", &path))?;
            found.extent.allocated = file.allocated().map_err(IoError::on("measure", &path))?;
            recovered.is_appendable = found.is_appendable;
            recovered.take_last(base_offset, file, found);
            break;
        };
        let mut closed = measure(&*file, &path, base_offset..end_offset)?;
        if mode == RecoveryMode::Full {
            let found = survey_closed(&*file, &path, base_offset..end_offset, index_interval_bytes)?;
            if found.has_leftover {
                file.set_len(found.extent.bytes).map_err(IoError::on("truncate", &path))?;
                file.sync_data().map_err(IoError::on("sync", &path))?;
            }
            closed = measure(&*file, &path, base_offset..end_offset)?;
            recovered.take_survey(&mut closed, found);
        }
        closed.allocated += sidecar::allocated(fs, &path);
        recovered.closed.push(closed);
    }
    remove_orphans(fs, dir, &names);
    durable::sync_dir(fs, dir)?;
    recovered.recovery.segments = bases.len() as u64;
    Ok(recovered)
}

/// Tries again when a file is gone that was just listed: the writer, in another process, compacts.
pub(crate) fn until_files_stay<T>(mut look: impl FnMut() -> Result<T, IoError>) -> Result<T, IoError> {
    for _ in 1..MAX_LOOKS {
        match look() {
            Err(error) if error.source.kind() == ErrorKind::NotFound => {}
            looked => return looked,
        }
    }
    look()
}

/// Opens the log in `dir` for reading only and changes nothing; the writer may be running.
pub(crate) fn look(
    fs: &dyn Fs,
    dir: &Path,
    mode: RecoveryMode,
    index_interval_bytes: u64,
) -> Result<Recovered, IoError> {
    until_files_stay(|| look_once(fs, dir, mode, index_interval_bytes))
}

fn look_once(fs: &dyn Fs, dir: &Path, mode: RecoveryMode, index_interval_bytes: u64) -> Result<Recovered, IoError> {
    let bases = list_bases(fs, dir)?;
    let mut recovered = Recovered::new(mode);
    for (at, &base_offset) in bases.iter().enumerate() {
        let path = segment::path(dir, base_offset);
        let file = match fs.open(&path, Mode::Read) {
            // Removed from the front since the listing.
            Err(error) if error.kind() == ErrorKind::NotFound && recovered.closed.is_empty() => continue,
            opened => opened.map_err(IoError::on("open", &path))?,
        };
        recovered.recovery.segments += 1;
        let Some(&end_offset) = bases.get(at + 1) else {
            let found = survey_last(fs, &*file, &path, base_offset, (mode, index_interval_bytes))?;
            recovered.take_last(base_offset, file, found);
            break;
        };
        let mut closed = measure(&*file, &path, base_offset..end_offset)?;
        if mode == RecoveryMode::Full {
            let found = survey_closed(&*file, &path, base_offset..end_offset, index_interval_bytes)?;
            recovered.take_survey(&mut closed, found);
        }
        closed.allocated += sidecar::allocated(fs, &path);
        recovered.closed.push(closed);
    }
    Ok(recovered)
}

impl Recovered {
    fn new(mode: RecoveryMode) -> Recovered {
        let recovery = Recovery { mode, ..Recovery::default() };
        Recovered { closed: Vec::new(), last: None, is_appendable: false, recovery }
    }

    fn take_last(&mut self, base_offset: u64, file: Box<dyn File>, found: Survey) {
        self.recovery.absorb(found.found);
        self.last = Some(Segment::new(base_offset, file, found.extent));
    }

    fn take_survey(&mut self, closed: &mut Closed, found: Survey) {
        self.recovery.absorb(found.found);
        closed.latest_ms = OnceLock::from(found.extent.index.latest_ms());
    }
}

/// Base offsets of the segments in `dir`, ascending.
pub(crate) fn list_bases(fs: &dyn Fs, dir: &Path) -> Result<Vec<u64>, IoError> {
    Ok(bases_in(&fs.list(dir).map_err(IoError::on("list", dir))?))
}

fn bases_in(names: &[String]) -> Vec<u64> {
    let mut bases: Vec<u64> = names.iter().filter_map(|name| segment::base_offset(name)).collect();
    bases.sort_unstable();
    bases
}

/// Sidecars whose segment is gone: a power cut brought their names back. And what an interrupted compaction wrote.
fn remove_orphans(fs: &dyn Fs, dir: &Path, names: &[String]) {
    for name in names {
        if name == compaction::rewrite::TEMPORARY_NAME {
            let _ = fs.remove(&dir.join(name));
        }
        if let Some(segment) = sidecar::segment_of(name).filter(|segment| segment::base_offset(segment).is_some())
            && !names.contains(&segment)
        {
            sidecar::remove(fs, &dir.join(segment));
        }
    }
}

/// An earlier process may have left bytes in the page cache alone: written but not synced, or marked
/// clean by a sync that failed. Push the former out and drop the latter, so that the disk is what we read.
fn settle(file: &dyn File) -> std::io::Result<()> {
    file.sync_data()?;
    file.forget_cache()
}

fn measure(file: &dyn File, path: &Path, offsets: Range<u64>) -> Result<Closed, IoError> {
    Ok(Closed {
        base_offset: offsets.start,
        next_offset: offsets.end,
        bytes: file.size().map_err(IoError::on("measure", path))?,
        allocated: file.allocated().map_err(IoError::on("measure", path))?,
        latest_ms: OnceLock::new(),
    })
}

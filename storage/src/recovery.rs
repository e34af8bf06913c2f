//! Opening the files of a log: what is there, what is damaged, what was never acknowledged.
//!
//! Guarantees: streams, never holds more than a window of the log in memory; truncates a torn tail and
//! what the base rule discards; skips damage, counts it and names it; makes the last segment and the
//! directory durable before anything is served. The tolerance is a choice: only input that cannot be read
//! at all (an I/O error) refuses to open, damage never does.

use crate::durable;
use crate::error::IoError;
use crate::fs::{File, Fs, Mode};
use crate::scan::{Bounds, DamageAt, Found, Leftover, Scan};
use crate::segment::{self, Extent, Segment};
use std::fmt;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::Path;

/// Damages and truncations listed one by one; more are only counted.
pub const MAX_LISTED: usize = 4096;

/// What opening a log found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Segments in the log.
    pub segments: u64,
    /// Records that can be read.
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

    pub(crate) fn note_leftover(&mut self, file: &str, leftover: Leftover) {
        let Leftover { position, bytes, base_rule } = leftover;
        let reason = if base_rule { TruncationReason::BaseRule } else { TruncationReason::TornTail };
        self.truncated_bytes += bytes;
        if self.truncations.len() < MAX_LISTED {
            self.truncations.push(Truncation { file: file.to_owned(), position, bytes, reason });
        }
    }
}

/// A log as it was found.
pub(crate) struct Recovered {
    pub(crate) segments: Vec<Segment>,
    /// Whether commits may go on in the last segment.
    pub(crate) appendable: bool,
    pub(crate) recovery: Recovery,
}

/// Opens every segment in `dir`, in order, to go on writing. The directory is locked by the caller.
pub(crate) fn recover(fs: &dyn Fs, dir: &Path, index_interval_bytes: u64) -> Result<Recovered, IoError> {
    let bases = list_bases(fs, dir)?;
    let mut recovery = Recovery { segments: bases.len() as u64, ..Recovery::default() };
    let mut segments = Vec::with_capacity(bases.len());
    let mut appendable = false;
    for (at, &base_offset) in bases.iter().enumerate() {
        let end_offset = bases.get(at + 1).copied();
        let path = segment::path(dir, base_offset);
        let file = fs.open(&path, Mode::ReadWrite).map_err(IoError::on("open", &path))?;
        if end_offset.is_none() {
            settle(&*file).map_err(IoError::on("sync", &path))?;
        }
        let (mut extent, end) = survey(&*file, &path, (base_offset, end_offset), index_interval_bytes, &mut recovery)?;
        if end == End::Leftover {
            file.set_len(extent.bytes).map_err(IoError::on("truncate", &path))?;
        }
        if end == End::Leftover || end_offset.is_none() {
            file.sync_data().map_err(IoError::on("sync", &path))?;
        }
        extent.allocated = file.allocated().map_err(IoError::on("measure", &path))?;
        appendable = end != End::Damage;
        segments.push(Segment::new(base_offset, file, extent));
    }
    durable::sync_dir(fs, dir)?;
    Ok(Recovered { segments, appendable, recovery })
}

/// Opens every segment in `dir` for reading only and changes nothing; the writer may be running.
pub(crate) fn look(fs: &dyn Fs, dir: &Path, index_interval_bytes: u64) -> Result<(Vec<Segment>, Recovery), IoError> {
    let bases = list_bases(fs, dir)?;
    let mut recovery = Recovery::default();
    let mut segments = Vec::with_capacity(bases.len());
    for (at, &base_offset) in bases.iter().enumerate() {
        let end_offset = bases.get(at + 1).copied();
        let path = segment::path(dir, base_offset);
        let file = match fs.open(&path, Mode::Read) {
            // Removed from the front since the listing.
            Err(error) if error.kind() == ErrorKind::NotFound && segments.is_empty() => continue,
            opened => opened.map_err(IoError::on("open", &path))?,
        };
        let (extent, _) = survey(&*file, &path, (base_offset, end_offset), index_interval_bytes, &mut recovery)?;
        segments.push(Segment::new(base_offset, file, extent));
    }
    recovery.segments = segments.len() as u64;
    Ok((segments, recovery))
}

/// Base offsets of the segments in `dir`, ascending.
pub(crate) fn list_bases(fs: &dyn Fs, dir: &Path) -> Result<Vec<u64>, IoError> {
    let names = fs.list(dir).map_err(IoError::on("list", dir))?;
    let mut bases: Vec<u64> = names.iter().filter_map(|name| segment::base_offset(name)).collect();
    bases.sort_unstable();
    Ok(bases)
}

/// An earlier process may have left bytes in the page cache alone: written but not synced, or marked
/// clean by a sync that failed. Push the former out and drop the latter, so that the disk is what we read.
fn settle(file: &dyn File) -> std::io::Result<()> {
    file.sync_data()?;
    file.forget_cache()
}

/// How a segment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Clean,
    /// With bytes that are to be cut off.
    Leftover,
    /// With bytes that cannot be read; nothing is written behind them.
    Damage,
}

/// Walks one segment: what of it is committed, and how it ends.
fn survey(
    file: &dyn File,
    path: &Path,
    (base_offset, end_offset): (u64, Option<u64>),
    index_interval_bytes: u64,
    recovery: &mut Recovery,
) -> Result<(Extent, End), IoError> {
    let name = segment::name(base_offset);
    let end_position = file.size().map_err(IoError::on("measure", path))?;
    let mut scan = Scan::new(file, Bounds { position: 0, offset: base_offset, end_position, end_offset });
    let mut extent = Extent::empty(base_offset, index_interval_bytes);
    let mut end = End::Clean;
    while let Some(found) = scan.next().map_err(IoError::on("read", path))? {
        end = match found {
            Found::Frame(frame) => {
                recovery.records += u64::from(frame.header.record_count);
                extent.index.note(frame.position, &frame.offsets, frame.header.max_timestamp_ms);
                if frame.repaired {
                    recovery.note_damage(&name, frame.repair());
                }
                End::Clean
            }
            Found::Damage(damage) => {
                recovery.note_damage(&name, damage);
                End::Damage
            }
            Found::Leftover(leftover) => {
                recovery.note_leftover(&name, leftover);
                End::Leftover
            }
        };
    }
    (extent.bytes, extent.next_offset) = scan.place();
    extent.allocated = file.allocated().map_err(IoError::on("measure", path))?;
    Ok((extent, end))
}

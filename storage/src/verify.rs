//! Checking a log without touching it, beside its running writer.
//!
//! Guarantees: opens files for reading only, takes no lock, holds a window in memory, and names every
//! damage by file, byte position and offset gap. Bytes behind the last good frame of the last segment are
//! not damage: the writer may be writing them.

use crate::error::IoError;
use crate::fs::{Fs, Mode};
use crate::recovery::{Damage, Recovery, RecoveryMode, list_bases, until_files_stay};
use crate::segment;
use crate::survey::{survey_closed, survey_last};
use std::io::ErrorKind;
use std::ops::Range;
use std::path::Path;

/// What [`verify`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verification {
    /// Segments looked at.
    pub segments: u64,
    /// Records that can be read.
    pub records: u64,
    /// Bytes of the frames that can be read.
    pub bytes: u64,
    /// First offset, and the one behind the last.
    pub offsets: Range<u64>,
    /// Damages, the first [`crate::recovery::MAX_LISTED`].
    pub damage: Vec<Damage>,
    /// Damages in all.
    pub damage_count: u64,
    /// Offsets lost in all.
    pub lost_offsets: u64,
    /// Bytes behind the last frame of the last segment: a commit under way, or what the next start truncates.
    pub tail_bytes: u64,
}

/// Checks every segment of the log in `dir`.
///
/// # Errors
/// [`IoError`] when the directory or a segment cannot be read.
pub fn verify(fs: &dyn Fs, dir: &Path) -> Result<Verification, IoError> {
    until_files_stay(|| attempt(fs, dir))
}

fn attempt(fs: &dyn Fs, dir: &Path) -> Result<Verification, IoError> {
    let bases = list_bases(fs, dir)?;
    let mut verification = Verification::default();
    let mut found = Recovery::default();
    let mut first = None;
    // No index is wanted: one entry a segment.
    let index_interval_bytes = u64::MAX;
    for (at, &base_offset) in bases.iter().enumerate() {
        let path = segment::path(dir, base_offset);
        let file = match fs.open(&path, Mode::Read) {
            // Removed from the front since the listing.
            Err(error) if error.kind() == ErrorKind::NotFound && first.is_none() => continue,
            opened => opened.map_err(IoError::on("open", &path))?,
        };
        let survey = match bases.get(at + 1) {
            Some(&end_offset) => survey_closed(&*file, &path, base_offset..end_offset, index_interval_bytes)?,
            None => survey_last(fs, &*file, &path, base_offset, (RecoveryMode::Full, index_interval_bytes))?,
        };
        verification.segments += 1;
        verification.offsets = *first.get_or_insert(base_offset)..survey.extent.next_offset;
        verification.bytes += survey.frame_bytes;
        // What a failed commit left in a closed segment is void, and no tail.
        verification.tail_bytes = survey.found.truncated_bytes;
        found.absorb(survey.found);
    }
    let Recovery { records, damage, damage_count, lost_offsets, .. } = found;
    Ok(Verification { records, damage, damage_count, lost_offsets, ..verification })
}

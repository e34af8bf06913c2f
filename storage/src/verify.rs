//! Checking a log without touching it, beside its running writer.
//!
//! Guarantees: opens files for reading only, takes no lock, holds a window in memory, and names every
//! damage by file, byte position and offset gap. Bytes behind the last good frame of the last segment are
//! not damage: the writer may be writing them.

use crate::error::IoError;
use crate::fs::{Fs, Mode};
use crate::recovery::{Damage, Recovery, list_bases};
use crate::scan::{Bounds, Found, Scan};
use crate::segment;
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
    /// Bytes behind the last frame: a commit under way, or what the next start truncates.
    pub tail_bytes: u64,
}

/// Checks every segment of the log in `dir`.
///
/// # Errors
/// [`IoError`] when the directory or a segment cannot be read.
pub fn verify(fs: &dyn Fs, dir: &Path) -> Result<Verification, IoError> {
    let bases = list_bases(fs, dir)?;
    let mut verification = Verification::default();
    let mut found = Recovery::default();
    let mut first = None;
    for (at, &base_offset) in bases.iter().enumerate() {
        let path = segment::path(dir, base_offset);
        let file = match fs.open(&path, Mode::Read) {
            // Removed from the front since the listing.
            Err(error) if error.kind() == ErrorKind::NotFound && first.is_none() => continue,
            opened => opened.map_err(IoError::on("open", &path))?,
        };
        verification.segments += 1;
        verification.offsets.start = *first.get_or_insert(base_offset);
        let end_position = file.size().map_err(IoError::on("measure", &path))?;
        let end_offset = bases.get(at + 1).copied();
        let mut scan = Scan::new(&*file, Bounds { position: 0, offset: base_offset, end_position, end_offset });
        let name = segment::name(base_offset);
        while let Some(next) = scan.next().map_err(IoError::on("read", &path))? {
            match next {
                Found::Frame(frame) => {
                    verification.records += u64::from(frame.header.record_count);
                    verification.bytes += frame.header.frame_bytes as u64;
                    if frame.repaired {
                        found.note_damage(&name, frame.repair());
                    }
                }
                Found::Damage(damage) => found.note_damage(&name, damage),
                Found::Leftover(leftover) => verification.tail_bytes += leftover.bytes,
            }
        }
        verification.offsets.end = scan.place().1;
    }
    let Recovery { damage, damage_count, lost_offsets, .. } = found;
    Ok(Verification { damage, damage_count, lost_offsets, ..verification })
}

//! The walk of one segment from its first byte to its last: what of it is committed, and how it ends.
//!
//! A segment that is followed by another one ends at that one's base offset. The last one ends where its frames
//! do, and bad bytes there may be a torn tail; but what its sidecar covers was durable once, so up to there bad
//! bytes are damage, and after a clean stop there is nothing that need be walked.

use crate::error::IoError;
use crate::fs::{File, Fs};
use crate::index::Entry;
use crate::recovery::{Recovery, RecoveryMode};
use crate::scan::{Bounds, Found, Scan};
use crate::segment::{self, Extent};
use crate::sidecar::{self, Covered, Sidecar};
use std::ops::Range;
use std::path::Path;

/// What a walk found.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) extent: Extent,
    /// Whether the file goes on behind the extent, with bytes that are to be cut off.
    pub(crate) has_leftover: bool,
    /// Whether commits may go on behind the extent: not behind bytes that cannot be read.
    pub(crate) is_appendable: bool,
    /// Bytes of the frames that can be read.
    pub(crate) frame_bytes: u64,
    /// Records, damage and leftovers of this segment.
    pub(crate) found: Recovery,
}

/// Walks a segment that another one follows, whose base is the end of `offsets`.
pub(crate) fn survey_closed(
    file: &dyn File,
    path: &Path,
    offsets: Range<u64>,
    index_interval_bytes: u64,
) -> Result<Survey, IoError> {
    let end_position = file.size().map_err(IoError::on("measure", path))?;
    let bounds = Bounds { position: 0, offset: offsets.start, end_position, end_offset: Some(offsets.end) };
    let mut survey = Survey::new(offsets.start, index_interval_bytes);
    survey.walk(file, path, bounds)?;
    survey.extent.allocated = file.allocated().map_err(IoError::on("measure", path))?;
    Ok(survey)
}

/// Walks the last segment of a log; with [`RecoveryMode::Tail`] only what its sidecar does not cover.
pub(crate) fn survey_last(
    fs: &dyn Fs,
    file: &dyn File,
    path: &Path,
    base_offset: u64,
    (mode, index_interval_bytes): (RecoveryMode, u64),
) -> Result<Survey, IoError> {
    let end_position = file.size().map_err(IoError::on("measure", path))?;
    let whole = Bounds { position: 0, offset: base_offset, end_position, end_offset: None };
    let sidecar = sidecar::read(fs, path, index_interval_bytes);
    let sidecar = sidecar.filter(|sidecar| sidecar.covered.base_offset == base_offset);
    let covered = sidecar.as_ref().map(|sidecar| sidecar.covered);
    if let Some(sidecar) = sidecar.filter(|_| mode == RecoveryMode::Tail)
        && let Some(survey) = survey_behind(sidecar, file, path, whole)?
    {
        return Ok(survey);
    }
    let mut survey = Survey::new(base_offset, index_interval_bytes);
    match covered {
        Some(Covered { bytes, next_offset, .. }) => {
            let front = Bounds { end_position: bytes.min(end_position), end_offset: Some(next_offset), ..whole };
            survey.walk(file, path, front)?;
            if survey.has_leftover {
                // It is the sidecar of other frames than these.
                survey = Survey::new(base_offset, index_interval_bytes);
                survey.walk(file, path, whole)?;
            } else if bytes < end_position {
                survey.walk(file, path, Bounds { position: bytes, offset: next_offset, ..whole })?;
            }
        }
        None => survey.walk(file, path, whole)?,
    }
    survey.extent.allocated = file.allocated().map_err(IoError::on("measure", path))?;
    Ok(survey)
}

/// Walks from the last entry of the sidecar's index on. `None` if the frames from there do not lead exactly to where
/// the sidecar says that they do: it is not theirs, or one of them is damaged.
fn survey_behind(sidecar: Sidecar, file: &dyn File, path: &Path, whole: Bounds) -> Result<Option<Survey>, IoError> {
    let Covered { base_offset, next_offset, bytes } = sidecar.covered;
    let Some(&Entry { position, offset, .. }) = sidecar.index.entries().last() else { return Ok(None) };
    let mut survey = Survey::new(base_offset, 0);
    survey.walk(file, path, Bounds { position, offset, end_position: bytes, end_offset: None })?;
    let leads_there = (survey.extent.bytes, survey.extent.next_offset) == (bytes, next_offset);
    if bytes > whole.end_position || !leads_there || survey.found.damage_count > 0 {
        return Ok(None);
    }
    survey.extent.index = sidecar.index;
    if bytes < whole.end_position {
        survey.walk(file, path, Bounds { position: bytes, offset: next_offset, ..whole })?;
    }
    survey.extent.allocated = file.allocated().map_err(IoError::on("measure", path))?;
    Ok(Some(survey))
}

impl Survey {
    fn new(base_offset: u64, index_interval_bytes: u64) -> Survey {
        let extent = Extent::empty(base_offset, index_interval_bytes);
        Survey { extent, has_leftover: false, is_appendable: true, frame_bytes: 0, found: Recovery::default() }
    }

    fn walk(&mut self, file: &dyn File, path: &Path, bounds: Bounds) -> Result<(), IoError> {
        let name = segment::name_of(path);
        let mut scan = Scan::new(file, bounds);
        while let Some(found) = scan.next().map_err(IoError::on("read", path))? {
            match found {
                Found::Frame(frame) => {
                    self.found.records += u64::from(frame.header.record_count);
                    self.frame_bytes += frame.header.frame_bytes as u64;
                    self.extent.index.note(frame.position, &frame.offsets, frame.header.max_timestamp_ms);
                    if frame.repaired {
                        self.found.note_damage(&name, frame.repair());
                    }
                    self.is_appendable = true;
                }
                Found::Damage(damage) => {
                    self.found.note_damage(&name, damage);
                    self.is_appendable = false;
                }
                Found::Leftover(leftover) => {
                    if !leftover.is_room {
                        self.found.note_leftover(&name, leftover);
                    }
                    self.has_leftover = true;
                }
            }
        }
        (self.extent.bytes, self.extent.next_offset) = scan.place();
        Ok(())
    }
}

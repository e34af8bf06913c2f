//! Whether a queue is sound: every frame, every record, and the files beside the log.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use weir_protocol::RangeSet;
use weir_storage::{Fs, ReadError, Reader, RecoveryMode, verify};

use super::files::Files;
use super::records::{Found, walk};
use super::{CLAIMS_FILE, LOG_DIR, QueueError, STATE_FILE};

/// What an examination found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Examination {
    /// Segment files looked at.
    pub segments: u64,
    /// Records that can be read.
    pub records: u64,
    /// Damaged places, by file, byte and offsets.
    pub damage: Vec<String>,
    /// Names of the segment files that are damaged.
    pub damaged: BTreeSet<String>,
    /// Files beside the log that cannot be believed.
    pub files: BTreeSet<&'static str>,
}

impl Examination {
    /// Reads everything below `data_dir`; takes no lock and writes nothing.
    pub fn read(fs: &Arc<dyn Fs>, data_dir: &Path) -> Result<Self, QueueError> {
        let dir = data_dir.join(LOG_DIR);
        let found = verify(&**fs, &dir)?;
        let mut told: RangeSet = found.damage.iter().map(|damage| damage.gap.clone()).collect();
        let mut examination = Self {
            segments: found.segments,
            records: found.records,
            damage: found.damage.iter().map(ToString::to_string).collect(),
            damaged: found.damage.iter().map(|damage| damage.file.clone()).collect(),
            files: BTreeSet::new(),
        };
        let (reader, _) = Reader::open(fs, &dir, RecoveryMode::Tail)?;
        let segments: Vec<u64> = reader.segments().iter().map(|segment| segment.base_offset).collect();
        walk(&reader, found.offsets, |found| -> Result<(), ReadError> {
            if let Found::Unreadable(offsets) = found {
                let new: Vec<Range<u64>> = told.gaps(offsets).collect();
                for gap in new {
                    let base = segments.partition_point(|base| *base <= gap.start).checked_sub(1);
                    let file = format!("{:020}.log", base.map_or(0, |at| segments[at]));
                    examination.damage.push(format!(
                        "{file}: the records {} to {} say nothing",
                        gap.start,
                        gap.end - 1
                    ));
                    examination.damaged.insert(file);
                    told.insert(gap);
                }
            }
            Ok(())
        })?;
        let files = Files::load(fs, data_dir)?;
        for (file, reason) in [(STATE_FILE, files.state_damage), (CLAIMS_FILE, files.claims_damage)] {
            if let Some(reason) = reason {
                examination.damage.push(format!("{file}: {reason}"));
                examination.files.insert(file);
            }
        }
        Ok(examination)
    }

    /// Whether nothing is damaged.
    pub fn is_good(&self) -> bool {
        self.damage.is_empty()
    }
}

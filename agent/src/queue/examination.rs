//! Whether a queue is sound: every frame, every record, and the files beside the log.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use weir_protocol::RangeSet;
use weir_storage::{Fs, ReadError, verify};

use super::class::{classes_on_disk, log_dir};
use super::files::Files;
use super::records::{ClassLog, Found};
use super::{CLAIMS_FILE, QueueError, STATE_FILE, Vault};

/// What an examination found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Examination {
    /// Segment files looked at.
    pub segments: u64,
    /// Records that can be read.
    pub records: u64,
    /// Damaged places, by class, file, byte and offsets.
    pub damage: Vec<String>,
    /// The segment files that are damaged, below the directory of the data.
    pub damaged: BTreeSet<PathBuf>,
    /// Files beside the log that cannot be believed.
    pub files: BTreeSet<&'static str>,
}

impl Examination {
    /// Reads everything below `data_dir`; takes no lock and writes nothing.
    pub fn read(fs: &Arc<dyn Fs>, data_dir: &Path, vault: &Arc<Vault>) -> Result<Self, QueueError> {
        let mut examination = Self::default();
        for name in classes_on_disk(&**fs, data_dir)? {
            examination.look_at(fs, &ClassLog::open(fs, data_dir, name, vault)?, data_dir)?;
        }
        let files = Files::load(fs, data_dir, vault)?;
        for (file, reason) in [(STATE_FILE, files.state_damage), (CLAIMS_FILE, files.claims_damage)] {
            if let Some(reason) = reason {
                examination.damage.push(format!("{file}: {reason}"));
                examination.files.insert(file);
            }
        }
        Ok(examination)
    }

    fn look_at(&mut self, fs: &Arc<dyn Fs>, log: &ClassLog, data_dir: &Path) -> Result<(), QueueError> {
        let found = verify(&**fs, &log_dir(data_dir, log.name))?;
        let mut told: RangeSet = found.damage.iter().map(|damage| damage.gap.clone()).collect();
        let below = log_dir(Path::new(""), log.name);
        self.segments += found.segments;
        self.records += found.records;
        self.damage.extend(found.damage.iter().map(|damage| format!("{}: {damage}", log.name)));
        self.damaged.extend(found.damage.iter().map(|damage| below.join(&damage.file)));
        let segments: Vec<u64> = log.reader.segments().iter().map(|segment| segment.base_offset).collect();
        log.walk(found.offsets, |found| -> Result<(), ReadError> {
            if let Found::Unreadable(offsets) = found {
                let new: Vec<Range<u64>> = told.gaps(offsets).collect();
                for gap in new {
                    let base = segments.partition_point(|base| *base <= gap.start).checked_sub(1);
                    let file = format!("{:020}.log", base.map_or(0, |at| segments[at]));
                    let (first, last) = (gap.start, gap.end - 1);
                    self.damage.push(format!("{}: {file}: the records {first} to {last} say nothing", log.name));
                    self.damaged.insert(below.join(file));
                    told.insert(gap);
                }
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Whether nothing is damaged.
    pub fn is_good(&self) -> bool {
        self.damage.is_empty()
    }
}

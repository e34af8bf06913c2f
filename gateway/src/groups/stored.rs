//! Groups as they are on disk while no gateway runs.

use std::path::Path;
use std::sync::Arc;

use weir_storage::{CommitError, Fs, Log, Reader, RecoveryMode};

use super::commits::Place;
use super::names::GroupId;
use super::offsets::log::{self, Found, Records};
use super::offsets::{self, Commit, Committed, TOPIC};
use crate::keyed_log::clock::Clock;
use crate::keyed_log::{self, KeyedLogError};

/// The offsets of all groups.
pub struct Stored {
    found: Found,
    /// Held while they may be changed.
    log: Option<Log>,
    clock: Clock,
}

impl Stored {
    /// Reads them, and changes nothing.
    ///
    /// # Errors
    /// [`KeyedLogError`].
    pub fn read(fs: &Arc<dyn Fs>, data: &Path) -> Result<Self, KeyedLogError> {
        let dir = offsets::dir(data);
        if !fs.exists(&dir).unwrap_or(false) {
            return Ok(Self { found: Found::default(), log: None, clock: Clock::default() });
        }
        let (reader, _) = Reader::open(fs, &dir, RecoveryMode::Tail)?;
        Ok(Self { found: log::read(&reader)?, log: None, clock: Clock::default() })
    }

    /// Opens them for changes at the time `wall_ms`: no gateway can start meanwhile.
    ///
    /// # Errors
    /// [`KeyedLogError`], such as that one runs.
    pub fn open(fs: &Arc<dyn Fs>, data: &Path, wall_ms: i64) -> Result<Self, KeyedLogError> {
        let (log, _) = keyed_log::open(fs, data, TOPIC, keyed_log::options())?;
        let found = log::read(&log.reader())?;
        let clock = found.clock(wall_ms);
        Ok(Self { found, log: Some(log), clock })
    }

    /// Every group that has offsets.
    pub fn groups(&self) -> impl Iterator<Item = &GroupId> {
        self.found.table.groups().filter(|group| self.found.table.has_offsets(group.as_str()))
    }

    /// Whether a group has offsets.
    pub fn has(&self, group: &str) -> bool {
        self.found.table.has_offsets(group)
    }

    /// The committed offsets of a group.
    pub fn offsets(&self, group: &str) -> Vec<(Place, Committed)> {
        let of_group = self.found.table.of_group(group);
        of_group.map(|(topic, partition, committed)| ((Arc::clone(topic), partition), committed.clone())).collect()
    }

    /// Sets offsets of a group.
    ///
    /// # Errors
    /// [`CommitError`]; none is set.
    pub fn set(&mut self, group: &GroupId, commits: Vec<Commit>) -> Result<(), CommitError> {
        let (at_ms, clock_ms) = (self.clock.wall(Default::default()), self.clock.at(Default::default()));
        let mut records = Records::default();
        for Commit { topic, partition, offset, leader_epoch, metadata } in commits {
            let committed = Committed { offset, leader_epoch, metadata, at_ms, clock_ms };
            records.offset(group, &topic, partition, &committed);
        }
        self.write(records)
    }

    /// Deletes a group with its offsets.
    ///
    /// # Errors
    /// [`CommitError`]; nothing is deleted.
    pub fn delete(&mut self, group: &GroupId) -> Result<(), CommitError> {
        let at_ms = self.clock.wall(Default::default());
        let mut records = Records::default();
        for (topic, partition) in self.found.table.places(group.as_str()) {
            records.no_offset(group, &topic, partition, at_ms);
        }
        if self.found.table.usage(group.as_str()).is_some() {
            records.usage(group, None, at_ms);
        }
        self.write(records)
    }

    fn write(&mut self, records: Records) -> Result<(), CommitError> {
        if let Some(log) = &mut self.log {
            log.commit(&mut records.into_batch())?;
            log.mark_end();
        }
        Ok(())
    }
}

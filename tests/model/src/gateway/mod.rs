//! The gateway: three logs (readings, dead letters, losses) and what it knows of them in memory.
//!
//! `known` holds committed sequences only. A batch that touches what is appended and not committed parks;
//! whatever else it says is decided against `known`, appended, and answered when the logs it went to are
//! committed.

pub(crate) mod decide;
pub(crate) mod log;
pub(crate) mod recovery;
pub(crate) mod retention;

use crate::sequences::Set;
use log::{Log, Record, union};

pub(crate) const READINGS: usize = 0;
pub(crate) const DEAD: usize = 1;
pub(crate) const LOSSES: usize = 2;

/// The gateway.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Gateway {
    pub(crate) logs: [Log; 3],
    pub(crate) known: [Set; 3],
    /// Below this the history is unknown: both checkpoints were bad.
    pub(crate) floor: u8,
    /// For the properties: sequences of damaged records, checkpoints damaged, and broken promises seen.
    pub(crate) damaged: Set,
    pub(crate) bad_checkpoints: u8,
    pub(crate) broken_promise: Option<&'static str>,
}

impl Gateway {
    pub(crate) fn pending(&self) -> Set {
        self.logs.iter().fold(Set::EMPTY, |all, log| all | log.pending())
    }

    /// Everything whose verdict is on disk, whatever became of it there.
    pub(crate) fn on_disk(&self) -> Set {
        self.logs.iter().fold(Set::EMPTY, |all, log| all | union(log.on_disk(), Record::sequences))
    }

    /// Everything that a reader of all logs has been able to learn.
    pub(crate) fn readable(&self) -> Set {
        self.logs.iter().fold(Set::EMPTY, |all, log| all | union(&log.records, Record::readable))
    }

    /// Every record.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.logs.iter().flat_map(|log| &log.records)
    }

    /// Every record on disk.
    pub(crate) fn synced_records(&self) -> impl Iterator<Item = &Record> {
        self.logs.iter().flat_map(Log::on_disk)
    }

    /// The commit of one log returned: what it held is known, then visible.
    pub(crate) fn commit(&mut self, log: usize) {
        self.known[log] |= self.logs[log].pending();
        self.logs[log].commit();
    }
}

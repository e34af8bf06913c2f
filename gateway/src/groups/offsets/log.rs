//! What the log of the offsets topic says, and records on their way to it.

use weir_storage::{Batch, ReadError, Reader};

use super::Committed;
use super::record::{self, Key, Said, Usage};
use super::table::Table;
use crate::groups::names::GroupId;
use crate::keyed_log;
use crate::keyed_log::clock::Clock;

/// What was found in the log.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) table: Table,
    /// The clock of the newest record, and its wall clock.
    pub(crate) last: (i64, i64),
    pub(crate) records: u64,
    /// Records that another build wrote, or nobody.
    pub(crate) foreign: u64,
}

/// Reads all that the log says.
pub(crate) fn read(reader: &Reader) -> Result<Found, ReadError> {
    let mut found = Found::default();
    keyed_log::read(reader, |record| {
        found.records += 1;
        match record::decode(record.key.unwrap_or_default(), record.value, record.timestamp_ms) {
            Ok((key, said)) => {
                let clock = match &said {
                    Said::Offset(Some(committed)) => committed.clock_ms,
                    Said::Group(Some(usage)) => usage.clock_ms,
                    _ => i64::MIN,
                };
                if clock >= found.last.0 {
                    found.last = (clock, record.timestamp_ms);
                }
                found.table.apply(key, said);
            }
            Err(_) => found.foreign += 1,
        }
    })?;
    Ok(found)
}

impl Found {
    /// The clock, gone on from the newest record.
    pub(crate) fn clock(&self, wall_ms: i64) -> Clock {
        match self.records {
            0 => Clock::resume(0, wall_ms, wall_ms),
            _ => Clock::resume(self.last.0, self.last.1, wall_ms),
        }
    }
}

/// Records on their way to the log.
#[derive(Default)]
pub(crate) struct Records {
    batch: Batch,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Records {
    /// Adds a record: bounded names and metadata are far below the largest one.
    fn push(&mut self, at_ms: i64, is_kept: bool) {
        let value = is_kept.then_some(&self.value[..]);
        let pushed = self.batch.push(at_ms, Some(&self.key), value, &[]);
        debug_assert!(pushed.is_ok(), "names and metadata are bounded");
    }

    /// An offset.
    pub(crate) fn offset(&mut self, group: &GroupId, topic: &str, partition: u32, committed: &Committed) {
        Key::Offset { group: group.as_str(), topic, partition }.encode(&mut self.key);
        committed.encode(&mut self.value);
        self.push(committed.at_ms, true);
    }

    /// The end of an offset.
    pub(crate) fn no_offset(&mut self, group: &GroupId, topic: &str, partition: u32, at_ms: i64) {
        Key::Offset { group: group.as_str(), topic, partition }.encode(&mut self.key);
        self.push(at_ms, false);
    }

    /// Whether a group has members.
    pub(crate) fn usage(&mut self, group: &GroupId, usage: Option<Usage>, at_ms: i64) {
        Key::Group(group.as_str()).encode(&mut self.key);
        if let Some(usage) = usage {
            usage.encode(&mut self.value);
        }
        self.push(at_ms, usage.is_some());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    pub(crate) fn into_batch(self) -> Batch {
        self.batch
    }
}

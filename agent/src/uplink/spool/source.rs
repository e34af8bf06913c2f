//! The log that both lanes of a class read, and what is known of its records: which the gateway has in part, which it
//! cannot read, and which are in flight from the other lane.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use weir_protocol::RangeSet;

use super::Part;
use crate::queue::{ClassId, ClassLog, ClassState, SharedState};

/// The log that both lanes of a class read, and what is known of single records.
pub(super) struct Source {
    class: ClassId,
    pub(super) log: ClassLog,
    /// Units of records that the gateway has in part.
    partial: BTreeMap<u64, RangeSet>,
    /// Readings that the gateway cannot read even alone, and claims that it could not read once.
    rejected: BTreeSet<(u64, u32)>,
    /// In flight from the other lane.
    skip: RangeSet,
    pub(super) damaged: u64,
}

impl Source {
    pub(super) fn new(class: ClassId, log: ClassLog) -> Self {
        let (partial, rejected) = Default::default();
        Self { class, log, partial, rejected, skip: RangeSet::new(), damaged: 0 }
    }

    /// What was dropped from the front needs no memory, and nothing is in flight.
    pub(super) fn rewind(&mut self, start: u64) {
        self.partial = self.partial.split_off(&start);
        self.rejected = self.rejected.split_off(&(start, 0));
        self.skip = RangeSet::new();
    }

    /// These records are in flight, and not to be sent from the other lane.
    pub(super) fn skip(&mut self, offsets: Range<u64>) {
        if !offsets.is_empty() {
            self.skip.insert(offsets);
        }
    }

    /// The gateway has these.
    pub(super) fn shipped(&mut self, parts: &[Part], state: &mut ClassState) {
        for part in parts {
            if part.units == (0..part.of) {
                state.shipped.insert(part.offset..part.offset + 1);
                continue;
            }
            let acked = self.partial.entry(part.offset).or_default();
            acked.insert(u64::from(part.units.start)..u64::from(part.units.end));
            if acked.contains_all(0..u64::from(part.of)) {
                self.partial.remove(&part.offset);
                self.rejected.retain(|(offset, _)| *offset != part.offset);
                state.shipped.insert(part.offset..part.offset + 1);
            }
        }
    }

    /// Notes that a unit cannot be read alone; false if that was known, which is then forgotten.
    pub(super) fn reject(&mut self, unit: (u64, u32)) -> bool {
        let is_new = self.rejected.insert(unit);
        if !is_new {
            self.rejected.remove(&unit);
        }
        is_new
    }

    /// Whether a unit is one that cannot be read alone.
    pub(super) fn is_rejected(&self, unit: (u64, u32)) -> bool {
        self.rejected.contains(&unit)
    }

    /// Whether nothing is known of single units of a record, so that it can go as it is.
    pub(super) fn is_whole(&self, offset: u64) -> bool {
        !self.partial.contains_key(&offset) && self.rejected.range((offset, 0)..(offset + 1, 0)).next().is_none()
    }

    /// The units of a record that the gateway has.
    pub(super) fn acknowledged(&self, offset: u64) -> RangeSet {
        self.partial.get(&offset).cloned().unwrap_or_default()
    }

    /// The first record at or above `at`, and still there, that the gateway does not have.
    pub(super) fn first_unshipped(&self, at: u64, state: &SharedState) -> u64 {
        state.lock().of(self.class).first_unshipped(at.max(self.log.reader.start_offset()))
    }

    /// Whether a record need not be sent.
    pub(super) fn is_done(&self, offset: u64, state: &SharedState) -> bool {
        self.skip.contains(offset) || state.lock().of(self.class).shipped.contains(offset)
    }

    /// Nothing can be sent of these; that they are lost is in the log and in the counters.
    pub(super) fn damaged(&mut self, offsets: Range<u64>, state: &SharedState) {
        self.damaged += offsets.end - offsets.start;
        state.lock().of_mut(self.class).shipped.insert(offsets);
    }
}

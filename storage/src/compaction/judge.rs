//! Which records stay, and what that makes of each segment.

use super::keys::Keys;
use super::{Halt, source};
use crate::error::IoError;
use crate::log::upkeep::Upkeep;
use crate::record::Record;
use crate::recovery::Damage;
use crate::segments::Closed;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Decides over the records of one pass, from the start of the log on.
pub(super) struct Judge {
    keys: Keys,
    /// Below this offset a record without value goes. Behind a segment that is left as it is none does: that segment
    /// may hold what it deletes.
    tombstones_before: u64,
}

/// What a segment holds.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    /// Records that go.
    pub(super) removed: u64,
    /// About the bytes of those that stay.
    pub(super) bytes: u64,
    /// What cannot be read.
    pub(super) damage: Vec<Damage>,
}

impl Judge {
    pub(super) fn new(keys: Keys, tombstones_before: u64) -> Judge {
        Judge { keys, tombstones_before }
    }

    pub(super) fn keeps(&self, record: &Record<'_>) -> bool {
        let is_tombstone = record.key.is_some() && record.value.is_none();
        let is_expired = is_tombstone && record.offset < self.tombstones_before;
        !self.keys.supersede(record) && !is_expired
    }

    /// The segment that starts here is left as it is.
    pub(super) fn leave_from(&mut self, base_offset: u64) {
        self.tombstones_before = self.tombstones_before.min(base_offset);
    }

    /// Judges every record of the segments.
    pub(super) fn look_through<E: From<IoError>>(
        &mut self,
        upkeep: &Upkeep,
        segments: Vec<Arc<Closed>>,
        stop: &AtomicBool,
    ) -> Result<Vec<(Arc<Closed>, Verdicts)>, Halt<E>> {
        let mut looked = Vec::with_capacity(segments.len());
        for segment in segments {
            let mut verdicts = Verdicts::default();
            verdicts.damage = source::visit(upkeep, &segment, stop, |record| {
                match self.keeps(record) {
                    true => verdicts.bytes += size_of_record(record),
                    false => verdicts.removed += 1,
                }
                Ok(ControlFlow::Continue(()))
            })?;
            if !verdicts.damage.is_empty() {
                self.leave_from(segment.base_offset);
            }
            looked.push((segment, verdicts));
        }
        Ok(looked)
    }
}

/// About the bytes of a record in a frame, its share of the frame's header included.
fn size_of_record(record: &Record<'_>) -> u64 {
    let fields = [record.key, record.value].map(|field| field.map_or(0, <[u8]>::len));
    (fields.iter().sum::<usize>() + record.headers.as_bytes().len() + 24) as u64
}

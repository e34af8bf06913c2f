//! What happens when the queue is full.
//!
//! Guarantees: what is dropped is claimed before it is removed, exactly the readings that go and that the gateway is
//! not known to have; claims and ends that wait in a segment that goes are kept as they are.
//!
//! Room comes back at the front of the log only, so the oldest segment goes. Batches are formed from the front too, so
//! it may be in flight: then its acknowledgement is awaited for a moment, and if it goes all the same and arrives, the
//! gateway keeps the reading and drops the claim.

use serde::Deserialize;
use weir_protocol::RangeSet;
use weir_protocol::batch::{LossKind, Section, SetAside};
use weir_storage::{IoError, ReadError, RemoveError};

use super::records::{Found, sequences, walk};
use super::{Claims, ClaimsError, Queue};

/// What to do with a reading that finds the queue full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Give devices no credit: nothing is lost until a device's own ring is full.
    #[default]
    Block,
    /// Drop the oldest readings.
    DropOldest,
    /// Drop the reading that comes.
    DropNewest,
}

impl Policy {
    /// As it is written in settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::DropOldest => "drop-oldest",
            Self::DropNewest => "drop-newest",
        }
    }
}

/// What was dropped to make room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Segments.
    pub segments: u64,
    /// Readings that the gateway was not known to have.
    pub readings: u64,
    /// Whether claims became coarser for it.
    pub coarser: bool,
}

/// Why no room could be made; nothing that is not claimed is gone.
#[derive(Debug, thiserror::Error)]
pub enum DropError {
    /// The claims could not be kept.
    #[error(transparent)]
    Claims(#[from] ClaimsError),
    /// What goes could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It could not be removed.
    #[error(transparent)]
    Remove(#[from] RemoveError),
    /// The state could not be kept.
    #[error(transparent)]
    Io(#[from] IoError),
}

impl Queue {
    /// Whether the policy asks for room to be made now.
    pub fn wants_room(&self) -> bool {
        self.options.policy == Policy::DropOldest && self.room() < self.options.segment_bytes()
    }

    /// Whether the segment that goes next may be in flight.
    pub fn front_is_in_flight(&self) -> bool {
        let start = self.reader.start_offset();
        let state = self.state.lock();
        state.first_unshipped(start) < state.sent_below
    }

    /// Drops the oldest segments until there is room again. Blocks.
    pub fn make_room(&self) -> Result<Dropped, DropError> {
        // What the gateway has costs nothing.
        self.trim()?;
        let mut dropped = Dropped::default();
        while self.wants_room() && self.drop_oldest(&mut dropped)? {}
        Ok(dropped)
    }

    /// Drops the oldest segment; false if there is none but the one that is written.
    fn drop_oldest(&self, dropped: &mut Dropped) -> Result<bool, DropError> {
        let _front = self.front();
        let [oldest, next, ..] = self.reader.segments()[..] else { return Ok(false) };
        let offsets = oldest.base_offset..next.base_offset;
        if self.state.lock().covered < offsets.end {
            // A moment ago: the state does not know yet how far the restarts in it were accepted.
            return Ok(false);
        }
        let shipped: RangeSet = self.state.lock().shipped.overlaps(offsets.clone()).collect();
        let mut claims = Claims::default();
        walk(&self.reader, offsets.clone(), |found| -> Result<(), ReadError> {
            let Found::Entry(entry) = found else { return Ok(()) };
            if shipped.contains(entry.offset) {
                return Ok(());
            }
            claim(&entry.section, &mut claims, &mut dropped.readings);
            Ok(())
        })?;
        dropped.coarser |= self.claims.add(&claims)?;
        self.state.lock().shipped.insert(offsets.clone());
        let file = self.file();
        let bytes = self.state.lock().encode();
        file.replace(&bytes)?;
        drop(file);
        let kept_from = self.committer.remove_before(0, offsets.end)?;
        self.state.lock().shipped.remove(0..kept_from);
        dropped.segments += 1;
        Ok(true)
    }
}

/// Claims what a record names that goes, and counts its readings.
fn claim(section: &Section<'_>, claims: &mut Claims, readings: &mut u64) {
    let (run, kind) = match section {
        Section::Claim(claim) => (None, claim.kind),
        Section::End(end) => return claims.add_end(end),
        Section::Readings(run) | Section::SetAside(SetAside { run, .. }) => (Some(run), LossKind::Queue),
        // What it stands for was left out by a rule, and stays so.
        Section::Summary(summary) => (Some(&summary.run), LossKind::Reduced),
        Section::Position(_) => return,
    };
    *readings += run.map_or(0, |run| u64::from(run.count));
    for (key, range) in sequences(section) {
        let is_reading = run.is_some_and(|run| (run.device, run.restart) == key);
        claims.add(key, if is_reading { LossKind::Queue } else { kind }, range);
    }
}

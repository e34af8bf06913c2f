//! What happens when the queue is full.
//!
//! Guarantees: what is dropped is claimed before it is removed, exactly the readings that go and that the gateway is
//! not known to have; claims and ends that wait in a segment that goes are kept as they are.
//!
//! Room comes back at the front of a log only, so the oldest segment goes. Batches are formed from the front too, so
//! it may be in flight: then its acknowledgement is awaited for a moment, and if it goes all the same and arrives, the
//! gateway keeps the reading and drops the claim.

use serde::Deserialize;
use weir_protocol::RangeSet;
use weir_protocol::batch::{LossKind, Section, SetAside};
use weir_storage::{IoError, ReadError, RemoveError};

use super::records::{Found, sequences};
use super::{Claims, ClaimsError, ClassId, Queue};

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
    /// Whether the policy of a class asks for room to be made now.
    pub fn wants_room(&self) -> bool {
        self.ids().any(|class| self.is_tight(class))
    }

    fn is_tight(&self, class: ClassId) -> bool {
        let options = &self.classes[class.index()].options;
        options.policy == Policy::DropOldest && self.room(class) < options.segment_bytes()
    }

    /// Whether a segment that goes next may be in flight.
    pub fn front_is_in_flight(&self) -> bool {
        let state = self.state.lock();
        let in_flight = |class: ClassId| {
            let start = self.reader(class).start_offset();
            state.of(class).first_unshipped(start) < state.of(class).sent_below
        };
        self.ids().any(|class| self.is_tight(class) && in_flight(class))
    }

    /// Drops the oldest segments of what is full until there is room again. Blocks.
    pub fn make_room(&self) -> Result<Dropped, DropError> {
        // What the gateway has costs nothing.
        self.trim()?;
        let mut dropped = Dropped::default();
        for class in self.ids() {
            while self.is_tight(class) && self.drop_oldest(class, LossKind::Queue, &mut dropped)? {}
        }
        Ok(dropped)
    }

    /// Drops the oldest segment of a class, its readings as lost by `kind`; false if there is none but the one that is
    /// written.
    pub(super) fn drop_oldest(&self, class: ClassId, kind: LossKind, dropped: &mut Dropped) -> Result<bool, DropError> {
        let _front = self.front();
        let log = self.log(class);
        let [oldest, next, ..] = log.reader.segments()[..] else { return Ok(false) };
        let offsets = oldest.base_offset..next.base_offset;
        if self.state.lock().of(class).covered < offsets.end {
            // A moment ago: the state does not know yet how far the restarts in it were accepted.
            return Ok(false);
        }
        let shipped: RangeSet = self.state.lock().of(class).shipped.overlaps(offsets.clone()).collect();
        let mut claims = Claims::default();
        log.walk(offsets.clone(), |found| -> Result<(), ReadError> {
            let Found::Entry(entry) = found else { return Ok(()) };
            if shipped.contains(entry.offset) {
                return Ok(());
            }
            claim(&entry.section, kind, &mut claims, &mut dropped.readings);
            Ok(())
        })?;
        dropped.coarser |= self.claims.add(&claims)?;
        self.state.lock().of_mut(class).shipped.insert(offsets.clone());
        self.save()?;
        let kept_from = self.committer.remove_before(class.index(), offsets.end)?;
        self.state.lock().of_mut(class).shipped.remove(0..kept_from);
        dropped.segments += 1;
        Ok(true)
    }
}

/// Claims what a record names that goes, its readings as lost by `lost`, and counts them.
fn claim(section: &Section<'_>, lost: LossKind, claims: &mut Claims, readings: &mut u64) {
    let (run, kind) = match section {
        Section::Claim(claim) => (None, claim.kind),
        Section::End(end) => return claims.add_end(end),
        Section::Readings(run) | Section::SetAside(SetAside { run, .. }) => (Some(run), lost),
        // What it stands for was left out by a rule, and stays so.
        Section::Summary(summary) => (Some(&summary.run), LossKind::Reduced),
        Section::Position(_) => return,
    };
    *readings += run.map_or(0, |run| u64::from(run.count));
    for (key, range) in sequences(section) {
        let is_reading = run.is_some_and(|run| (run.device, run.restart) == key);
        claims.add(key, if is_reading { lost } else { kind }, range);
    }
}

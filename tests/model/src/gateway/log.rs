//! One log: records, how far they are on disk and visible, what retention deleted, and the checkpoints.
//!
//! Deleted records stay in the model as history, for the properties; nothing else reads them.

use crate::sequences::Set;

/// A record.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Record {
    Reading {
        sequence: u8,
        heals: bool,
    },
    Dead {
        sequence: u8,
        heals: bool,
    },
    Loss(Set),
    /// What a damaged record said.
    Damaged(Set),
}

impl Record {
    /// Every sequence that it is about.
    pub(crate) fn sequences(&self) -> Set {
        match self {
            Self::Reading { sequence, .. } | Self::Dead { sequence, .. } => Set::of(*sequence),
            Self::Loss(set) | Self::Damaged(set) => *set,
        }
    }

    /// Those that a reader of the log learns.
    pub(crate) fn readable(&self) -> Set {
        if matches!(self, Self::Damaged(_)) { Set::EMPTY } else { self.sequences() }
    }
}

/// The sequences of every record below `upto`, deleted ones included.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Checkpoint {
    pub(crate) upto: u8,
    pub(crate) set: Set,
    /// Below this the history is unknown.
    pub(crate) floor: u8,
    pub(crate) good: bool,
}

/// A log.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Log {
    pub(crate) records: Vec<Record>,
    /// Records below this are on disk; `visible` ones are committed.
    pub(crate) synced: u8,
    pub(crate) visible: u8,
    /// Records below this were deleted by retention.
    pub(crate) start: u8,
    /// The last two, the older one first.
    pub(crate) checkpoints: Vec<Checkpoint>,
}

impl Log {
    pub(crate) fn end(&self) -> u8 {
        self.records.len() as u8
    }

    pub(crate) fn on_disk(&self) -> &[Record] {
        &self.records[..self.synced as usize]
    }

    pub(crate) fn pending(&self) -> Set {
        union(&self.records[self.visible as usize..], Record::sequences)
    }

    pub(crate) fn commit(&mut self) {
        self.synced = self.end();
        self.visible = self.end();
    }

    pub(crate) fn truncate(&mut self, to: u8) {
        self.records.truncate(to as usize);
        self.synced = self.synced.min(to);
        self.visible = self.visible.min(to);
    }

    /// Keeps a checkpoint of everything that is visible.
    pub(crate) fn checkpoint(&mut self, set: Set, floor: u8) {
        if self.checkpoints.len() == 2 {
            self.checkpoints.remove(0);
        }
        self.checkpoints.push(Checkpoint { upto: self.visible, set, floor, good: true });
    }

    /// Where the newest checkpoint ends, if it is good.
    pub(crate) fn checkpointed(&self) -> u8 {
        self.checkpoints.last().filter(|newest| newest.good).map_or(0, |newest| newest.upto)
    }

    /// The newest checkpoint that a start can use: it verifies, and no record behind it is deleted.
    pub(crate) fn usable(&self) -> Option<&Checkpoint> {
        self.checkpoints.iter().rev().find(|checkpoint| checkpoint.good && checkpoint.upto >= self.start)
    }
}

pub(crate) fn union(records: &[Record], of: impl Fn(&Record) -> Set) -> Set {
    records.iter().fold(Set::EMPTY, |set, record| set | of(record))
}

//! Checkpoints, deletion of what they cover, and the account of damage.

use super::log::Record;
use super::{Gateway, LOSSES};
use crate::rules::Rule;
use crate::sequences::Set;
use crate::world::World;

impl Gateway {
    pub(crate) fn may_checkpoint(&self, world: &World, log: usize) -> bool {
        let log = &self.logs[log];
        world.checkpoints && log.visible > log.checkpointed()
    }

    pub(crate) fn checkpoint(&mut self, world: &World, log: usize) {
        let early = if world.breaks(Rule::CheckpointOfPending) { self.logs[log].pending() } else { Set::EMPTY };
        self.logs[log].checkpoint(self.known[log] | early, self.floor);
    }

    /// How far a log may be deleted: what the older of two checkpoints covers, once that was read back.
    pub(crate) fn deletable(&self, world: &World, log: usize) -> Option<u8> {
        let log = &self.logs[log];
        let [older, newest] = log.checkpoints[..] else { return None };
        let by = if world.breaks(Rule::DeleteByNewest) { newest } else { older };
        ((by.good || world.breaks(Rule::DeleteUnverified)) && by.upto > log.start).then_some(by.upto)
    }

    pub(crate) fn delete(&mut self, log: usize, upto: u8) {
        let log = &mut self.logs[log];
        if !log.checkpoints.iter().any(|checkpoint| checkpoint.good && checkpoint.upto == upto) {
            self.broken_promise = Some("nothing is deleted that no readable checkpoint covers");
        }
        log.start = upto;
    }

    /// What the damaged records below the newest checkpoint said, as far as that checkpoint knows it and no other record
    /// says it.
    pub(crate) fn unaccounted_damage(&self, world: &World) -> Set {
        if world.breaks(Rule::DamageUncounted) || !self.pending().is_empty() {
            return Set::EMPTY;
        }
        let mut gone = Set::EMPTY;
        for log in &self.logs {
            let Some(newest) = log.usable() else { continue };
            for record in &log.records[log.start as usize..newest.upto.max(log.start) as usize] {
                if let Record::Damaged(said) = record {
                    gone |= *said & newest.set;
                }
            }
        }
        if world.breaks(Rule::DamageCountedAgain) { gone } else { gone - self.readable() }
    }

    /// Appends what the damage cost as loss. What was only counted lost before is said again, because the record
    /// that said it is gone.
    pub(crate) fn account(&mut self, gone: Set) {
        for set in &mut self.known {
            *set -= gone;
        }
        self.logs[LOSSES].records.push(Record::Loss(gone));
    }
}

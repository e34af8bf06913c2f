//! What faults leave of the gateway, and what a start makes of it.

use super::log::{Log, Record, union};
use super::{Gateway, READINGS};
use crate::rules::Rule;
use crate::sequences::Set;
use crate::world::World;

impl Gateway {
    /// Killed: everything that was written is found, and synced before it is served.
    pub(crate) fn killed(&mut self, world: &World) {
        for log in &mut self.logs {
            log.visible = log.end();
            if !world.breaks(Rule::ServeBeforeSync) {
                log.synced = log.end();
            }
        }
        self.recall(world);
    }

    /// The power went: any prefix of what was not synced is there.
    pub(crate) fn power_cut(&mut self, world: &World, left: [u8; 3]) {
        for (log, left) in self.logs.iter_mut().zip(left) {
            log.truncate(left);
            log.commit();
        }
        self.recall(world);
    }

    /// A commit failed: the log is cut back to what is on disk.
    pub(crate) fn commit_failed(&mut self, world: &World, log: usize) {
        let log = &mut self.logs[log];
        if world.breaks(Rule::KeepAfterFailedCommit) {
            // The bytes stay in the file, but nobody notes what they say.
            log.commit();
        } else {
            log.truncate(log.synced);
        }
    }

    /// Record `at` of a log cannot be read any more. The process runs on, and finds out when it looks.
    pub(crate) fn damage_record(&mut self, log: usize, at: u8) {
        let record = &mut self.logs[log].records[at as usize];
        let said = record.sequences();
        *record = Record::Damaged(said);
        self.damaged |= said;
    }

    /// A checkpoint cannot be read any more.
    pub(crate) fn damage_checkpoint(&mut self, log: usize, at: usize) {
        self.logs[log].checkpoints[at].good = false;
        self.bad_checkpoints += 1;
    }

    /// A start: the newest checkpoint that can be used, and the records behind it.
    fn recall(&mut self, world: &World) {
        self.floor = 0;
        for at in 0..3 {
            let log = &self.logs[at];
            let (set, upto, floor) = match log.usable() {
                _ if world.breaks(Rule::SetsFromLogAlone) => (Set::EMPTY, log.start, 0),
                Some(checkpoint) => (checkpoint.set, checkpoint.upto, checkpoint.floor),
                None if log.start == 0 => (Set::EMPTY, 0, 0),
                None => (Set::EMPTY, log.start, unknown_below(world, log)),
            };
            self.known[at] = set | union(&log.records[upto as usize..], Record::readable);
            if at == READINGS {
                self.floor = if world.breaks(Rule::ForgetUnknownHistory) && log.usable().is_some() { 0 } else { floor };
            }
        }
    }
}

/// Below the lowest sequence that survives, anything may have been stored; all of it if none does.
fn unknown_below(world: &World, log: &Log) -> u8 {
    union(&log.records[log.start as usize..], Record::readable).lowest().unwrap_or(world.sequences)
}

//! The gateway: a log of readings and summaries, and one of losses; a kill leaves each with or without what is pending.

use super::Broken;
use super::queue::Entry;
use crate::sequences::Set;

/// A record of the log of readings.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Record {
    Summary { id: u8, of: Set },
    Reading(Set),
}

/// What is committed, and what is appended.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Gateway {
    pub(super) readings: Vec<Record>,
    pub(super) losses: Vec<Set>,
    pub(super) pending_readings: Vec<Record>,
    pub(super) pending_losses: Vec<Set>,
}

impl Gateway {
    /// The sequences that are readings of their own, and those that are left out.
    fn settled(&self) -> (Set, Set) {
        let left_out = self.losses.iter().fold(Set::EMPTY, |all, set| all | *set);
        (self.readings(), left_out)
    }

    fn readings(&self) -> Set {
        self.readings.iter().fold(Set::EMPTY, |all, record| match record {
            Record::Reading(set) => all | *set,
            Record::Summary { .. } => all,
        })
    }

    /// What summaries stand for.
    pub(super) fn summarised(&self) -> Set {
        self.readings.iter().fold(Set::EMPTY, |all, record| match record {
            Record::Summary { of, .. } => all | *of,
            Record::Reading(_) => all,
        })
    }

    fn has_summary(&self, id: u8) -> bool {
        self.readings.iter().any(|record| matches!(record, Record::Summary { id: stored, .. } if *stored == id))
    }

    pub(super) fn is_pending(&self) -> bool {
        !self.pending_readings.is_empty() || !self.pending_losses.is_empty()
    }

    /// Appends what is not settled; nothing is decided while anything is pending.
    pub(super) fn decide(&mut self, entry: &Entry, broken: Option<Broken>) {
        let (stored, left_out) = self.settled();
        if !entry.summary.is_empty() && !self.has_summary(entry.id) {
            self.pending_readings.push(Record::Summary { id: entry.id, of: entry.summary });
        }
        let repeats = if broken == Some(Broken::LeftOutHeals) { stored } else { stored | left_out };
        if !(entry.readings - repeats).is_empty() {
            self.pending_readings.push(Record::Reading(entry.readings - repeats));
        }
        let known = if broken == Some(Broken::LeftOutAgain) { stored } else { stored | left_out };
        if !(entry.claim - known).is_empty() {
            self.pending_losses.push(entry.claim - known);
        }
    }

    pub(super) fn commit_readings(&mut self) {
        self.readings.append(&mut self.pending_readings);
    }

    pub(super) fn commit_losses(&mut self) {
        self.losses.append(&mut self.pending_losses);
    }

    /// Whether all of it is committed.
    pub(super) fn has(&self, entry: &Entry, broken: Option<Broken>) -> bool {
        let (stored, left_out) = self.settled();
        let all = entry.readings | entry.claim;
        let is_answered = (stored | left_out).contains_all(all) && self.pending_losses.is_empty();
        let has_summary = entry.summary.is_empty() || self.has_summary(entry.id);
        is_answered && (has_summary || broken == Some(Broken::AnsweredByLosses))
    }

    /// Readings that are accounted for, here or by what the agent still has: stored, or left out with a summary that stands
    /// for them.
    pub(super) fn accounted(&self, entries: &[Entry]) -> Set {
        let (stored, left_out) = self.settled();
        let to_come = |of: fn(&Entry) -> Set| entries.iter().fold(Set::EMPTY, |all, entry| all | of(entry));
        let left_out = left_out | to_come(|entry| entry.claim);
        stored | to_come(|entry| entry.readings) | (left_out & (self.summarised() | to_come(|entry| entry.summary)))
    }

    /// What is wrong in the log, if anything is; `summaries` are of sequences whose summary the agent has, and `destroyed` is
    /// what it had on a disk that is no more.
    pub(super) fn violation(&self, summaries: Set, destroyed: Set) -> Option<&'static str> {
        let mut seen = [Set::EMPTY; 3];
        for record in &self.readings {
            let (at, set) = match record {
                Record::Summary { of, .. } => (0, *of),
                Record::Reading(set) => (1, *set),
            };
            if seen[at].meets(set) {
                return Some(["two summaries stand for a reading", "a reading is there twice"][at]);
            }
            seen[at] |= set;
        }
        for set in &self.losses {
            if seen[2].meets(*set) {
                return Some("a reading is left out twice");
            }
            seen[2] |= *set;
        }
        let [summarised, readings, left_out] = seen;
        // Where a summary came through and the disk with its claim did not, a reading is all that can be said.
        if readings.meets((summarised - destroyed) | left_out) {
            return Some("a reading stands beside its summary");
        }
        let alone = !(summarised | summaries | destroyed).contains_all(left_out);
        alone.then_some("a reading is left out and nothing stands for it")
    }
}

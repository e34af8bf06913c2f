//! The agent's disk: commits in a row, of which a power cut leaves the first ones.

use super::Broken;
use crate::sequences::Set;

/// What waits to be shipped.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Entry {
    /// The identity that all of it travels under.
    pub(super) id: u8,
    /// A summary that stands for these.
    pub(super) summary: Set,
    /// The claim that these are left out.
    pub(super) claim: Set,
    /// Readings as they are.
    pub(super) readings: Set,
}

/// What the queue says.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Queue {
    /// Everything below was here once.
    pub(super) accepted: u8,
    /// In the open window.
    pub(super) held: Set,
    pub(super) entries: Vec<Entry>,
    next_id: u8,
}

/// One commit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Commit {
    /// The next reading, into the open window.
    Hold,
    /// The next reading, as it is: no rule is for it.
    Pass,
    /// These leave the window; a summary of some, a claim of some, or nothing, is to be shipped in their place.
    Close { held: Set, summary: Set, claim: Set },
    /// The gateway has it.
    Shipped(u8),
}

impl Commit {
    /// The commits by which a window closes that holds these.
    pub(super) fn closing(held: Set, broken: Option<Broken>) -> Vec<Self> {
        let close = |held, summary, claim| Self::Close { held, summary, claim };
        let nothing = Set::EMPTY;
        match broken {
            Some(Broken::HeldDroppedFirst) => vec![close(held, nothing, nothing), close(nothing, held, held)],
            Some(Broken::ClaimBeforeSummary) => vec![close(held, nothing, held), close(nothing, held, nothing)],
            Some(Broken::SummaryBeforeClaim) => vec![close(nothing, held, nothing), close(held, nothing, held)],
            _ => vec![close(held, held, held)],
        }
    }
}

impl Queue {
    pub(super) fn apply(&mut self, commit: Commit) {
        let mut push = |summary: Set, claim: Set, readings: Set| {
            if !(summary | claim | readings).is_empty() {
                self.entries.push(Entry { id: self.next_id, summary, claim, readings });
                self.next_id += 1;
            }
        };
        match commit {
            Commit::Hold => {
                self.held |= Set::of(self.accepted);
                self.accepted += 1;
            }
            Commit::Pass => {
                push(Set::EMPTY, Set::EMPTY, Set::of(self.accepted));
                self.accepted += 1;
            }
            Commit::Close { held, summary, claim } => {
                push(summary, claim, Set::EMPTY);
                self.held -= held;
            }
            Commit::Shipped(id) => self.entries.retain(|entry| entry.id != id),
        }
    }

    /// Every reading that is here in one form or another.
    pub(super) fn has(&self) -> Set {
        self.entries.iter().fold(self.held, |all, entry| all | entry.summary | entry.claim | entry.readings)
    }

    /// Gives everything that waits another identity.
    pub(super) fn number_again(&mut self) {
        for entry in &mut self.entries {
            entry.id = self.next_id;
            self.next_id += 1;
        }
    }

    /// What an agent begins with whose disk is new: where the device goes on, and identities that it never used.
    pub(super) fn new(accepted: u8, first_id: u8) -> Self {
        Self { accepted, next_id: first_id, ..Self::default() }
    }
}

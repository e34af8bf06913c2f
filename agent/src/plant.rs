//! Faults planted on purpose, to prove that the lab's ledger catches them. Built only with the feature
//! `plant`, on a filesystem where killing the process loses what was not synced.

use weir_protocol::serial::Down;
use weir_storage::fs::Lie;

use crate::intake::{Intake, Mark};

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Plant {
    /// Acknowledge devices before their readings are on disk.
    AckBeforeSync,
    /// Never sync a directory.
    SkipDirectorySync,
    /// Take a sync that failed for one that did not.
    SwallowEio,
}

impl Plant {
    /// What the filesystem lies about.
    pub fn lie(self) -> Option<Lie> {
        match self {
            Self::AckBeforeSync => None,
            Self::SkipDirectorySync => Some(Lie::Directories),
            Self::SwallowEio => Some(Lie::Sync),
        }
    }
}

/// The lie of [`Plant::AckBeforeSync`].
pub fn acknowledge_before_sync(plant: Option<Plant>, intake: &mut Intake, marks: &[Mark]) {
    if plant == Some(Plant::AckBeforeSync) {
        for mark in marks {
            intake.reply(mark.link, Down::Ack { restart: mark.key.1, accepted: mark.accepted });
        }
    }
}

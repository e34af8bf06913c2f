//! The search for damage step by step, as the keeper's thread does it.

use std::sync::mpsc::{Receiver, channel};

use weir_protocol::Timestamp;

use super::super::damage::Job;
use super::super::keeper::Scrub;
use super::super::snapshots::Snapshot;
use super::Gateway;

/// What snapshots that are asked for here are known by.
const ASKED: u64 = 1;

/// What a look at a damaged log came to.
pub(crate) struct Accounted {
    /// Sequences that are to be counted as lost.
    pub(crate) sequences: u64,
    /// Offsets of which nobody can tell the identities, at most.
    #[cfg_attr(not(test), expect(dead_code, reason = "only small logs are told roughly, in tests"))]
    pub(crate) unnamed: u64,
    /// Hangs up once all of it is committed, or failed: then it is found again.
    pub(crate) over: Receiver<()>,
}

impl Gateway {
    /// Reads every log again; those that are damaged. `None`: the journal might bring back what the damage took.
    pub(crate) fn look_for_damage(&mut self) -> Option<Vec<usize>> {
        self.writer.void_journal().ok()?;
        let mut scrub = Scrub::default();
        scrub.begin(self.keeper.logs.len());
        let mut damaged = Vec::new();
        while !scrub.is_done() {
            damaged.extend(self.keeper.scrub(&mut scrub).1);
        }
        Some(damaged)
    }

    /// Hands in what of a log cannot be read any more; commits to come count it as lost.
    ///
    /// # Errors
    /// Why it cannot be told.
    pub(crate) fn account(&mut self, log: usize) -> Result<Accounted, String> {
        let snapshot = self.snapshot(log);
        let finding = self.keeper.missing(&snapshot, || true)?;
        let (unnamed, sequences) = (finding.unnamed, finding.identities.values().map(|set| set.len()).sum());
        let (done, over) = channel();
        self.engine.lose(Job::new(finding, Timestamp::from_millis(self.wall_ms), done));
        self.engine.advance();
        Ok(Accounted { sequences, unnamed, over })
    }

    /// Writes what is known of a log, so that the next start does not find the same damage again.
    ///
    /// # Errors
    /// It could not be written; then the next start finds it again.
    pub(crate) fn remember(&mut self, log: usize) -> Result<(), String> {
        let snapshot = self.snapshot(log);
        self.keeper.write(&snapshot, self.time()).map_err(|error| error.to_string())
    }

    fn snapshot(&mut self, log: usize) -> Snapshot {
        self.engine.ask_snapshot(log, ASKED);
        loop {
            let mut asked = None;
            for snapshot in self.engine.step_snapshots() {
                match snapshot.asked {
                    Some(ASKED) => asked = Some(snapshot),
                    // What cannot be written is written at the next roll.
                    _ => drop(self.keeper.write(&snapshot, self.time())),
                }
            }
            if let Some(asked) = asked {
                return asked;
            }
        }
    }
}

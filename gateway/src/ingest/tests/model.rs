//! What the agents of a random run know to be true, and so what the log must show.

use std::collections::{BTreeMap, BTreeSet};

use weir_protocol::batch::LossKind;
use weir_protocol::{DeviceId, Restart};

use super::super::Verdict;
use super::log_content::{Identity, LogContent};

/// What one batch says about its identities.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    pub(super) valid: BTreeSet<Identity>,
    /// Sent so that they cannot be stored as readings.
    pub(super) invalid: BTreeSet<Identity>,
    pub(super) claimed: BTreeSet<Identity>,
}

/// Everything that was ever said, and what of it was acknowledged.
#[derive(Debug, Default)]
pub(super) struct Model {
    said: Said,
    acknowledged: Said,
    rot: bool,
    /// Readings whose records are damaged, and that is told by their offsets alone.
    unnamed: BTreeSet<Identity>,
}

impl Model {
    pub(super) fn send(&mut self, batch: &Said) {
        self.said.add(batch);
    }

    /// What a verdict promises.
    pub(super) fn note(&mut self, batch: &Said, verdict: &Verdict) {
        match verdict {
            Verdict::Stored => self.acknowledged.add(batch),
            Verdict::DeadLettered(_) => {
                // Valid readings too, if nobody described their schema.
                let mut batch = batch.clone();
                batch.invalid.append(&mut batch.valid);
                self.acknowledged.add(&batch);
            }
            Verdict::Unreadable(_) | Verdict::Failed(_) => {}
        }
    }

    /// Nothing acknowledged is missing, nothing is there that nobody said, every value is the one sampled.
    pub(super) fn check(&self, log: &LogContent, value_of: impl Fn(u64) -> String) {
        log.assert_conserved();
        let rotten = |id: &Identity| self.rot && log.lost.contains_key(id);
        // What an agent's rules left out settles the sequence: whatever else comes for it is a repeat.
        let left_out = |id: &Identity| log.lost.get(id).is_some_and(|kind| kind == LossKind::Reduced.as_str());
        let in_log = |id: &Identity| {
            let is_told = log.readings.contains_key(id) || log.dead.contains_key(id) || left_out(id);
            is_told || rotten(id) || self.unnamed.contains(id)
        };
        let missing: BTreeMap<&str, Vec<_>> = BTreeMap::from([
            (
                "readings",
                self.acknowledged
                    .valid
                    .iter()
                    .filter(|id| !log.readings.contains_key(id) && !left_out(id))
                    .filter(|id| !self.has_rotted(id, log) && !self.unnamed.contains(id))
                    .collect(),
            ),
            ("dead letters", self.acknowledged.invalid.iter().filter(|id| !in_log(id)).collect()),
            (
                "losses",
                self.acknowledged.claimed.iter().filter(|id| !in_log(id) && !log.lost.contains_key(id)).collect(),
            ),
        ]);
        assert!(missing.values().all(Vec::is_empty), "acknowledged, but missing: {missing:?}");

        for (identity, (value, _)) in &log.readings {
            assert!(self.said.valid.contains(identity), "nobody sent the reading {identity:?}");
            assert_eq!(*value, value_of(identity.2), "value of {identity:?}");
        }
        for (identity, (reason, _)) in &log.dead {
            let undescribed = reason == "unknown-schema" && self.said.valid.contains(identity);
            assert!(undescribed || self.said.invalid.contains(identity), "nobody sent the dead letter {identity:?}");
        }
        for (identity, kind) in &log.lost {
            let said = if kind == "damage" {
                self.rot && self.said.has(identity)
            } else {
                self.said.claimed.contains(identity)
            };
            assert!(said, "a loss ({kind}) that nobody claimed: {identity:?}");
        }
    }

    /// Whether a reading that was acknowledged is damaged, and counts by another verdict.
    fn has_rotted(&self, identity: &Identity, log: &LogContent) -> bool {
        self.rot && (log.dead.contains_key(identity) || log.lost.contains_key(identity))
    }

    /// At rest: every sequence that was acknowledged counts once.
    pub(super) fn check_counts(&self, log: &LogContent) {
        for identity in self.acknowledged.all().filter(|id| !self.unnamed.contains(id)) {
            assert_eq!(log.count(identity), 1, "{identity:?} counts once");
        }
    }

    /// What was acknowledged of one restart.
    pub(super) fn acknowledged(&self, device: DeviceId, restart: Restart) -> BTreeSet<u64> {
        let own = |id: &&Identity| (id.0, id.1) == (device, restart);
        self.acknowledged.all().filter(own).map(|id| id.2).collect()
    }

    /// These are damaged, and told by their offsets alone.
    pub(super) fn excuse(&mut self, readings: Vec<Identity>) {
        self.unnamed.extend(readings);
    }

    /// Records have been damaged.
    pub(super) fn note_rot(&mut self) {
        self.rot = true;
    }
}

impl Said {
    fn all(&self) -> impl Iterator<Item = &Identity> {
        self.valid.iter().chain(&self.invalid).chain(&self.claimed)
    }

    fn has(&self, identity: &Identity) -> bool {
        [&self.valid, &self.invalid, &self.claimed].into_iter().any(|set| set.contains(identity))
    }

    fn add(&mut self, other: &Self) {
        self.valid.extend(&other.valid);
        self.invalid.extend(&other.invalid);
        self.claimed.extend(&other.claimed);
    }
}

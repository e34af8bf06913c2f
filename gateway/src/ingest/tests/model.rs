//! What the agents of a random run know to be true, and so what the log must show.

use std::collections::{BTreeMap, BTreeSet};

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
        let in_log = |id: &Identity| log.readings.contains_key(id) || log.dead.contains_key(id);
        let missing: BTreeMap<&str, Vec<_>> = BTreeMap::from([
            ("readings", self.acknowledged.valid.iter().filter(|id| !log.readings.contains_key(id)).collect()),
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
        assert!(log.lost.keys().all(|id| self.said.claimed.contains(id)), "a loss that nobody claimed");
    }
}

impl Said {
    fn add(&mut self, other: &Self) {
        self.valid.extend(&other.valid);
        self.invalid.extend(&other.invalid);
        self.claimed.extend(&other.claimed);
    }
}

//! How far this agent has accepted each restart of each device.
//!
//! The table is an optimisation that spares the line and the uplink repeats; correctness rests on the
//! gateway. So it is bounded: past [`MAX_RESTARTS`] the restart that was silent for longest is forgotten, and
//! if its device comes back the gateway drops what it had already.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_protocol::{DeviceId, Restart, Sequence};

/// The most restarts that are remembered.
pub const MAX_RESTARTS: usize = 4096;

/// One restart of one device.
pub type Key = (DeviceId, Restart);

/// What this incarnation of the queue knows of a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The first sequence that was accepted here; below it is someone else's history.
    pub from: Sequence,
    /// Every sequence from `from` to below this is durable here, or was until the gateway had it.
    pub accepted: Sequence,
    /// The restart is over, and its end was said or is exactly `accepted`.
    pub ended: bool,
    /// The first sequence that was never acknowledged, if that is above `accepted`: the queue lost what is between.
    pub forgotten: Sequence,
    /// What lies from `accepted` on may have been acknowledged as well: the queue lost records, and nobody knows what they named.
    #[serde(skip)]
    pub doubtful: bool,
    used: u64,
}

impl Progress {
    /// The first sequence that was never accepted here, lost or not.
    pub fn reached(&self) -> Sequence {
        self.accepted.max(self.forgotten)
    }
}

/// The restarts that are remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restarts {
    known: BTreeMap<Key, Progress>,
    uses: u64,
}

impl Restarts {
    /// What is known of a restart.
    pub fn get(&self, key: &Key) -> Option<&Progress> {
        self.known.get(key)
    }

    /// Notes that everything below `accepted` is durable; `from` counts only for a restart that is new.
    pub fn accept(&mut self, key: Key, from: Sequence, accepted: Sequence, ended: bool) {
        self.uses += 1;
        if self.known.len() >= MAX_RESTARTS && !self.known.contains_key(&key) {
            let silent = self.known.iter().min_by_key(|(_, progress)| progress.used).map(|(key, _)| *key);
            silent.map(|silent| self.known.remove(&silent));
        }
        let new = Progress { from, accepted, ended, forgotten: Sequence(0), doubtful: false, used: 0 };
        let progress = self.known.entry(key).or_insert(new);
        progress.accepted = progress.accepted.max(accepted);
        (progress.ended, progress.doubtful) = (ended, false);
        progress.used = self.uses;
    }

    /// The queue lost records and nobody knows which: nothing counts as accepted, so that devices send again what
    /// they still have. How far they were acknowledged stays known.
    pub fn forget_accepted(&mut self) {
        for progress in self.known.values_mut() {
            progress.forgotten = progress.reached();
            progress.accepted = progress.from;
        }
    }

    /// Records are lost, and nobody knows whether they named more of a restart. One that is over has no more.
    pub fn doubt(&mut self, key: &Key) {
        if let Some(progress) = self.known.get_mut(key) {
            progress.doubtful = !progress.ended;
        }
    }

    /// Its device says that it was acknowledged for no more than is known.
    pub fn trust(&mut self, key: &Key) {
        self.known.get_mut(key).into_iter().for_each(|progress| progress.doubtful = false);
    }

    /// Those in doubt.
    pub fn doubtful(&self) -> impl Iterator<Item = Key> {
        self.known.iter().filter(|(_, progress)| progress.doubtful).map(|(key, _)| *key)
    }

    /// Of each device the restart that was accepted last: devices send the oldest first, so that those before are whole.
    pub(super) fn latest(&self) -> impl Iterator<Item = Key> {
        let mut latest: BTreeMap<DeviceId, (u64, Restart)> = BTreeMap::new();
        for ((device, restart), progress) in &self.known {
            let this = (progress.used, *restart);
            latest.entry(*device).and_modify(|newest| *newest = (*newest).max(this)).or_insert(this);
        }
        latest.into_iter().map(|(device, (_, restart))| (device, restart))
    }

    /// The restarts of one device.
    pub fn of(&self, device: DeviceId) -> impl Iterator<Item = (Restart, &Progress)> {
        let all = (device, Restart(0))..=(device, Restart(u64::MAX));
        self.known.range(all).map(|((_, restart), progress)| (*restart, progress))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Progress)> {
        self.known.iter()
    }
}

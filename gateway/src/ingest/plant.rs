//! Faults planted on purpose, so that those who should catch them can be tested. Never in a normal build.

use weir_storage::fs::Lie;

use super::devices::Devices;

/// A fault to plant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// Verdicts are told when a group goes to the committer, instead of when it is on disk.
    AckBeforeSync,
    /// Recovery forgets one stored range of each device's last restart, so that a resend of it is stored twice.
    ForgetRange,
    /// No directory is ever synced.
    SkipDirectorySync,
    /// A sync that failed is taken for one that did not.
    SwallowEio,
    /// What is claimed to be lost is counted in memory, and no record says so.
    LoseLossRecord,
}

impl Plant {
    /// All, by the names that a person types.
    pub(crate) const NAMES: [(&str, Self); 5] = [
        ("ack-before-sync", Self::AckBeforeSync),
        ("forget-range", Self::ForgetRange),
        ("skip-directory-sync", Self::SkipDirectorySync),
        ("swallow-eio", Self::SwallowEio),
        ("lose-loss-record", Self::LoseLossRecord),
    ];

    /// What the filesystem lies about.
    pub fn lie(self) -> Option<Lie> {
        match self {
            Self::SkipDirectorySync => Some(Lie::Directories),
            Self::SwallowEio => Some(Lie::Sync),
            Self::AckBeforeSync | Self::ForgetRange | Self::LoseLossRecord => None,
        }
    }

    /// Plants what belongs to recovery.
    pub(crate) fn after_recovery(self, devices: &mut Devices) {
        devices.loses_loss_records = self == Self::LoseLossRecord;
        if self != Self::ForgetRange {
            return;
        }
        for ledger in devices.iter_mut().filter_map(|device| device.restarts.values_mut().next_back()) {
            // The end of what is stored is what an agent most likely sends again.
            if let Some(end) = ledger.stored.end()
                && let Some(last) = ledger.stored.overlaps(end.saturating_sub(64)..end).last()
            {
                ledger.forget_stored(last);
            }
        }
    }
}

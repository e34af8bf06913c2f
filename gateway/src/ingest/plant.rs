//! Faults planted on purpose, so that those who should catch them can be tested. Never in a normal build.

use super::devices::Devices;

/// A fault to plant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// Verdicts are told when a group goes to the committer, instead of when it is on disk.
    AckBeforeSync,
    /// Recovery forgets one stored range of each device's last restart, so that a resend of it is stored twice.
    ForgetRange,
}

impl Plant {
    /// Plants what belongs to recovery.
    pub(crate) fn after_recovery(self, devices: &mut Devices) {
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

//! What happened at the door, counted.

use std::sync::atomic::{AtomicU64, Ordering};

use super::failure::Reason;

/// The numbers.
#[derive(Debug, Default)]
pub struct Counters {
    full: AtomicU64,
    resumed: AtomicU64,
    failed: [AtomicU64; Reason::ALL.len()],
    applied: AtomicU64,
    refused: AtomicU64,
}

impl Counters {
    pub(super) fn accepted(&self, is_resumed: bool) {
        let counter = if is_resumed { &self.resumed } else { &self.full };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, reason: Reason) {
        self.failed[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn reloaded(&self, is_applied: bool) {
        let counter = if is_applied { &self.applied } else { &self.refused };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Handshakes that were done: in full, and with a session of before.
    pub fn handshakes(&self) -> (u64, u64) {
        (self.full.load(Ordering::Relaxed), self.resumed.load(Ordering::Relaxed))
    }

    /// Handshakes that failed, by reason.
    pub fn failures(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.iter().map(|reason| (*reason, self.failed[*reason as usize].load(Ordering::Relaxed)))
    }

    /// Times that files were read again: with success, and in vain.
    pub fn reloads(&self) -> (u64, u64) {
        (self.applied.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }
}

//! What time does to retained messages: they expire, and their log is compacted.

use std::ops::Bound;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use weir_storage::{Compaction, RemoveError};

use super::Retained;
use super::table::Key;
use crate::keyed_log::Refused;

/// How often it is looked for messages that have expired. They are not seen before either.
const SWEEP: Duration = Duration::from_secs(5);
/// Messages looked at in one sweep.
const MAX_LOOKED_AT: usize = 5000;

impl Retained {
    /// Lets time pass until `stop` turns true.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut compacting: Option<JoinHandle<()>> = None;
        let mut next = None;
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(SWEEP) => (),
            }
            next = self.sweep(next);
            if self.shared.log.has_grown() && compacting.as_ref().is_none_or(JoinHandle::is_finished) {
                let retained = self.clone();
                compacting = Some(tokio::task::spawn_blocking(move || retained.compact()));
            }
        }
    }

    /// Takes out messages that have expired, from behind `after` on; where to go on.
    pub(super) fn sweep(&self, after: Option<Key>) -> Option<Key> {
        let now_ms = self.shared.now_ms();
        let mut table = self.shared.table();
        let from = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let (mut expired, mut last) = (Vec::new(), None);
        for (looked_at, (key, message)) in table.from(from).enumerate() {
            if message.has_expired(now_ms) {
                expired.push(key.clone());
            }
            if looked_at + 1 == MAX_LOOKED_AT {
                last = Some(key.clone());
                break;
            }
        }
        table.expired += expired.len() as u64;
        // If one cannot be written it is met again.
        let refused: Vec<_> = expired.iter().filter_map(|key| self.shared.hand_in(key, None, |_| ())).collect();
        drop(table);
        refused.into_iter().for_each(Refused::tell);
        last
    }

    /// Takes out what later records have replaced. Reads and writes files: not for an async task.
    pub(super) fn compact(&self) {
        match self.shared.log.compact() {
            Ok(Compaction { removed_records: removed, allocated: (before, after), left, damage, .. }) => {
                tracing::info!(removed, before, after, left, damages = damage.len(), "weir.retained compacted");
            }
            Err(RemoveError::Stopped) => (),
            Err(error) => tracing::warn!(%error, "weir.retained could not be compacted; it is tried again"),
        }
    }

    /// Commits what was handed in, and closes the log. Waits for the disk: not for an async task.
    pub fn stop(&self) {
        self.shared.log.stop();
    }
}

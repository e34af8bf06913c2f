//! What time does to sessions: they end, their wills go out, and their log is compacted.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use weir_storage::{Batch, Compaction, RemoveError};

use super::record::{self, Part};
use super::state::Whole;
use super::wills::Next;
use super::{Key, Publisher, Sessions};
use crate::keyed_log::Refused as NotTaken;

/// Wills that are being published at the same time.
const MAX_FIRING: usize = 64;
/// Sessions that end in one step, before others have their turn.
const MAX_ENDING: usize = 1000;
/// How often it is looked for what is owed to the disk.
const SWEEP: Duration = Duration::from_secs(5);
/// How often the clock is written: the most that sessions stay longer over a restart.
const CLOCK: Duration = Duration::from_secs(600);

impl Sessions {
    /// Lets time pass, and publishes wills. Once `stop` turns true it ends when all wills that are due are out: those whose
    /// connection ended before are.
    pub async fn run(self, publisher: impl Publisher, mut stop: watch::Receiver<bool>) {
        let mut firing = JoinSet::new();
        let mut compacting: Option<JoinHandle<()>> = None;
        let (mut next_sweep, mut next_clock) = (self.shared.started + SWEEP, self.shared.started + CLOCK);
        loop {
            let wake = self.step(&mut firing, &publisher);
            let is_stopping = *stop.borrow();
            if is_stopping && firing.is_empty() {
                break;
            }
            let wake = wake.map_or(next_sweep, |wake| wake.min(next_sweep));
            tokio::select! {
                _ = stop.wait_for(|stop| *stop), if !is_stopping => continue,
                Some(_) = firing.join_next() => continue,
                () = self.shared.hurry.notified() => continue,
                () = tokio::time::sleep_until(wake) => (),
            }
            let now = Instant::now();
            if now >= next_sweep {
                next_sweep = now + SWEEP;
                self.sweep();
                if self.shared.log.has_grown() && compacting.as_ref().is_none_or(JoinHandle::is_finished) {
                    let sessions = self.clone();
                    compacting = Some(tokio::task::spawn_blocking(move || sessions.compact()));
                }
            }
            if now >= next_clock {
                next_clock = now + CLOCK;
                self.write_clock();
            }
        }
    }

    /// Begins what is due; when something is due next.
    fn step(&self, firing: &mut JoinSet<()>, publisher: &impl Publisher) -> Option<Instant> {
        let now_ms = self.shared.now_ms();
        let mut refused: Vec<NotTaken> = Vec::new();
        let mut table = self.shared.table();
        let mut ended = 0;
        while firing.len() < MAX_FIRING && ended < MAX_ENDING {
            match table.next_due(now_ms) {
                Some(Next::Will(due)) => {
                    firing.spawn(due.fire(self.shared.clone(), publisher.clone()));
                }
                Some(Next::End(key, away)) => {
                    ended += 1;
                    table.counters.expired += 1;
                    refused.extend(self.shared.end(&mut table, &key, away, |_| ()));
                }
                None => break,
            }
        }
        let due = table.due.first_key_value().map(|((due_ms, _), _)| due_ms.saturating_sub(now_ms));
        let is_full = firing.len() >= MAX_FIRING;
        drop(table);
        refused.into_iter().for_each(NotTaken::tell);
        // With all places taken, the next one that gets free wakes.
        due.filter(|_| !is_full).map(|wait| Instant::now() + Duration::from_millis(u64::try_from(wait).unwrap_or(0)))
    }

    /// Writes what could not be written, and forgets the oldest histories of too many.
    pub(super) fn sweep(&self) {
        let mut refused = Vec::new();
        let mut table = self.shared.table();
        let owing: Vec<Key> = table.owing.iter().take(MAX_ENDING).cloned().collect();
        for key in owing {
            refused.extend(self.shared.pay(&mut table, &key, |_| ()));
        }
        for _ in 0..MAX_ENDING {
            let Some(key) = table.drop_history(self.shared.options.sessions) else { break };
            let parts = [Part::History].into();
            refused.extend(self.shared.hand_in(&key, Whole::default().contents(), parts, false, |_| ()));
        }
        drop(table);
        refused.into_iter().for_each(NotTaken::tell);
    }

    /// Writes what the clock shows.
    pub(super) fn write_clock(&self) {
        let moment = self.shared.moment(false);
        let (mut batch, mut value) = (Batch::new(), Vec::new());
        record::clock::encode(moment.clock_ms, &mut value);
        let pushed = batch.push(moment.wall_ms, Some(&record::clock::KEY), Some(&value), &[]);
        debug_assert!(pushed.is_ok(), "a few bytes");
        // If it is lost, sessions stay a little longer.
        self.shared.log.submit(batch, |_| ()).map_or_else(NotTaken::tell, |()| ());
    }

    /// Takes out what later records have replaced. Reads and writes files: not for an async task.
    pub(super) fn compact(&self) {
        match self.shared.log.compact() {
            Ok(Compaction { removed_records: removed, allocated: (before, after), left, damage, .. }) => {
                tracing::info!(removed, before, after, left, damages = damage.len(), "weir.sessions compacted");
            }
            Err(RemoveError::Stopped) => (),
            Err(error) => tracing::warn!(%error, "weir.sessions could not be compacted; it is tried again"),
        }
    }

    /// Commits what was handed in, and closes the log. Waits for the disk: not for an async task.
    pub fn stop(&self) {
        self.write_clock();
        self.shared.log.stop();
    }
}

//! What the read model is told about restarts: how far each has come, as numbers.
//!
//! A restart that changed is told again, and after a start all are, so a model that was deleted or lags is right again
//! by itself. Bounded by the restarts there are, which are bounded.

use std::path::Path;

use hashbrown::HashSet;
use weir_protocol::{DeviceId, Restart, Tenant};
use weir_storage::Fs;

use super::devices::{DeviceIndex, Devices};
use super::ledger::{Counted, End, Ledger};
use super::options::Limits;
use super::recovery::{self, RecoverError, Source};
use crate::schemas::evolution::Compatibility;
use crate::topics::Topics;
use crate::topics::routes::Routes;

/// The most rows that are told at a time.
const MAX_ROWS: usize = 4096;

/// What is known about one restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartRow {
    /// Scopes the device.
    pub tenant: Tenant,
    /// The device.
    pub device: DeviceId,
    /// Its restart.
    pub restart: Restart,
    /// The first sequence behind everything that is known.
    pub next: u64,
    /// Sequences stored as readings.
    pub stored: u64,
    /// Sequences that the agent's rules left out or put into summaries.
    pub reduced: u64,
    /// Sequences that are dead letters and no readings.
    pub dead_lettered: u64,
    /// Sequences counted lost that are neither.
    pub lost: u64,
    /// Whether it ended without anyone knowing how far it had sampled.
    pub tail_unknown: bool,
}

/// What the logs and their checkpoints say about every restart; changes nothing.
///
/// # Errors
/// [`RecoverError`] when a log cannot be read.
pub fn restarts_on_disk(fs: &dyn Fs, data: &Path, topics: &Topics) -> Result<Vec<RestartRow>, RecoverError> {
    let routes = Routes::of(topics);
    let source = Source { fs, data, topics, routes: &routes, is_read_only: true };
    let devices = recovery::recover(&source, Limits::default(), Compatibility::default(), [])?.devices;
    let (mut rows, mut all) = (Rows::default(), Vec::new());
    loop {
        match rows.take(&devices) {
            more if more.is_empty() => return Ok(all),
            more => all.extend(more),
        }
    }
}

/// The restarts that are to be told.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    changed: HashSet<(u32, Restart)>,
    /// Devices before this were told as a whole.
    next: usize,
}

impl Rows {
    /// A restart changed.
    pub(crate) fn note(&mut self, place: DeviceIndex, restart: Restart) {
        self.changed.insert((place.0, restart));
    }

    /// Everything is to be told once more.
    pub(crate) fn begin(&mut self) {
        self.next = 0;
    }

    /// The next ones; empty when all are told.
    pub(crate) fn take(&mut self, devices: &Devices) -> Vec<RestartRow> {
        let mut rows = Vec::new();
        while rows.len() < MAX_ROWS
            && let Some(device) = devices.all().get(self.next)
        {
            self.next += 1;
            rows.extend(
                device.restarts.iter().map(|(restart, ledger)| row((device.tenant, device.id), *restart, ledger)),
            );
        }
        let room = MAX_ROWS.saturating_sub(rows.len());
        let some: Vec<_> = self.changed.iter().take(room).copied().collect();
        for (place, restart) in some {
            self.changed.remove(&(place, restart));
            let device = devices.get(DeviceIndex(place));
            rows.extend(
                device
                    .and_then(|device| Some(row((device.tenant, device.id), restart, device.restarts.get(&restart)?))),
            );
        }
        rows
    }
}

fn row((tenant, device): (Tenant, DeviceId), restart: Restart, ledger: &Ledger) -> RestartRow {
    let Counted { dead, lost } = ledger.counted();
    RestartRow {
        tenant,
        device,
        restart,
        next: ledger.next(),
        stored: ledger.readings(),
        reduced: ledger.reduced,
        dead_lettered: dead,
        lost,
        tail_unknown: ledger.end == End::Recorded,
    }
}

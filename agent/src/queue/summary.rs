//! What is in a queue, read from its files alone, also beside the agent that writes them.
//!
//! The state file is as old as the agent's last checkpoint, so `shipped` may lag by `queue.checkpoint`.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use weir_storage::{Fs, IoError, verify};

use super::{Files, LOG_DIR, State};

/// A queue in numbers.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Which life of the queue this is; none before the first checkpoint.
    pub incarnation: Option<String>,
    /// Segment files.
    pub segments: u64,
    /// Records in the files.
    pub records: u64,
    /// Bytes of records.
    pub bytes: u64,
    /// The first offset in the files.
    pub start_offset: u64,
    /// The offset that the next record takes.
    pub next_offset: u64,
    /// Records that the gateway does not have, as of the last checkpoint.
    pub unshipped: u64,
    /// Damaged places.
    pub damage: Vec<String>,
    /// Restarts, as of the last checkpoint.
    pub devices: Vec<DeviceSummary>,
    /// Why the state file cannot be believed, if so.
    pub state_damage: Option<String>,
}

/// One restart of one device.
#[derive(Clone, Debug, Serialize)]
pub struct DeviceSummary {
    /// The device.
    pub device: String,
    /// The restart; text, because JSON numbers lose bits.
    pub restart: String,
    /// The first sequence accepted here.
    pub from: u64,
    /// The first sequence not accepted yet.
    pub accepted: u64,
    /// Whether the restart is over.
    pub ended: bool,
}

impl Summary {
    /// Reads the files below `data_dir`; takes no lock and writes nothing.
    pub fn read(fs: &Arc<dyn Fs>, data_dir: &Path) -> Result<Self, IoError> {
        let found = verify(&**fs, &data_dir.join(LOG_DIR))?;
        let Files { state, state_damage, .. } = Files::load(fs, data_dir)?;
        let unshipped = |state: &State| state.shipped.gaps(found.offsets.clone()).map(|gap| gap.end - gap.start).sum();
        let devices =
            state.iter().flat_map(|state| state.restarts.iter()).map(|((device, restart), progress)| DeviceSummary {
                device: device.to_string(),
                restart: restart.to_string(),
                from: progress.from.0,
                accepted: progress.accepted.0,
                ended: progress.ended,
            });
        Ok(Self {
            incarnation: state.as_ref().map(|state| state.incarnation.to_string()),
            segments: found.segments,
            records: found.records,
            bytes: found.bytes,
            start_offset: found.offsets.start,
            next_offset: found.offsets.end,
            unshipped: state.as_ref().map_or(found.offsets.end - found.offsets.start, unshipped),
            damage: found.damage.iter().map(ToString::to_string).collect(),
            devices: devices.collect(),
            state_damage,
        })
    }
}

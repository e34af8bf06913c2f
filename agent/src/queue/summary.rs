//! What is in a queue, read from its files alone, also beside the agent that writes them.
//!
//! The state file is as old as the agent's last checkpoint, so `shipped` may lag by `queue.checkpoint`.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use weir_storage::{Fs, verify};

use super::class::{classes_on_disk, log_dir};
use super::{ClassState, Files, QueueError, Vault};

/// A queue in numbers.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Which life of the queue this is; none before the first checkpoint.
    pub incarnation: Option<String>,
    /// Records in the files.
    pub records: u64,
    /// Bytes of records.
    pub bytes: u64,
    /// Records that the gateway does not have, as of the last checkpoint.
    pub unshipped: u64,
    /// Each class, `default` first.
    pub classes: Vec<ClassSummary>,
    /// Damaged places.
    pub damage: Vec<String>,
    /// Restarts, as of the last checkpoint.
    pub devices: Vec<DeviceSummary>,
    /// Why the state file cannot be believed, if so.
    pub state_damage: Option<String>,
}

/// The log of one class in numbers.
#[derive(Clone, Debug, Serialize)]
pub struct ClassSummary {
    /// What the class is called.
    pub class: String,
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
    pub fn read(fs: &Arc<dyn Fs>, data_dir: &Path, vault: &Arc<Vault>) -> Result<Self, QueueError> {
        let Files { state, state_damage, .. } = Files::load(fs, data_dir, vault)?;
        let mut classes = Vec::new();
        let mut damage = Vec::new();
        for name in classes_on_disk(&**fs, data_dir)? {
            let found = verify(&**fs, &log_dir(data_dir, name))?;
            let of_class = state.as_ref().and_then(|state| state.named(name));
            let unshipped =
                |class: &ClassState| class.shipped.gaps(found.offsets.clone()).map(|gap| gap.end - gap.start).sum();
            classes.push(ClassSummary {
                class: name.to_string(),
                segments: found.segments,
                records: found.records,
                bytes: found.bytes,
                start_offset: found.offsets.start,
                next_offset: found.offsets.end,
                unshipped: of_class.map_or(found.offsets.end - found.offsets.start, unshipped),
            });
            damage.extend(found.damage.iter().map(|damage| format!("{name}: {damage}")));
        }
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
            records: classes.iter().map(|class| class.records).sum(),
            bytes: classes.iter().map(|class| class.bytes).sum(),
            unshipped: classes.iter().map(|class| class.unshipped).sum(),
            classes,
            damage,
            devices: devices.collect(),
            state_damage,
        })
    }
}

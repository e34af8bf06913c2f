//! What is known of one line: which device is on it, and what it was promised.

use weir_protocol::{DeviceId, Restart};

use crate::queue::ClassId;

/// One opening of one line; never used again after it closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// A line that is open.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// Who said Hello on it last.
    pub device: Option<DeviceId>,
    /// The restarts that it listed, without an unbound one, and those it sent of since.
    pub held: Vec<Restart>,
    /// The number given to an unbound restart, until the device uses it.
    pub assigned: Option<Restart>,
    /// It was given no credit for want of room.
    pub starved: bool,
    /// The full class that a reading of it was for.
    pub stopped_by: Option<ClassId>,
}

/// The most restarts of one line that are kept in mind.
const MAX_HELD: usize = 16;

impl Link {
    /// Keeps a restart in mind.
    pub(super) fn hold(&mut self, restart: Restart) {
        if self.assigned == Some(restart) {
            self.assigned = None;
        }
        if !self.held.contains(&restart) {
            if self.held.len() == MAX_HELD {
                self.held.remove(0);
            }
            self.held.push(restart);
        }
    }
}

/// Watches the newest restart of each Hello of a device: A, B, A means that two devices have one name.
#[derive(Debug, Default)]
pub(super) struct CloneWatch {
    seen: std::collections::BTreeMap<DeviceId, [Option<Restart>; 2]>,
}

/// The most devices that are watched.
const MAX_WATCHED: usize = 1024;

impl CloneWatch {
    /// Notes the newest restart of a Hello; true if it was the newest before the last one too.
    pub(super) fn note(&mut self, device: DeviceId, newest: Restart) -> bool {
        if self.seen.len() >= MAX_WATCHED && !self.seen.contains_key(&device) {
            self.seen.pop_first();
        }
        let seen = self.seen.entry(device).or_default();
        if seen[1] == Some(newest) {
            return false;
        }
        let alternates = seen[0] == Some(newest);
        *seen = [seen[1], Some(newest)];
        alternates
    }
}

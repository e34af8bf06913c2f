//! What is known of one line: which device is on it, and what it was promised.

use weir_protocol::{DeviceId, Restart, Sequence};

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
    /// It was given no credit for want of room.
    pub starved: bool,
    /// The full class that a reading of it was for.
    pub stopped_by: Option<ClassId>,
    /// What it was asked to send again last, until something comes that can be taken.
    asked: Option<Asked>,
}

/// A request to send again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    restart: Restart,
    from: Sequence,
    /// The first sequence of the frame that came last since.
    reached: Sequence,
}

/// The most restarts of one line that are kept in mind.
const MAX_HELD: usize = 16;

impl Link {
    /// Whether to ask for everything from `from` on, because a frame begins at `first`. What was on the way when the
    /// device was asked goes on where the frame before it ended, and is passed over: to ask for each frame of it would
    /// have the device send everything as many times. A device that went back, or says how far it has sent (`is_report`),
    /// is asked again.
    pub(super) fn asks(&mut self, restart: Restart, from: Sequence, first: Sequence, is_report: bool) -> bool {
        let asked = Asked { restart, from, reached: first };
        let before = self.asked.replace(asked);
        let was_asked =
            before.is_some_and(|before| (before.restart, before.from) == (restart, from) && first > before.reached);
        is_report || !was_asked
    }

    /// A frame came that can be taken.
    pub(super) fn follows(&mut self) {
        self.asked = None;
    }

    /// Keeps a restart in mind.
    pub(super) fn hold(&mut self, restart: Restart) {
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

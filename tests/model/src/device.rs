//! The device: a ring `[base, next)` of one restart, and its line to the agent.
//!
//! Every sample takes a sequence. A full ring evicts its oldest reading; only an acknowledgement moves `base`
//! otherwise. The line holds one frame and one acknowledgement, each of which the next one overwrites: a line
//! that loses, and that delivers late.

use crate::sequences::Set;

/// A device.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Device {
    pub(crate) base: u8,
    pub(crate) next: u8,
    /// What the ring evicted and the agent had not acknowledged; for the properties.
    pub(crate) evicted: Set,
}

/// What a frame says: all of the ring.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Frame {
    pub(crate) base: u8,
    pub(crate) next: u8,
}

/// The serial line.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Line {
    pub(crate) up: Option<Frame>,
    pub(crate) down: Option<u8>,
}

impl Device {
    pub(crate) fn sample(&mut self, ring: u8) {
        self.next += 1;
        if self.next - self.base > ring {
            self.evicted |= Set::of(self.base);
            self.base += 1;
        }
    }

    pub(crate) fn frame(&self) -> Frame {
        Frame { base: self.base, next: self.next }
    }

    pub(crate) fn acknowledged(&mut self, accepted: u8) {
        if self.base < accepted && accepted <= self.next {
            self.base = accepted;
        }
    }

    pub(crate) fn holds(&self) -> Set {
        Set::range(self.base..self.next)
    }
}

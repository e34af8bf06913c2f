//! The ring: unacknowledged readings `[base, next)` of each restart that is held.
//!
//! Guarantees, whatever the ring is made of:
//! - A sample is in it whole or not at all; once [`Ring::push`] said yes, its sequences are taken for good.
//! - Readings leave at the front only: acknowledged, evicted by newer ones, or damaged. Restarts are given to
//!   the agent oldest first, and only the oldest is acknowledged; the others wait, which keeps every loss a
//!   prefix.
//! - An ended restart stays until the agent has accepted all of it, up to its exact `next`, even when none of
//!   its readings are left: only then is its loss accounted for.
//! - Everything is bounded: readings by the memory given, restarts by [`MAX_RESTARTS`]. With that many held no
//!   samples are taken until the agent has accepted one: backpressure, because forgetting a restart would be a
//!   loss that nobody could name. It takes as many losses of power without an agent, each with samples. Going on
//!   under the last restart instead would reuse sequences whenever the newest sample is damaged.

mod any;
mod flash;
mod ram;

pub use any::AnyRing;
pub use flash::{BOOT_PAGES, FlashError, FlashRing};
pub use ram::RamRing;

use heapless::Vec;
use weir_protocol::serial::Held;
use weir_protocol::serial::device_to_agent::Ring as Kind;
use weir_protocol::{Clock, Restart, Sequence, Timestamp};

use crate::sensor::Values;

/// The most restarts that are held at once, with the running one.
pub const MAX_RESTARTS: usize = 16;

/// The most bytes of encoded readings in one frame.
pub const RUN_BYTES: usize = 416;

/// The restarts that a ring holds, oldest first; the last one is the running one.
pub type HeldRestarts = Vec<Held, MAX_RESTARTS>;

/// One sample, before it has sequences.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// When it was taken.
    pub time: Timestamp,
    /// By which clock.
    pub clock: Clock,
    /// What was measured.
    pub values: Values,
}

/// Consecutive readings of the oldest restart, encoded as a frame carries them.
#[derive(Debug, Default)]
pub struct Run {
    /// The sequence of the first one.
    pub first: Sequence,
    /// How many there are.
    pub count: u64,
    /// Their postcard encodings, back to back.
    pub bytes: Vec<u8, RUN_BYTES>,
}

impl Run {
    /// The first sequence after it.
    pub fn end(&self) -> Sequence {
        Sequence(self.first.0 + self.count)
    }

    /// Appends an encoded reading, if there is room.
    fn push(&mut self, encoded: &[u8]) -> bool {
        let fits = self.bytes.extend_from_slice(encoded).is_ok();
        self.count += u64::from(fits);
        fits
    }
}

/// A sample was not kept: the memory failed, or is too small for it. It took no sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushError;

/// What an acknowledgement did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// Nothing: another restart than the oldest, or a sequence that is not held.
    Ignored,
    /// Readings left the ring.
    Moved,
    /// The oldest restart had ended and all of it is accepted: it is no longer held.
    Released,
}

/// A ring of unacknowledged readings.
pub trait Ring {
    /// What survives a loss of power.
    fn kind(&self) -> Kind;

    /// The restarts that are held, oldest first; never empty, the last one is the running one.
    fn held(&self) -> &[Held];

    /// The restart that is sent now.
    fn oldest(&self) -> Held;

    /// The restart that samples go to.
    fn running(&self) -> Held {
        self.held().last().copied().unwrap_or(self.oldest())
    }

    /// Whether no sample is taken, because [`MAX_RESTARTS`] are held.
    fn is_blocked(&self) -> bool {
        self.held().len() >= MAX_RESTARTS
    }

    /// Keeps `sample` under the next sequences of the running restart, one for each value. Returns how many
    /// readings it evicted.
    fn push(&mut self, sample: &Sample) -> Result<u64, PushError>;

    /// Copies readings of the oldest restart from `from` on into `run`, as many as it holds and as are below
    /// `upto`. Readings that turn out to be damaged move `base` when they are the oldest, and end the run
    /// otherwise.
    fn read(&mut self, from: Sequence, upto: Sequence, run: &mut Run);

    /// Everything of `restart` below `accepted` is durable at the agent.
    fn acknowledge(&mut self, restart: Restart, accepted: Sequence) -> Acknowledged;

    /// Gives the running restart its number, if it waits for one.
    fn assign(&mut self, restart: Restart) -> bool;
}

//! A feed: a device of this agent's own, behind a line in memory.
//!
//! Sources put samples into it from any task or thread, and never wait; towards the intake it is a device like any
//! other: it has a restart, which is new with every start of the agent, sequences, a bounded ring of what was not
//! acknowledged, and it is given credit or none. A full ring evicts its oldest readings, which the intake claims
//! as lost, sequence by sequence. A restart whose agent was killed ends with an unknown tail; a clean stop ends it
//! exactly.
//!
//! A source that can hold its peer back asks for [`Feed::room`] first; one that acknowledges to its peer waits for
//! [`Feed::kept`], which says that the disk has it. There is one feed a device: sources that name the same device
//! put into the same one. What a source keeps on disk by itself goes another way ([`Recorded`]).

mod channels;
mod device;
mod recorded;
mod registry;
mod ring;
mod task;

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use weir_protocol::{DeviceId, Value, ValueKind};

use super::clock::{Clocks, SampleTime};
use crate::counters::{Counters, Event};
use crate::health::Report;
use device::Device;

pub use recorded::Recorded;
pub use registry::{Feeds, Held, MAX_FEEDS, RING, TooManyDevices};

/// One value of one channel at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample<'a> {
    /// The channel, by a name that is unique in the device, such as `tank.level`.
    pub name: &'a str,
    /// Its unit as a UCUM code (ucum.org), `1` if it has none. The first sample of a channel decides.
    pub unit: &'a str,
    /// The smallest step that can be told apart, in `unit`; 0 if unknown.
    pub resolution: f32,
    /// What was measured. The kind of the first sample is that of the channel; whole numbers and singles become
    /// doubles where the channel has doubles, and doubles whole numbers, as far as that is the same number.
    pub value: Value<'a>,
    /// When.
    pub at: SampleTime,
}

/// Why a sample was not taken. It got no sequence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// The device has as many channels as it may.
    #[error("channel {channel}: the device has 256 channels already; spread them over several devices")]
    TooManyChannels {
        /// As the source calls it.
        channel: String,
    },
    /// The unit is not that of the channel.
    #[error("channel {channel}: got unit {got:?}, expected {expected:?} as before; give it another name")]
    Unit {
        /// Its name.
        channel: String,
        /// In the sample.
        got: String,
        /// In the description.
        expected: String,
    },
    /// The unit is none.
    #[error(
        "channel {channel}: got unit {got:?}, expected a UCUM code of 1 to 32 characters such as \"Cel\", or \"1\""
    )]
    BadUnit {
        /// As the source calls it.
        channel: String,
        /// In the sample.
        got: String,
    },
    /// The kind is not that of the channel.
    #[error("channel {channel}: got a value of kind {got:?}, expected {expected:?} as before; give it another name")]
    Kind {
        /// Its name.
        channel: String,
        /// In the sample.
        got: ValueKind,
        /// In the description.
        expected: ValueKind,
    },
    /// The name is empty, or differs from that of another channel only in characters that descriptions do not carry.
    #[error("channel {channel:?}: such a name is taken or empty; use A-Z a-z 0-9 . _ -")]
    Name {
        /// As the source calls it.
        channel: String,
    },
    /// The text is longer than a reading may be.
    #[error("channel {channel}: got a text of {got} bytes, expected at most 128")]
    TextTooLong {
        /// As the source calls it.
        channel: String,
        /// Its length in bytes.
        got: usize,
    },
    /// The reading does not fit into a frame.
    #[error("channel {channel}: the reading is too long")]
    TooLong {
        /// As the source calls it.
        channel: String,
    },
    /// The agent stops.
    #[error("the agent stops")]
    Stopping,
}

/// What became of a list of samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// The sequences of those that were taken, in their order.
    pub sequences: Range<u64>,
    /// Those that were not, by their place in the list.
    pub refused: Vec<(usize, PutError)>,
}

/// A source's way into the feed of a device.
#[derive(Clone)]
pub struct Feed {
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    report: Arc<Report>,
    clocks: Clocks,
}

/// What the ends of a feed share.
struct Shared {
    device: Mutex<Device>,
    /// Something was put.
    filled: Notify,
    progress: watch::Sender<Progress>,
}

/// How far a feed is.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// What is below is acknowledged or evicted.
    base: u64,
    /// What is at or above this was not evicted.
    evicted_upto: u64,
    /// Nothing will be acknowledged any more.
    ended: bool,
}

impl Feed {
    pub(super) fn open(
        feeds: &Feeds,
        device: DeviceId,
        ring: usize,
        counters: Arc<Counters>,
        report: Arc<Report>,
        clocks: Clocks,
    ) -> Result<Self, TooManyDevices> {
        Ok(Self { shared: feeds.open(device, ring)?, counters, report, clocks })
    }

    /// Keeps one sample.
    pub fn put(&self, sample: &Sample<'_>) -> Result<(), PutError> {
        match self.put_all(std::slice::from_ref(sample)).refused.pop() {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }

    /// Keeps samples that belong together: their channels are learnt at once, and nobody's come between them.
    pub fn put_all(&self, samples: &[Sample<'_>]) -> Taken {
        let mut device = self.shared.device();
        let start = device.ring.next();
        let mut taken = Taken { sequences: start..start, refused: Vec::new() };
        let mut evicted = 0;
        let has_ended = self.shared.progress.borrow().ended;
        for (at, sample) in samples.iter().enumerate() {
            if has_ended {
                taken.refused.push((at, PutError::Stopping));
                continue;
            }
            match device.push(sample) {
                Ok(made_room) => evicted += u64::from(made_room),
                Err(error) => taken.refused.push((at, error)),
            }
        }
        taken.sequences.end = device.ring.next();
        if evicted > 0 {
            self.shared.note(&device, false);
        }
        drop(device);
        self.count(&taken, evicted);
        self.shared.filled.notify_one();
        taken
    }

    fn count(&self, taken: &Taken, evicted: u64) {
        self.report.gave(taken.sequences.end - taken.sequences.start, self.clocks.wall.now());
        if evicted > 0 {
            self.counters.add(Event::ReadingsEvicted, evicted);
        }
        for (_, error) in &taken.refused {
            self.counters.warn(Event::SamplesRefused, || format!("{}: {error}", self.report.id()));
            self.report.error(error.to_string());
        }
    }

    /// Names a channel that has no value yet, so that one description is enough for those that come together.
    pub fn declare(&self, name: &str, unit: &str, kind: ValueKind, resolution: f32) -> Result<(), PutError> {
        self.shared.device().channels.learn(name, unit, kind, resolution).map(drop)
    }

    /// How many readings can be put before the oldest has to go.
    pub fn room(&self) -> usize {
        self.shared.device().ring.room()
    }

    /// Waits until so many readings can be put without the oldest having to go, or as many as it holds at most.
    pub async fn has_room(&self, readings: usize) {
        let mut progress = self.shared.progress.subscribe();
        loop {
            progress.borrow_and_update();
            if self.shared.device().ring.has_room(readings) {
                return;
            }
            // Whoever has the feed has its end of this, too.
            if progress.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits until these readings are on disk: true once they are, false if some of them may be lost because the
    /// ring was full or the agent stopped. It may say false of readings that are on disk, never the reverse.
    pub async fn kept(&self, sequences: Range<u64>) -> bool {
        if sequences.is_empty() {
            return true;
        }
        let mut progress = self.shared.progress.subscribe();
        let done = |progress: &Progress| progress.base >= sequences.end || progress.ended;
        match progress.wait_for(done).await {
            Ok(progress) => progress.base >= sequences.end && progress.evicted_upto <= sequences.start,
            Err(_) => false,
        }
    }

    /// The device that it feeds.
    pub fn device(&self) -> DeviceId {
        self.shared.device().key().0
    }
}

impl Shared {
    /// Whole after every step, so a panic elsewhere spoils nothing.
    fn device(&self) -> MutexGuard<'_, Device> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, device: &Device, ended: bool) {
        let (base, evicted_upto) = (device.ring.base(), device.evicted_upto());
        self.progress.send_modify(|progress| {
            *progress = Progress { base, evicted_upto, ended: progress.ended || ended };
        });
    }
}

//! Outcomes are counted, not logged: a number per event, which a shell can print, send or ignore.

/// Something worth counting. Each has one counter in [`Counters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Event {
    /// A sample was taken and is in the ring.
    Sampled,
    /// A sample was due and the one before it was not done yet; it was left out before it took a sequence.
    SampleSkipped,
    /// The sensor did not answer.
    SensorMissing,
    /// The sensor answered with a wrong checksum.
    SensorDamaged,
    /// The ring could not keep a sample: the flash failed. The sample took no sequence.
    RingFailed,
    /// No sample was taken, because too many ended restarts wait for the agent.
    TooManyRestarts,
    /// Readings were evicted from a full ring; counts readings.
    Evicted,
    /// Readings that should be in the ring cannot be read: flash damage; counts holes.
    Hole,
    /// A frame was sent.
    FrameSent,
    /// A frame was received.
    FrameReceived,
    /// Bytes were received that are no frame, or a frame that makes no sense.
    FrameBad,
    /// An acknowledgement for a restart or sequence that is not held.
    AckIgnored,
    /// The agent asked for readings again.
    Resend,
    /// Nothing was acknowledged for too long: said Hello and how far it has sent.
    Silence,
    /// The clock was set.
    TimeSet,
    /// An answer about the time came late or twice and was not used.
    TimeIgnored,
    /// A command or a configuration was received.
    Command,
    /// A command came faster than the results could be sent, and was dropped.
    CommandDropped,
}

/// One counter per [`Event`], from 0 at power-on, held at its maximum.
#[derive(Clone, Debug)]
pub struct Counters([u32; Event::CommandDropped as usize + 1]);

impl Default for Counters {
    fn default() -> Self {
        Self([0; Event::CommandDropped as usize + 1])
    }
}

impl Counters {
    /// Counts `event` once.
    pub fn count(&mut self, event: Event) {
        self.add(event, 1);
    }

    /// Counts `event` `times`.
    pub fn add(&mut self, event: Event, times: u64) {
        if let Some(counter) = self.0.get_mut(event as usize) {
            *counter = counter.saturating_add(u32::try_from(times).unwrap_or(u32::MAX));
        }
    }

    /// How often `event` happened.
    pub fn get(&self, event: Event) -> u32 {
        self.0.get(event as usize).copied().unwrap_or(0)
    }
}

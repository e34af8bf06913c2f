//! The device end of the line in memory: a ring `[base, next)`, a cursor, a credit, and what is owed to the agent.

use weir_protocol::items::{self, ItemsWriter};
use weir_protocol::serial::device_to_agent::{Describe, Hello, Readings, Ring as Kind};
use weir_protocol::serial::{Down, Held, Up};
use weir_protocol::{ChannelId, DeviceId, Items, Reading, Restart, SchemaHash, Sequence};

use super::channels::{Channels, Meaning};
use super::ring::{MAX_READING, Ring};
use super::{PutError, Sample};

/// Encoded readings of one frame, in bytes: the intake takes more, but a run is cheap to extend.
const FRAME: usize = 2048;

/// A device whose restart is that of this start of the agent, or one that somebody keeps.
pub(super) struct Device {
    name: DeviceId,
    restart: Restart,
    /// What survives the end of this agent.
    kind: Kind,
    pub(super) channels: Channels,
    pub(super) ring: Ring,
    /// Sequences below this were evicted unacknowledged, or acknowledged before those were.
    evicted_upto: u64,
    /// The next sequence to send; at least the ring's base.
    cursor: u64,
    /// Readings below this may be sent; none before the agent says so.
    credit: Option<u64>,
    owes_hello: bool,
    /// Where the ring stands is to be said, even if no reading may be sent.
    owes_report: bool,
    /// The schema that was described last.
    described: Option<SchemaHash>,
}

impl Device {
    pub(super) fn new(name: DeviceId, restart: Restart, capacity: usize) -> Self {
        Self::at(name, restart, Sequence(0), capacity, Kind::Volatile, Channels::new(ChannelId(0)))
    }

    /// A device whose readings are kept elsewhere too, `capacity` of them from the sequence `first` on.
    pub(super) fn kept(name: DeviceId, restart: Restart, first: Sequence, capacity: usize, channels: Channels) -> Self {
        Self::at(name, restart, first, capacity, Kind::Durable, channels)
    }

    fn at(name: DeviceId, restart: Restart, first: Sequence, capacity: usize, kind: Kind, channels: Channels) -> Self {
        Self {
            name,
            restart,
            kind,
            channels,
            ring: Ring::new(capacity, first.0),
            evicted_upto: 0,
            cursor: first.0,
            credit: None,
            owes_hello: false,
            owes_report: false,
            described: None,
        }
    }

    pub(super) fn key(&self) -> (DeviceId, Restart) {
        (self.name, self.restart)
    }

    pub(super) fn evicted_upto(&self) -> u64 {
        self.evicted_upto
    }

    /// Keeps a sample; true if the oldest reading made room for it.
    pub(super) fn push(&mut self, sample: &Sample<'_>) -> Result<bool, PutError> {
        let (channel, value) = self.channels.place(sample)?;
        let reading = Reading { channel, time: sample.at.time, clock: sample.at.clock, value };
        let mut buffer = [0; MAX_READING];
        let mut writer = ItemsWriter::new(&mut buffer);
        if !writer.push(&reading) {
            return Err(PutError::TooLong { channel: sample.name.to_owned() });
        }
        let evicted = self.ring.push(writer.finish::<Reading<'_>>().as_bytes());
        if evicted {
            self.evicted_upto = self.ring.base();
            self.cursor = self.cursor.max(self.ring.base());
        }
        Ok(evicted)
    }

    /// Says where it stands, after a silence. A disk may be slow for longer than that, so nothing is sent again before
    /// the agent asks for it; what was evicted may be beyond the credit, and only who knows of it can give more.
    pub(super) fn break_silence(&mut self) {
        // Not even an answer to the Hello: it went astray.
        self.owes_hello |= self.credit.is_none();
        self.owes_report = true;
    }

    /// The next message that is owed, or that credit and ring allow. A device that has no channel has nothing to
    /// say; a description goes ahead of what was sampled under it.
    pub(super) fn next_message(&mut self) -> Option<Vec<u8>> {
        if self.channels.is_empty() {
            return None;
        }
        if core::mem::take(&mut self.owes_hello) {
            return Some(self.hello());
        }
        let schema = self.channels.schema();
        let credit = self.credit?;
        if self.described.replace(schema) != Some(schema) {
            return Some(message(&Up::Describe(Describe { schema, channels: self.channels.encoded() })));
        }
        let upto = self.ring.next().min(credit);
        let owes_report = core::mem::take(&mut self.owes_report);
        if self.cursor >= upto && !owes_report {
            return None;
        }
        let (bytes, count) = self.ring.read(self.cursor, upto, FRAME);
        let first = Sequence(self.cursor);
        self.cursor += count;
        let (base, next) = (Sequence(self.ring.base()), Sequence(self.ring.next()));
        let readings = Items::new(&bytes);
        Some(message(&Up::Readings(Readings { restart: self.restart, schema, base, next, first, readings })))
    }

    /// Obeys the agent.
    pub(super) fn take(&mut self, down: &Down) {
        match *down {
            Down::Ack { restart, accepted } if restart == self.restart && accepted.0 <= self.ring.next() => {
                self.ring.release(accepted.0);
                self.cursor = self.cursor.max(self.ring.base());
            }
            Down::Credit { restart, upto } if restart == self.restart => self.credit = Some(upto.0),
            Down::Resend { restart, from } if restart == self.restart => {
                self.cursor = from.0.clamp(self.ring.base(), self.ring.next());
            }
            Down::HelloRequest => self.owes_hello = true,
            Down::DescribeRequest { schema } if schema == self.channels.schema() => self.described = None,
            _ => {}
        }
    }

    /// Every reading that is held, with what its channel means.
    pub(super) fn each_held(&self, mut see: impl FnMut(&Meaning, ChannelId, &Reading<'_>)) {
        let (bytes, _) = self.ring.read(self.ring.base(), self.ring.next(), usize::MAX);
        for reading in Items::<Reading<'_>>::new(&bytes).into_iter().flatten() {
            if let Some(meaning) = self.channels.meaning(reading.channel) {
                see(meaning, reading.channel, &reading);
            }
        }
    }

    fn hello(&self) -> Vec<u8> {
        let schema = self.channels.schema();
        let (base, next) = (Sequence(self.ring.base()), Sequence(self.ring.next()));
        let mut encoded = Vec::new();
        items::push(&mut encoded, &Held { restart: self.restart, schema, base, next });
        message(&Up::Hello(Hello { device: self.name, schema, ring: self.kind, held: Items::new(&encoded) }))
    }
}

/// Encodes a message as a frame carries it.
fn message(up: &Up<'_>) -> Vec<u8> {
    let mut encoded = Vec::new();
    items::push(&mut encoded, up);
    encoded
}

//! The device end of the line in memory: a ring `[base, next)`, a cursor, a credit.

use std::collections::VecDeque;

use weir_protocol::serial::device_to_agent::{Describe, Hello, Readings, Ring};
use weir_protocol::serial::{Down, Held, Up};
use weir_protocol::{Channel, Clock, DeviceId, Items, Reading, Restart, SchemaHash, Sequence, Timestamp, items};

use super::sample::{Measurement, Sampler};

/// Encoded readings of one frame, in bytes: the intake takes more, but a run is cheap to extend.
const FRAME: usize = 900;

pub(super) struct Device {
    device: DeviceId,
    restart: Restart,
    ring: VecDeque<(SchemaHash, Vec<u8>)>,
    capacity: usize,
    base: u64,
    /// The next sequence to send; at least `base`.
    cursor: u64,
    credit: u64,
    channels: Vec<u8>,
    schema: SchemaHash,
}

impl Device {
    pub(super) fn new(device: DeviceId, restart: Restart, capacity: usize) -> Self {
        let ring = VecDeque::new();
        let schema = SchemaHash::of(Items::new(&[]));
        Self { device, restart, ring, capacity, base: 0, cursor: 0, credit: 0, channels: Vec::new(), schema }
    }

    /// Keeps a measurement; the oldest makes room.
    pub(super) fn push(&mut self, measurement: &Measurement, time: Timestamp, clock: Clock) {
        if self.ring.len() == self.capacity {
            self.ring.pop_front();
            self.base += 1;
            self.cursor = self.cursor.max(self.base);
        }
        let reading = Reading { channel: measurement.channel, time, clock, value: measurement.value };
        let mut encoded = Vec::new();
        items::push(&mut encoded, &reading);
        self.ring.push_back((self.schema, encoded));
    }

    /// Notes what the readings pushed from now on mean.
    pub(super) fn describe(&mut self, sampler: &Sampler) {
        self.channels = sampler.channels();
        self.schema = SchemaHash::of(Items::new(&self.channels));
    }

    /// Whether everything is acknowledged.
    pub(super) fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Sends again from the oldest, after a silence.
    pub(super) fn rewind(&mut self) {
        self.cursor = self.base;
    }

    pub(super) fn hello(&self) -> Vec<u8> {
        let schema = self.schema;
        let held = Held { restart: self.restart, schema, base: Sequence(self.base), next: Sequence(self.next()) };
        let mut encoded = Vec::new();
        items::push(&mut encoded, &held);
        message(&Up::Hello(Hello { device: self.device, schema, ring: Ring::Volatile, held: Items::new(&encoded) }))
    }

    /// The next frame that credit and ring allow.
    pub(super) fn next_frame(&mut self) -> Option<Vec<u8>> {
        let upto = self.next().min(self.credit);
        if self.cursor >= upto {
            return None;
        }
        let start = (self.cursor - self.base) as usize;
        let schema = self.ring.get(start)?.0;
        let mut bytes = Vec::new();
        let first = Sequence(self.cursor);
        for (hash, encoded) in self.ring.iter().skip(start).take((upto - self.cursor) as usize) {
            if *hash != schema || bytes.len() + encoded.len() > FRAME {
                break;
            }
            bytes.extend_from_slice(encoded);
            self.cursor += 1;
        }
        let (base, next) = (Sequence(self.base), Sequence(self.next()));
        let readings = Items::new(&bytes);
        Some(message(&Up::Readings(Readings { restart: self.restart, schema, base, next, first, readings })))
    }

    /// Obeys the agent; what to answer.
    pub(super) fn take(&mut self, down: &Down) -> Option<Vec<u8>> {
        match *down {
            Down::Ack { restart, accepted } if restart == self.restart => {
                if self.base < accepted.0 && accepted.0 <= self.next() {
                    self.ring.drain(..(accepted.0 - self.base) as usize);
                    self.base = accepted.0;
                    self.cursor = self.cursor.max(self.base);
                }
                None
            }
            Down::Credit { restart, upto } if restart == self.restart => {
                self.credit = upto.0;
                None
            }
            Down::Resend { restart, from } if restart == self.restart => {
                self.cursor = from.0.clamp(self.base, self.next());
                None
            }
            Down::HelloRequest => Some(self.hello()),
            Down::DescribeRequest { schema } if schema == self.schema => {
                let channels = Items::<Channel<'_>>::new(&self.channels);
                Some(message(&Up::Describe(Describe { schema, channels })))
            }
            _ => None,
        }
    }

    fn next(&self) -> u64 {
        self.base + self.ring.len() as u64
    }
}

/// Encodes a message as a frame carries it.
fn message(up: &Up<'_>) -> Vec<u8> {
    let mut encoded = Vec::new();
    items::push(&mut encoded, up);
    encoded
}

//! A device as the tests need it: it says exactly what it is told to. The value of a reading is its sequence.

use weir_protocol::serial::device_to_agent::{Describe, Hello, Readings, Ring};
use weir_protocol::serial::{Held, Up};
use weir_protocol::{
    Channel, ChannelId, Clock, DeviceId, Items, Reading, Restart, SchemaHash, Sequence, Value, ValueKind, items,
};

use super::NOON;

pub(crate) struct Talker {
    pub(crate) device: DeviceId,
    pub(crate) ring: Ring,
    bytes: Vec<u8>,
    channels: Vec<u8>,
}

impl Talker {
    pub(crate) fn new(name: &str, ring: Ring) -> Self {
        let mut channels = Vec::new();
        let channel = Channel { id: ChannelId(0), name: "count", unit: "1", kind: ValueKind::Integer, resolution: 1.0 };
        items::push(&mut channels, &channel);
        Self { device: super::device(name), ring, bytes: Vec::new(), channels }
    }

    pub(crate) fn schema(&self) -> SchemaHash {
        SchemaHash::of(Items::new(&self.channels))
    }

    /// Hello with these restarts and their `[base, next)`.
    pub(crate) fn hello(&mut self, held: &[(Restart, u64, u64)]) -> Up<'_> {
        let schema = self.schema();
        self.bytes.clear();
        for (restart, base, next) in held {
            let (base, next) = (Sequence(*base), Sequence(*next));
            items::push(&mut self.bytes, &Held { restart: *restart, schema, base, next });
        }
        Up::Hello(Hello { device: self.device, schema, ring: self.ring, held: Items::new(&self.bytes) })
    }

    pub(crate) fn describe(&self) -> Up<'_> {
        Up::Describe(Describe { schema: self.schema(), channels: Items::new(&self.channels) })
    }

    /// Readings `first..end` of a ring `[base, next)`.
    pub(crate) fn readings(&mut self, restart: Restart, (base, next): (u64, u64), first: u64, end: u64) -> Up<'_> {
        let schema = self.schema();
        self.bytes.clear();
        for sequence in first..end {
            let value = Value::Integer(sequence as i64);
            let time = NOON.plus_micros((sequence as i64).wrapping_mul(1000));
            items::push(&mut self.bytes, &Reading { channel: ChannelId(0), time, clock: Clock::Synchronised, value });
        }
        let (base, next, first) = (Sequence(base), Sequence(next), Sequence(first));
        Up::Readings(Readings { restart, schema, base, next, first, readings: Items::new(&self.bytes) })
    }
}

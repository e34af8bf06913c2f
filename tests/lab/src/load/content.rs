//! What a connection says: batches of the real protocol, or messages of devices that know nothing of it.

use std::ops::Range;
use std::time::Duration;

use weir_protocol::batch::describe::{self, Description};
use weir_protocol::batch::{EnvelopeBuilder, RunBuilder};
use weir_protocol::items::{self, Items};
use weir_protocol::{Channel, ChannelId, Clock, Reading, SchemaHash, Sequence, Timestamp, Value, ValueKind};

use super::connection::Shared;
use super::plan::{LoadPlan, Shape};
use super::schedule::Schedule;
use super::values;
use super::wire::Wire;
use crate::ledger::RestartKey;

const CHANNEL: ChannelId = ChannelId(1);

/// What all connections of a load say.
pub(super) struct Content {
    plan: LoadPlan,
    /// The one channel, encoded, and its hash.
    channels: Vec<u8>,
    schema: SchemaHash,
}

impl Content {
    pub(super) fn new(plan: &LoadPlan) -> Self {
        let channel =
            Channel { id: CHANNEL, name: values::CHANNEL, unit: "1", kind: ValueKind::Float, resolution: 0.0 };
        let mut channels = Vec::new();
        items::push(&mut channels, &channel);
        let schema = SchemaHash::of(Items::new(&channels));
        Self { plan: plan.clone(), channels, schema }
    }

    /// Whether devices are described before their readings.
    pub(super) fn describes(&self) -> bool {
        self.plan.shape == Shape::Agents
    }

    /// The most readings of one message.
    pub(super) fn most(&self) -> u32 {
        if self.describes() { self.plan.batch } else { 1 }
    }

    /// How long a message that is not full waits for more, in nanoseconds.
    pub(super) fn gather(&self) -> u64 {
        Schedule::time(if self.describes() { self.plan.gather } else { Duration::ZERO })
    }

    fn topic(&self, connection: u32, purpose: &str) -> String {
        format!("weir/1/default/{}/{purpose}", self.plan.client(connection))
    }

    /// Describes a device.
    pub(super) fn describe(&self, key: RestartKey, connection: u32, id: u16, wire: &mut Wire) {
        let description = Description { device: key.0, schema: self.schema, channels: Items::new(&self.channels) };
        wire.publish(&self.topic(connection, "describe"), id, &describe::encode(&description));
    }

    /// Sends the readings at these positions, at most [`Content::most`].
    pub(super) fn publish(
        &self,
        shared: &Shared,
        connection: u32,
        positions: Range<u64>,
        began: Timestamp,
        id: u16,
        wire: &mut Wire,
    ) {
        let of = shared.schedule.devices_of(connection);
        let mut builder = EnvelopeBuilder::new();
        for (device, sequences) in shared.schedule.runs(connection, positions.clone()) {
            let key = shared.fleet.key(device);
            if !self.describes() {
                let topic = format!("{}/{}", self.plan.name, key.0);
                wire.publish(&topic, id, values::message(&key, sequences.start).as_bytes());
                continue;
            }
            // The slot of the device is that of its first reading here.
            let slot = (u64::from(device) - u64::from(connection)) / u64::from(self.plan.connections);
            let mut run = RunBuilder::new(key.0, key.1, self.schema, Sequence(sequences.start));
            for sequence in sequences {
                let due = shared.schedule.due(connection, sequence * of + slot);
                let time = began.plus_micros((due / 1000) as i64);
                let value = Value::Float(values::value(&key, sequence));
                run.push(&Reading { channel: CHANNEL, time, clock: Clock::Synchronised, value });
            }
            builder.push(&run.section());
        }
        if !builder.is_empty() {
            // As the agent does it.
            wire.publish(&self.topic(connection, "batch"), id, &builder.finish(true));
        }
    }
}

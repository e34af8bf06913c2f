//! Valid batches of a given size, each with readings that were never sent before, and their MQTT 3.1.1 packets.

use anyhow::{Context, Result};
use bytes::BytesMut;
use rumqttc::mqttbytes::{QoS, v4};
use weir_protocol::batch::describe::{self, Description};
use weir_protocol::batch::{EnvelopeBuilder, RunBuilder};
use weir_protocol::items::{self, Items};
use weir_protocol::{
    Channel, ChannelId, Clock, DeviceId, Reading, Restart, SchemaHash, Sequence, Timestamp, Value, ValueKind,
};

/// What one publisher sends, ready for the socket.
pub(crate) struct Packets {
    /// CONNECT and, so that readings are valid, a describe with packet id 65,535.
    pub(crate) opening: Vec<u8>,
    /// PUBLISH packets back to back, packet ids 1, 2, ... and again from 1.
    pub(crate) bytes: Vec<u8>,
    /// Where each packet ends.
    pub(crate) ends: Vec<usize>,
    /// Readings in each payload.
    pub(crate) readings: u64,
    /// Bytes of the longest payload.
    pub(crate) payload: usize,
}

/// Packet ids are used up to here, so that none is used twice in a window.
const IDS: usize = 10_000;

/// Packets of publisher `number`, `count` of them, each filled with as many readings as go into `size` bytes.
/// `restart` must be new.
pub(crate) fn packets(number: usize, count: usize, size: usize, restart: u64) -> Result<Packets> {
    let agent = format!("bench-{number}");
    packets_of(&agent, &agent, count, size, restart)
}

/// The same for an agent and a device of any names.
pub(crate) fn packets_of(agent: &str, device: &str, count: usize, size: usize, restart: u64) -> Result<Packets> {
    let device = DeviceId::new(device).context("the name of a device")?;
    let channel = Channel { id: ChannelId(1), name: "load", unit: "1", kind: ValueKind::Float, resolution: 0.0 };
    let mut encoded = Vec::new();
    items::push(&mut encoded, &channel);
    let channels = Items::new(&encoded);
    let schema = SchemaHash::of(channels);
    let mut opening = BytesMut::new();
    v4::Connect::new(agent).write(&mut opening).context("CONNECT")?;
    let description = describe::encode(&Description { device, schema, channels });
    publish(&format!("weir/1/default/{agent}/describe"), u16::MAX, description, &mut opening)?;

    let topic = format!("weir/1/default/{agent}/batch");
    let now = now();
    let mut builder = EnvelopeBuilder::new();
    let mut batch = |first: u64, readings: u64| {
        let mut run = RunBuilder::new(device, Restart::from_agent(restart), schema, Sequence(first));
        for sequence in first..first + readings {
            let time = now.plus_micros(sequence as i64 * 100);
            let value = Value::Float(sequence as f32);
            run.push(&Reading { channel: ChannelId(1), time, clock: Clock::Synchronised, value });
        }
        builder.push(&run.section());
        builder.finish(false)
    };
    // Measured with the longest numbers that will occur.
    let far = count as u64 * size as u64 / 10;
    let readings = most(size as u64, |readings| batch(far, readings).len() <= size);
    let (mut bytes, mut ends, mut payload) = (BytesMut::new(), Vec::with_capacity(count), 0);
    for index in 0..count {
        let envelope = batch(index as u64 * readings, readings);
        payload = payload.max(envelope.len());
        publish(&topic, (index % IDS + 1) as u16, envelope, &mut bytes)?;
        ends.push(bytes.len());
    }
    Ok(Packets { opening: opening.to_vec(), bytes: bytes.to_vec(), ends, readings, payload })
}

/// The largest number up to `limit` that fits, at least 1.
fn most(limit: u64, mut fits: impl FnMut(u64) -> bool) -> u64 {
    let (mut low, mut high) = (1, limit.max(1));
    while low < high {
        let middle = (low + high).div_ceil(2);
        if fits(middle) { low = middle } else { high = middle - 1 }
    }
    low
}

fn publish(topic: &str, id: u16, payload: Vec<u8>, out: &mut BytesMut) -> Result<()> {
    let mut publish = v4::Publish::new(topic, QoS::AtLeastOnce, payload);
    publish.pkid = id;
    publish.write(out).context("PUBLISH")?;
    Ok(())
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(0))
}

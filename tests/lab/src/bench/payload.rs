//! Valid batches of a given size, each with readings that were never sent before, and their MQTT 3.1.1 packets.

use std::ops::Range;

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
    /// CONNECT and, so that readings are valid, a describe of each device, with packet ids from 65,535 down.
    pub(crate) opening: Vec<u8>,
    /// Describes in it.
    pub(crate) describes: usize,
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
    packets_in_turn(agent, &[device], 0..count as u64, size, restart)
}

/// Batches of one agent for `devices` that take turns, one device in a batch: those of these numbers, when the ones below
/// were sent before in the same restart.
pub(crate) fn packets_in_turn<D: AsRef<str>>(
    agent: &str,
    devices: &[D],
    batches: Range<u64>,
    size: usize,
    restart: u64,
) -> Result<Packets> {
    let devices = devices.iter().map(|device| DeviceId::new(device.as_ref()).context("the name of a device"));
    let devices = devices.collect::<Result<Vec<_>>>()?;
    let channel = Channel { id: ChannelId(1), name: "load", unit: "1", kind: ValueKind::Float, resolution: 0.0 };
    let mut encoded = Vec::new();
    items::push(&mut encoded, &channel);
    let channels = Items::new(&encoded);
    let schema = SchemaHash::of(channels);
    let mut opening = BytesMut::new();
    v4::Connect::new(agent).write(&mut opening).context("CONNECT")?;
    for (number, &device) in devices.iter().enumerate() {
        let description = describe::encode(&Description { device, schema, channels });
        let id = u16::MAX - u16::try_from(number).context("too many devices of one agent")?;
        publish(&format!("weir/1/default/{agent}/describe"), id, description, &mut opening)?;
    }

    let topic = format!("weir/1/default/{agent}/batch");
    let now = now();
    let mut builder = EnvelopeBuilder::new();
    let mut batch = |device: DeviceId, first: u64, readings: u64| {
        let mut run = RunBuilder::new(device, Restart::from_agent(restart), schema, Sequence(first));
        for sequence in first..first + readings {
            let time = now.plus_micros(sequence as i64 * 100);
            let value = Value::Float(sequence as f32);
            run.push(&Reading { channel: ChannelId(1), time, clock: Clock::Synchronised, value });
        }
        builder.push(&run.section());
        builder.finish(false)
    };
    // Measured with the longest name and the longest numbers that will occur.
    let longest = devices.iter().copied().max_by_key(|device| device.as_str().len()).context("no device")?;
    let far = batches.end * size as u64 / 10;
    let readings = most(size as u64, |readings| batch(longest, far, readings).len() <= size);
    let count = (batches.end - batches.start) as usize;
    let (mut bytes, mut ends, mut payload) = (BytesMut::new(), Vec::with_capacity(count), 0);
    for (index, number) in batches.enumerate() {
        let of_all = devices.len() as u64;
        let device = devices[(number % of_all) as usize];
        let envelope = batch(device, number / of_all * readings, readings);
        payload = payload.max(envelope.len());
        publish(&topic, (index % IDS + 1) as u16, envelope, &mut bytes)?;
        ends.push(bytes.len());
    }
    let describes = devices.len();
    Ok(Packets { opening: opening.to_vec(), describes, bytes: bytes.to_vec(), ends, readings, payload })
}

/// Where messages that are no batches go; `[[mqtt.store]]` has to lead it to a topic of the log.
pub(crate) const MESSAGES: &str = "plant/#";

/// Packets of publisher `number`, `count` of them, each a message of `size` bytes of a client that knows nothing of us.
pub(crate) fn messages(number: usize, count: usize, size: usize) -> Result<Packets> {
    let (client, topic) = (format!("bench-{number}"), format!("plant/bench-{number}"));
    let message = |index: usize| {
        let mut text = format!("{{\"device\":\"{client}\",\"sequence\":{index},\"text\":\"");
        let rest = size.saturating_sub(text.len() + "\"}".len());
        text.extend(std::iter::repeat_n('.', rest));
        text + "\"}"
    };
    let mut opening = BytesMut::new();
    v4::Connect::new(&*client).write(&mut opening).context("CONNECT")?;
    // In the place of what describes a device.
    publish(&topic, u16::MAX, message(count).into_bytes(), &mut opening)?;
    let (mut bytes, mut ends) = (BytesMut::new(), Vec::with_capacity(count));
    for index in 0..count {
        publish(&topic, (index % IDS + 1) as u16, message(index).into_bytes(), &mut bytes)?;
        ends.push(bytes.len());
    }
    Ok(Packets { opening: opening.to_vec(), describes: 1, bytes: bytes.to_vec(), ends, readings: 1, payload: size })
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

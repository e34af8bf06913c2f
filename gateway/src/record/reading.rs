//! The record of a reading, `gateway/schemas/reading.avsc`.
//!
//! Written a few million times a second, so what repeats is encoded once: [`Head`] per restart and sender,
//! [`ChannelFields`] per channel of a description.

use serde::{Serialize, Serializer};
use weir_protocol::{AgentId, Clock, DeviceId, Restart, Sequence, Tenant, Timestamp, Value};

use super::avro::{Input, put_bytes, put_long};
use super::{Malformed, Schema};

/// The fields up to `restart`, encoded.
#[derive(Clone, Debug, Default)]
pub struct Head(Vec<u8>);

impl Head {
    /// Encodes them.
    pub fn new(tenant: Tenant, agent: AgentId, device: DeviceId, restart: Restart) -> Self {
        let mut out = Vec::new();
        Schema::Reading.start(&mut out);
        for name in [tenant.as_str(), agent.as_str(), device.as_str()] {
            put_bytes(&mut out, name.as_bytes());
        }
        put_bytes(&mut out, restart.0.to_string().as_bytes());
        Self(out)
    }
}

/// The fields `channel` and `unit`, encoded.
#[derive(Clone, Debug)]
pub struct ChannelFields(Box<[u8]>);

impl ChannelFields {
    /// Encodes them.
    pub fn new(name: &str, unit: &str) -> Self {
        let mut out = Vec::with_capacity(2 + name.len() + unit.len());
        put_bytes(&mut out, name.as_bytes());
        put_bytes(&mut out, unit.as_bytes());
        Self(out.into_boxed_slice())
    }

    /// Channel and unit.
    pub fn names(&self) -> (&str, &str) {
        let mut input = Input::new(&self.0);
        // Both were encoded above.
        let mut next = |field| input.string(field).unwrap_or_default();
        (next("channel"), next("unit"))
    }
}

/// Replaces `out` by the value of one record. `sequence` is below 2^63.
pub fn encode(
    out: &mut Vec<u8>,
    head: &Head,
    sequence: Sequence,
    channel: &ChannelFields,
    (time, clock): (Timestamp, Clock),
    value: Value<'_>,
    heals: bool,
) {
    out.clear();
    out.extend_from_slice(&head.0);
    put_long(out, sequence.0 as i64);
    out.extend_from_slice(&channel.0);
    put_long(out, time.0);
    put_long(out, clock as i64);
    match value {
        Value::Float(value) => {
            out.push(0);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Value::Double(value) => {
            out.push(1 << 1);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Value::Integer(value) => {
            out.push(2 << 1);
            put_long(out, value);
        }
        Value::Boolean(value) => out.extend_from_slice(&[3 << 1, u8::from(value)]),
        Value::Text(value) => {
            out.push(4 << 1);
            put_bytes(out, value.as_bytes());
        }
    }
    out.push(u8::from(heals));
}

/// A reading as the log has it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ReadingRecord<'a> {
    /// Scopes the identity.
    pub tenant: Tenant,
    /// The agent that shipped it.
    pub agent: AgentId,
    /// The device that sampled it.
    pub device: DeviceId,
    /// The device's restart.
    #[serde(serialize_with = "super::as_text")]
    pub restart: Restart,
    /// Its place within the restart.
    pub sequence: Sequence,
    /// The name of the channel.
    pub channel: &'a str,
    /// A UCUM code.
    pub unit: &'a str,
    /// When it was sampled, in microseconds since 1970, or since power-on if `clock` is uptime.
    pub time: Timestamp,
    /// Which clock that was.
    #[serde(serialize_with = "clock_name")]
    pub clock: Clock,
    /// What was measured.
    #[serde(serialize_with = "bare_value")]
    pub value: Value<'a>,
    /// Whether this sequence was dead-lettered or counted lost before.
    pub heals: bool,
}

pub(super) fn decode<'a>(input: &mut Input<'a>) -> Result<ReadingRecord<'a>, Malformed> {
    Ok(ReadingRecord {
        tenant: input.parsed("tenant")?,
        agent: input.parsed("agent")?,
        device: input.parsed("device")?,
        restart: Restart(input.parsed("restart")?),
        sequence: Sequence(input.unsigned("sequence")?),
        channel: input.string("channel")?,
        unit: input.string("unit")?,
        time: Timestamp(input.long("time")?),
        clock: match input.long("clock")? {
            0 => Clock::Uptime,
            1 => Clock::Synchronised,
            _ => return Err(Malformed::Field { field: "clock" }),
        },
        value: match input.long("value")? {
            0 => Value::Float(input.float("value")?),
            1 => Value::Double(input.double("value")?),
            2 => Value::Integer(input.long("value")?),
            3 => Value::Boolean(input.boolean("value")?),
            4 => Value::Text(input.string("value")?),
            _ => return Err(Malformed::Field { field: "value" }),
        },
        heals: input.boolean("heals")?,
    })
}

fn clock_name<S: Serializer>(clock: &Clock, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match clock {
        Clock::Uptime => "uptime",
        Clock::Synchronised => "synchronised",
    })
}

fn bare_value<S: Serializer>(value: &Value<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    match *value {
        Value::Float(value) => serializer.serialize_f64(shortest(value)),
        Value::Double(value) => serializer.serialize_f64(value),
        Value::Integer(value) => serializer.serialize_i64(value),
        Value::Boolean(value) => serializer.serialize_bool(value),
        Value::Text(value) => serializer.serialize_str(value),
    }
}

/// The double that prints as the shortest decimal which reads back as `value`. A float that is merely widened
/// prints digits that nobody measured: 21.7 would be 21.700000762939453.
fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

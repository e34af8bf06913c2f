//! The record of a reading, `gateway/schemas/reading.avsc`; of one that stands for others, `reading-2.avsc`, which has
//! one field more.
//!
//! Written a few million times a second, so what repeats is encoded once: [`Head`] per restart and sender,
//! [`ChannelFields`] per channel of a description.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use weir_protocol::{AgentId, Clock, DeviceId, Restart, Sequence, Tenant, Timestamp, Value};

use super::avro::{Input, put_bytes, put_long};
use super::{Malformed, is_schema_of_readings};

/// The fields `tenant` to `restart`, encoded.
#[derive(Clone, Debug, Default)]
pub struct Head(Vec<u8>);

impl Head {
    /// Encodes them.
    pub fn new(tenant: Tenant, agent: AgentId, device: DeviceId, restart: Restart) -> Self {
        let mut out = Vec::new();
        for name in [tenant.as_str(), agent.as_str(), device.as_str()] {
            put_bytes(&mut out, name.as_bytes());
        }
        put_bytes(&mut out, restart.0.to_string().as_bytes());
        Self(out)
    }

    /// As it stands in every value, and in [`Origin::head`].
    #[cfg(test)]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
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

/// Where a reading belongs, found without decoding what it says: a reader of millions of them looks at most of them no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// The fields `tenant` to `restart`, encoded: equal for readings of one restart that one agent shipped.
    pub head: &'a [u8],
    /// The name of the channel. That it is text shows when the record is decoded.
    pub channel: &'a [u8],
}

impl<'a> Origin<'a> {
    /// Of the value of a record; `None` if it is no reading in the Confluent wire format.
    pub fn of(value: &'a [u8]) -> Option<Self> {
        let (&[0, a, b, c, d], body) = value.split_first_chunk::<5>()? else { return None };
        if !is_schema_of_readings(u32::from_be_bytes([a, b, c, d])) {
            return None;
        }
        let mut input = Input::new(body);
        for field in ["tenant", "agent", "device", "restart"] {
            input.bytes(field).ok()?;
        }
        let head = &body[..body.len() - input.len()];
        input.long("sequence").ok()?;
        Some(Self { head, channel: input.bytes("channel").ok()? })
    }

    /// Whose reading it is.
    ///
    /// # Errors
    /// [`Malformed`] when a name is none.
    pub fn device(&self) -> Result<(Tenant, DeviceId), Malformed> {
        let mut input = Input::new(self.head);
        let tenant = input.parsed("tenant")?;
        input.bytes("agent")?;
        Ok((tenant, input.parsed("device")?))
    }
}

/// The sequences that a reading stands for lie in this range, and its record says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summarised {
    /// The restart that the device sampled them under.
    #[serde(serialize_with = "super::as_text", deserialize_with = "from_text")]
    pub restart: Restart,
    /// The first of them.
    pub start: Sequence,
    /// The first sequence after the last of them.
    pub end: Sequence,
}

impl Summarised {
    /// Appends it to the value of a record that was encoded under [`super::summary_schema`].
    pub fn append(self, out: &mut Vec<u8>) {
        put_long(out, 1);
        put_bytes(out, self.restart.0.to_string().as_bytes());
        put_long(out, self.start.0 as i64);
        put_long(out, self.end.0 as i64);
    }
}

/// Replaces `out` by the value of one record. `sequence` is below 2^63.
#[expect(clippy::too_many_arguments, reason = "the fields of one record")]
pub fn encode(
    out: &mut Vec<u8>,
    head: &Head,
    schema_id: u32,
    sequence: Sequence,
    channel: &ChannelFields,
    (time, clock): (Timestamp, Clock),
    value: Value<'_>,
    heals: bool,
) {
    out.clear();
    out.push(0);
    out.extend_from_slice(&schema_id.to_be_bytes());
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

/// Replaces `out` by the same record as JSON: the object that HTTP serves.
pub fn encode_json(
    out: &mut Vec<u8>,
    (tenant, agent, device, restart, sequence): (Tenant, AgentId, DeviceId, Restart, Sequence),
    channel: &ChannelFields,
    (time, clock): (Timestamp, Clock),
    value: Value<'_>,
    heals: bool,
    summarises: Option<Summarised>,
) {
    out.clear();
    let (channel, unit) = channel.names();
    let (channel, unit, value) = (channel.into(), unit.into(), value.into());
    let record = ReadingRecord {
        tenant,
        agent,
        device,
        restart,
        sequence,
        channel,
        unit,
        time,
        clock,
        value,
        heals,
        summarises,
    };
    // Writing to memory cannot fail, and every field is one that JSON can say.
    let _ = serde_json::to_writer(out, &record);
}

/// A reading as the log has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadingRecord<'a> {
    /// Scopes the identity.
    pub tenant: Tenant,
    /// The agent that shipped it.
    pub agent: AgentId,
    /// The device that sampled it.
    pub device: DeviceId,
    /// The device's restart.
    #[serde(serialize_with = "super::as_text", deserialize_with = "from_text")]
    pub restart: Restart,
    /// Its place within the restart.
    pub sequence: Sequence,
    /// The name of the channel.
    #[serde(borrow)]
    pub channel: Cow<'a, str>,
    /// A UCUM code.
    #[serde(borrow)]
    pub unit: Cow<'a, str>,
    /// When it was sampled, in microseconds since 1970, or since power-on if `clock` is uptime.
    pub time: Timestamp,
    /// Which clock that was.
    #[serde(serialize_with = "clock_name", deserialize_with = "clock_named")]
    pub clock: Clock,
    /// What was measured.
    #[serde(borrow)]
    pub value: Measured<'a>,
    /// Whether this sequence was dead-lettered or counted lost before.
    pub heals: bool,
    /// What it stands for, if it is a summary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summarises: Option<Summarised>,
}

/// A measured value. JSON tells neither a float from a double nor either from an integer that it holds: what was read
/// from JSON is an integer or a double.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Measured<'a> {
    /// A truth value.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A number of 64 bits.
    Double(f64),
    /// A number of 32 bits.
    #[serde(skip_deserializing)]
    Float(f32),
    /// A text.
    #[serde(borrow)]
    Text(Cow<'a, str>),
}

impl<'a> From<Value<'a>> for Measured<'a> {
    fn from(value: Value<'a>) -> Self {
        match value {
            Value::Float(value) => Self::Float(value),
            Value::Double(value) => Self::Double(value),
            Value::Integer(value) => Self::Integer(value),
            Value::Boolean(value) => Self::Boolean(value),
            Value::Text(value) => Self::Text(value.into()),
        }
    }
}

/// Reads the JSON of a record back.
pub(super) fn decode_json(value: &[u8]) -> Result<ReadingRecord<'_>, Malformed> {
    serde_json::from_slice(value).map_err(|_| Malformed::Json)
}

/// Reads a record of the second version of the schema.
pub(super) fn decode_summary<'a>(input: &mut Input<'a>) -> Result<ReadingRecord<'a>, Malformed> {
    let reading = decode(input)?;
    let summarises = match input.long("summarises")? {
        0 => None,
        1 => Some(Summarised {
            restart: Restart(input.parsed("restart")?),
            start: Sequence(input.unsigned("start")?),
            end: Sequence(input.unsigned("end")?),
        }),
        _ => return Err(Malformed::Field { field: "summarises" }),
    };
    Ok(ReadingRecord { summarises, ..reading })
}

pub(super) fn decode<'a>(input: &mut Input<'a>) -> Result<ReadingRecord<'a>, Malformed> {
    Ok(ReadingRecord {
        tenant: input.parsed("tenant")?,
        agent: input.parsed("agent")?,
        device: input.parsed("device")?,
        restart: Restart(input.parsed("restart")?),
        sequence: Sequence(input.unsigned("sequence")?),
        channel: input.string("channel")?.into(),
        unit: input.string("unit")?.into(),
        time: Timestamp(input.long("time")?),
        clock: match input.long("clock")? {
            0 => Clock::Uptime,
            1 => Clock::Synchronised,
            _ => return Err(Malformed::Field { field: "clock" }),
        },
        value: match input.long("value")? {
            0 => Measured::Float(input.float("value")?),
            1 => Measured::Double(input.double("value")?),
            2 => Measured::Integer(input.long("value")?),
            3 => Measured::Boolean(input.boolean("value")?),
            4 => Measured::Text(input.string("value")?.into()),
            _ => return Err(Malformed::Field { field: "value" }),
        },
        heals: input.boolean("heals")?,
        summarises: None,
    })
}

fn clock_name<S: Serializer>(clock: &Clock, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match clock {
        Clock::Uptime => "uptime",
        Clock::Synchronised => "synchronised",
    })
}

fn clock_named<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Clock, D::Error> {
    match &*<Cow<'de, str>>::deserialize(deserializer)? {
        "uptime" => Ok(Clock::Uptime),
        "synchronised" => Ok(Clock::Synchronised),
        other => Err(serde::de::Error::custom(format_args!("clock {other:?}"))),
    }
}

fn from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Restart, D::Error> {
    <Cow<'de, str>>::deserialize(deserializer)?.parse().map(Restart).map_err(serde::de::Error::custom)
}

impl Serialize for Measured<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Float(value) => serializer.serialize_f64(shortest(*value)),
            Self::Double(value) => serializer.serialize_f64(*value),
            Self::Integer(value) => serializer.serialize_i64(*value),
            Self::Boolean(value) => serializer.serialize_bool(*value),
            Self::Text(value) => serializer.serialize_str(value),
        }
    }
}

/// The double that prints as the shortest decimal which reads back as `value`. A float that is merely widened
/// prints digits that nobody measured: 21.7 would be 21.700000762939453.
fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

//! The form of an export for people and other programs: one JSON object a line, version 1.
//!
//! ```text
//! {"type":"export","version":1}                                     first line
//! {"type":"channels","device":..,"schema":"0a1b2c3d","channels":[{"id":0,"name":..,"unit":..,"kind":"float","resolution":..}]}
//! {"type":"reading","tenant":"default","device":..,"restart":"..","sequence":5,"schema":"0a1b2c3d","channel":0,
//!  "name":"temperature","time_us":..,"clock":"synchronised","kind":"float","value":21.5}
//! {"type":"claim","tenant":"default","device":..,"restart":"..","kind":"queue","start":0,"end":10}
//! {"type":"processed","device":..,"section":"04.."}                  what rules made, encoded as in a batch, in hexadecimal
//! {"type":"end","tenant":"default","device":..,"restart":"..","from":10}
//! {"type":"total","readings":..,"claims":..,"ends":..}              last line: without it the file was cut short
//! ```
//!
//! A restart is text, because JSON numbers lose bits. Floats and doubles have the digits that give the same bits back;
//! what JSON has no number for is text: `"0x"` and the bits. `name` is for people and not read back.

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value as Json};
use weir_protocol::batch::{Claim, LossKind, RestartEnd, Section};
use weir_protocol::reading::MAX_TEXT;
use weir_protocol::{
    Channel, ChannelId, Clock, DeviceId, Reading, Restart, SchemaHash, Sequence, Tenant, Timestamp, Value, ValueKind,
    items,
};

/// The version of the form.
pub const VERSION: u32 = 1;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
#[allow(missing_docs)] // the module says what they are
pub enum Line {
    Export { version: u32 },
    Channels { device: String, schema: String, channels: Vec<ChannelLine> },
    Reading(ReadingLine),
    Claim { tenant: String, device: String, restart: String, kind: LossKind, start: u64, end: u64 },
    End { tenant: String, device: String, restart: String, from: u64 },
    Processed { device: String, section: String },
    Total { readings: u64, claims: u64, ends: u64 },
}

/// A channel of a device.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelLine {
    id: u16,
    name: String,
    unit: String,
    kind: ValueKind,
    resolution: Json,
}

/// A reading.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadingLine {
    tenant: String,
    device: String,
    restart: String,
    sequence: u64,
    schema: String,
    channel: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    time_us: i64,
    clock: ClockName,
    kind: ValueKind,
    value: Json,
}

/// A clock by name.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ClockName {
    Uptime,
    Synchronised,
}

/// The identity of a reading, and what kept it company.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The device.
    pub device: DeviceId,
    /// Its restart.
    pub restart: Restart,
    /// The sequence.
    pub sequence: Sequence,
    /// The schema of the reading.
    pub schema: SchemaHash,
}

impl Line {
    /// A reading; `name` is that of its channel, if known.
    pub fn reading(place: &Place, reading: &Reading<'_>, name: Option<&str>) -> Self {
        Self::Reading(ReadingLine {
            tenant: Tenant::DEFAULT.to_string(),
            device: place.device.to_string(),
            restart: place.restart.to_string(),
            sequence: place.sequence.0,
            schema: place.schema.to_string(),
            channel: reading.channel.0,
            name: name.map(str::to_owned),
            time_us: reading.time.0,
            clock: match reading.clock {
                Clock::Uptime => ClockName::Uptime,
                Clock::Synchronised => ClockName::Synchronised,
            },
            kind: reading.value.kind(),
            value: match reading.value {
                Value::Float(value) => of_float(value),
                Value::Double(value) => of_double(value),
                Value::Integer(value) => value.into(),
                Value::Boolean(value) => value.into(),
                Value::Text(value) => value.into(),
            },
        })
    }

    /// A claim.
    pub fn claim(claim: &Claim) -> Self {
        let (tenant, device, restart) =
            (Tenant::DEFAULT.to_string(), claim.device.to_string(), claim.restart.to_string());
        Self::Claim { tenant, device, restart, kind: claim.kind, start: claim.start.0, end: claim.end.0 }
    }

    /// The end of a restart.
    pub fn end(end: &RestartEnd) -> Self {
        let (tenant, device, restart) = (Tenant::DEFAULT.to_string(), end.device.to_string(), end.restart.to_string());
        Self::End { tenant, device, restart, from: end.from.0 }
    }

    /// What rules made of readings.
    pub fn processed(device: DeviceId, section: &Section<'_>) -> Self {
        let mut encoded = Vec::new();
        items::push(&mut encoded, section);
        let section = encoded.iter().map(|byte| format!("{byte:02x}")).collect();
        Self::Processed { device: device.to_string(), section }
    }

    /// A description.
    pub fn channels<'a>(device: DeviceId, schema: SchemaHash, channels: impl Iterator<Item = Channel<'a>>) -> Self {
        let line = |channel: Channel<'_>| ChannelLine {
            id: channel.id.0,
            name: channel.name.to_owned(),
            unit: channel.unit.to_owned(),
            kind: channel.kind,
            resolution: of_float(channel.resolution),
        };
        let channels = channels.map(line).collect();
        Self::Channels { device: device.to_string(), schema: schema.to_string(), channels }
    }
}

impl ChannelLine {
    /// The channel; `Err` says what is wrong.
    pub fn channel(&self) -> Result<Channel<'_>, String> {
        let resolution = float(&self.resolution)?;
        Ok(Channel { id: ChannelId(self.id), name: &self.name, unit: &self.unit, kind: self.kind, resolution })
    }
}

impl ReadingLine {
    /// Where it belongs; `Err` says what is wrong.
    pub fn place(&self) -> Result<Place, String> {
        let (device, restart) = key(&self.tenant, &self.device, &self.restart)?;
        if self.sequence >= Sequence::END.0 {
            return Err(format!("got sequence {}, expected less than {}", self.sequence, Sequence::END));
        }
        Ok(Place { device, restart, sequence: Sequence(self.sequence), schema: schema(&self.schema)? })
    }

    /// The reading; `Err` says what is wrong.
    pub fn reading(&self) -> Result<Reading<'_>, String> {
        let clock = match self.clock {
            ClockName::Uptime => Clock::Uptime,
            ClockName::Synchronised => Clock::Synchronised,
        };
        let expected = |what: &str| format!("got value {}, expected {what}", self.value);
        let value = match self.kind {
            ValueKind::Float => Value::Float(float(&self.value)?),
            ValueKind::Double => Value::Double(double(&self.value)?),
            ValueKind::Integer => Value::Integer(self.value.as_i64().ok_or_else(|| expected("a whole number"))?),
            ValueKind::Boolean => Value::Boolean(self.value.as_bool().ok_or_else(|| expected("true or false"))?),
            ValueKind::Text => match self.value.as_str() {
                Some(text) if text.len() <= MAX_TEXT => Value::Text(text),
                Some(text) => return Err(format!("got a text of {} bytes, expected at most {MAX_TEXT}", text.len())),
                None => return Err(expected("text")),
            },
        };
        Ok(Reading { channel: ChannelId(self.channel), time: Timestamp(self.time_us), clock, value })
    }
}

/// Device and restart of a line; `Err` says what is wrong.
pub fn key(tenant: &str, device: &str, restart: &str) -> Result<(DeviceId, Restart), String> {
    if tenant != Tenant::DEFAULT.as_str() {
        return Err(format!("got tenant {tenant:?}, expected {:?}", Tenant::DEFAULT.as_str()));
    }
    let device = DeviceId::new(device).map_err(|error| format!("device: {error}"))?;
    match restart.parse() {
        Ok(number) if number != Restart::UNBOUND.0 => Ok((device, Restart(number))),
        _ => Err(format!("got restart {restart:?}, expected a number from 1 to {} as text", u64::MAX)),
    }
}

/// A schema hash; `Err` says what is wrong.
pub fn schema(text: &str) -> Result<SchemaHash, String> {
    let hash = (text.len() == 8).then(|| u32::from_str_radix(text, 16).ok()).flatten();
    hash.map(SchemaHash).ok_or_else(|| format!("got schema {text:?}, expected 8 hexadecimal digits"))
}

/// Bytes in hexadecimal; `Err` says what is wrong.
pub fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
    bytes.filter(|_| rest.is_empty()).ok_or_else(|| "got a section that is not hexadecimal".to_owned())
}

fn of_float(value: f32) -> Json {
    // As short as a single tells it, where that gives the same bits back; else all the digits of the double.
    let short = value.to_string().parse::<f64>().ok().filter(|short| (*short as f32).to_bits() == value.to_bits());
    let number = short.or(Some(f64::from(value)).filter(|value| !value.is_nan())).and_then(Number::from_f64);
    number.map_or_else(|| format!("0x{:08x}", value.to_bits()).into(), Json::Number)
}

fn of_double(value: f64) -> Json {
    Number::from_f64(value).map_or_else(|| format!("0x{:016x}", value.to_bits()).into(), Json::Number)
}

fn float(json: &Json) -> Result<f32, String> {
    match (json.as_f64(), bits(json)) {
        (Some(number), _) => Ok(number as f32),
        (None, Some(bits)) if bits <= u64::from(u32::MAX) => Ok(f32::from_bits(bits as u32)),
        _ => Err(format!("got {json}, expected a number or \"0x\" and 8 hexadecimal digits")),
    }
}

fn double(json: &Json) -> Result<f64, String> {
    let found = json.as_f64().or_else(|| bits(json).map(f64::from_bits));
    found.ok_or_else(|| format!("got {json}, expected a number or \"0x\" and 16 hexadecimal digits"))
}

fn bits(json: &Json) -> Option<u64> {
    u64::from_str_radix(json.as_str()?.strip_prefix("0x")?, 16).ok()
}

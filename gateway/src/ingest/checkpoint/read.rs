//! Reading a checkpoint: checked as a whole before anything of it is believed.

use weir_protocol::{Channel, ChannelId, DeviceId, Restart, SchemaHash, Tenant, ValueKind};

use super::super::buried::Remains;
use super::super::channels::Channels;
use super::super::log_state::{Device, LogState, Sequences};
use super::body::{BURIED, ENDED, HAS_FLOOR, SCHEMAS, SEGMENT, SEQUENCES};
use super::{CRC_BYTES, HEAD_BYTES, Head, MAGIC, VERSION};
use crate::topics::TopicId;

/// Checks a file; its head and its body.
///
/// # Errors
/// Got and expected, for the log.
pub(crate) fn verified(file: &[u8]) -> Result<(Head, &[u8]), String> {
    let short = || format!("got {} bytes, expected at least {}", file.len(), HEAD_BYTES + CRC_BYTES);
    let (content, crc) = file.split_last_chunk::<CRC_BYTES>().ok_or_else(short)?;
    let (head, body) = content.split_first_chunk::<HEAD_BYTES>().ok_or_else(short)?;
    if head[..4] != MAGIC {
        return Err(format!("got magic {:02x?}, expected {MAGIC:02x?}", &head[..4]));
    }
    let (got, expected) = (crc32c::crc32c(content), u32::from_be_bytes(*crc));
    if got != expected {
        return Err(format!("got checksum {got:#010x}, expected {expected:#010x}"));
    }
    let mut input = Input { rest: &head[4..] };
    let version = u16::from_be_bytes(input.array()?);
    if version != VERSION {
        return Err(format!("got version {version}, expected {VERSION}"));
    }
    let [topic, _] = input.array()?;
    let topic = TopicId::ALL.get(usize::from(topic)).ok_or_else(|| format!("got topic {topic}, expected 0 to 3"))?;
    let head = Head {
        topic: *topic,
        partition: u32::from_be_bytes(input.array()?),
        offset: input.number()?,
        loss_offset: input.number()?,
        written_ms: i64::from_be_bytes(input.array()?),
    };
    let length = input.number()?;
    if length != body.len() as u64 {
        return Err(format!("got a body of {} bytes, expected {length}", body.len()));
    }
    Ok((head, body))
}

/// What a body says: the closed segments and the state.
///
/// # Errors
/// What does not decode, although its checksum holds.
pub(crate) fn decode_state(body: &[u8]) -> Result<(Vec<(u64, i64)>, LogState), String> {
    let mut input = Input { rest: body };
    let (mut closed, mut state) = (Vec::new(), LogState::default());
    while !input.rest.is_empty() {
        match input.byte()? {
            SEGMENT => closed.push((input.varint()?, i64::try_from(input.varint()?).unwrap_or(i64::MAX))),
            SEQUENCES => sequences(&mut input, &mut state)?,
            SCHEMAS => schemas(&mut input, &mut state)?,
            BURIED => {
                for _ in 0..input.varint()? {
                    state.buried.insert(Remains::from_hash(input.number()?));
                }
            }
            tag => return Err(format!("got entry {tag}, expected 1 to 4")),
        }
    }
    Ok((closed, state))
}

fn sequences(input: &mut Input<'_>, state: &mut LogState) -> Result<(), String> {
    let device = input.device()?;
    let records = state.devices.entry(device).or_default();
    for _ in 0..input.varint()? {
        let restart = Restart(input.number()?);
        let flags = input.byte()?;
        if flags & !(ENDED | HAS_FLOOR) != 0 {
            return Err(format!("got flags {flags:#04x}, expected at most 0x03"));
        }
        let floor = if flags & HAS_FLOOR != 0 { input.varint()? } else { 0 };
        let mut found = Sequences { ended: flags & ENDED != 0, floor, ..Sequences::default() };
        let mut at = 0u64;
        for _ in 0..input.varint()? {
            let (gap, length) = (input.varint()?, input.varint()?);
            let start = at.checked_add(gap).ok_or("a range beyond 2^64")?;
            at = start.checked_add(length).ok_or("a range beyond 2^64")?;
            found.ranges.insert(start..at);
        }
        records.restarts.insert(restart, found);
    }
    Ok(())
}

fn schemas(input: &mut Input<'_>, state: &mut LogState) -> Result<(), String> {
    let device = input.device()?;
    let records = state.devices.entry(device).or_default();
    for _ in 0..input.varint()? {
        let hash = SchemaHash(u32::from_be_bytes(input.array()?));
        let mut channels = Vec::new();
        for _ in 0..input.varint()? {
            channels.push(channel(input)?);
        }
        records.schemas.insert(hash, Channels::new(&channels).into());
    }
    Ok(())
}

fn channel<'a>(input: &mut Input<'a>) -> Result<Channel<'a>, String> {
    let id = ChannelId(u16::from_be_bytes(input.array()?));
    let kind = match input.byte()? {
        0 => ValueKind::Float,
        1 => ValueKind::Double,
        2 => ValueKind::Integer,
        3 => ValueKind::Boolean,
        4 => ValueKind::Text,
        other => return Err(format!("got kind {other}, expected 0 to 4")),
    };
    let resolution = f32::from_be_bytes(input.array()?);
    Ok(Channel { id, kind, resolution, name: input.text()?, unit: input.text()? })
}

/// Bytes to decode, front to back.
struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let split = self.rest.split_at_checked(length);
        let (taken, rest) = split.ok_or_else(|| format!("got {} bytes, expected {length}", self.rest.len()))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N)?.try_into().map_err(|_| "cut short".to_owned())
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.array::<1>()?[0])
    }

    fn number(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_be_bytes)
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a number without an end".to_owned())
    }

    fn text(&mut self) -> Result<&'a str, String> {
        let length = usize::try_from(self.varint()?).map_err(|error| error.to_string())?;
        std::str::from_utf8(self.take(length)?).map_err(|error| error.to_string())
    }

    fn device(&mut self) -> Result<Device, String> {
        let tenant: Tenant = self.text()?.parse().map_err(|error| format!("tenant: {error}"))?;
        let device: DeviceId = self.text()?.parse().map_err(|error| format!("device: {error}"))?;
        Ok((tenant, device))
    }
}

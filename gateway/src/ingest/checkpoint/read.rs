//! Reading a checkpoint: checked as a whole before anything of it is believed.

use std::collections::VecDeque;

use weir_protocol::ranges::{BLOCK, Bits};
use weir_protocol::{Channel, ChannelId, DeviceId, RangeSet, Restart, SchemaHash, Tenant, ValueKind};

use super::super::buried::Remains;
use super::super::channels::Channels;
use super::super::log_state::{Device, DeviceRecords, LogState, Sequences};
use super::super::settled::Settled;
use super::body::{
    BACK, BURIED, COARSE, ENDED, HAS_FLOOR, ORDERED_SCHEMAS, OWNER, PAGED, SCHEMAS, SEGMENT, SEQUENCES, SETTLED,
};
use super::{CRC_BYTES, HEAD_BYTES_2, Head, MAGIC, VERSION, VERSION_2};
use crate::topics::TopicId;

/// Checks a file; its head and its body.
///
/// # Errors
/// Got and expected, for the log.
pub(crate) fn verified(file: &[u8]) -> Result<(Head, &[u8]), String> {
    let short = || format!("got {} bytes, expected at least {}", file.len(), HEAD_BYTES_2 + CRC_BYTES);
    let (content, crc) = file.split_last_chunk::<CRC_BYTES>().ok_or_else(short)?;
    let mut input = Input { rest: content };
    let magic: [u8; 4] = input.array().map_err(|_| short())?;
    if magic != MAGIC {
        return Err(format!("got magic {magic:02x?}, expected {MAGIC:02x?}"));
    }
    let (got, expected) = (crc32c::crc32c(content), u32::from_be_bytes(*crc));
    if got != expected {
        return Err(format!("got checksum {got:#010x}, expected {expected:#010x}"));
    }
    let (head, length) = match u16::from_be_bytes(input.array()?) {
        VERSION => head(&mut input)?,
        VERSION_2 => head_2(&mut input)?,
        version => return Err(format!("got version {version}, expected {VERSION} or {VERSION_2}")),
    };
    if length != input.rest.len() as u64 {
        return Err(format!("got a body of {} bytes, expected {length}", input.rest.len()));
    }
    Ok((head, input.rest))
}

/// The head of version 1, behind its version; and the length of the body.
fn head(input: &mut Input<'_>) -> Result<(Head, u64), String> {
    let [topic, _] = input.array()?;
    if usize::from(topic) >= TopicId::BUILT_IN.len() {
        return Err(format!("got topic {topic}, expected 0 to 3"));
    }
    let (partition, offset, loss_offset) = (input.half()?, input.number()?, input.number()?);
    let losses = if topic == 0 { vec![(partition, loss_offset)] } else { Vec::new() };
    let written_ms = i64::from_be_bytes(input.array()?);
    let schema_id = u32::from(topic) + 1;
    Ok((Head { schema_id, partition, offset, losses, ends: None, written_ms }, input.number()?))
}

/// The head of version 2, behind its version; and the length of the body.
fn head_2(input: &mut Input<'_>) -> Result<(Head, u64), String> {
    let [0, 0] = input.array()? else { return Err("expected zeros behind the version".to_owned()) };
    let (schema_id, partition, offset) = (input.half()?, input.half()?, input.number()?);
    let (written_ms, length) = (i64::from_be_bytes(input.array()?), input.number()?);
    let (mut losses, mut ends) = (Vec::new(), Vec::new());
    for _ in 0..u16::from_be_bytes(input.array()?) {
        losses.push((input.half()?, input.number()?));
    }
    for _ in 0..u16::from_be_bytes(input.array()?) {
        ends.push((input.half()?, input.half()?, input.number()?));
    }
    let ends = Some(ends).filter(|ends| !ends.is_empty());
    Ok((Head { schema_id, partition, offset, losses, ends, written_ms }, length))
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
            SCHEMAS => {
                let count = schemas(&mut input, &mut state)?;
                state.is_unordered |= count > 1;
            }
            ORDERED_SCHEMAS => {
                schemas(&mut input, &mut state)?;
            }
            BURIED => {
                for _ in 0..input.varint()? {
                    state.buried.insert(Remains::from_hash(input.number()?));
                }
            }
            OWNER => {
                let device = input.device()?;
                let owner = input.text()?.parse().map_err(|error| format!("agent: {error}"))?;
                state.devices.entry(device).or_default().owner = Some(owner);
            }
            SETTLED => settled(&mut input, &mut state)?,
            tag => return Err(format!("got entry {tag}, expected 1 to 7")),
        }
    }
    // A checkpoint of an earlier build does not name owners: the log, which keeps everything, does.
    let is_unowned = |records: &DeviceRecords| records.schemas.len() > 0 && records.owner.is_none();
    state.is_unowned = state.devices.values().any(is_unowned);
    Ok((closed, state))
}

fn sequences(input: &mut Input<'_>, state: &mut LogState) -> Result<(), String> {
    let device = input.device()?;
    let records = state.devices.entry(device).or_default();
    for _ in 0..input.varint()? {
        let restart = Restart(input.number()?);
        let flags = input.byte()?;
        if flags & !(ENDED | HAS_FLOOR | COARSE | PAGED) != 0 {
            return Err(format!("got flags {flags:#04x}, expected at most 0x0f"));
        }
        let floor = if flags & HAS_FLOOR != 0 { input.varint()? } else { 0 };
        let (ended, is_coarse) = (flags & ENDED != 0, flags & COARSE != 0);
        let ranges = ranges(input, flags)?;
        let found = Sequences { ranges, ended, floor, is_coarse, ..Sequences::default() };
        records.restarts.insert(restart, found);
    }
    Ok(())
}

/// What was left out of the restarts of a device, behind its sequences.
fn settled(input: &mut Input<'_>, state: &mut LogState) -> Result<(), String> {
    let device = input.device()?;
    for _ in 0..input.varint()? {
        let restart = Restart(input.number()?);
        let flags = input.byte()?;
        if flags & !(COARSE | PAGED) != 0 {
            return Err(format!("got flags {flags:#04x}, expected 0x00, 0x04, 0x08 or 0x0c"));
        }
        let count = input.varint()?;
        let ranges = ranges(input, flags)?;
        state.sequences(device, restart).settled = Settled::said(ranges, count, flags & COARSE != 0)?;
    }
    Ok(())
}

fn ranges(input: &mut Input<'_>, flags: u8) -> Result<RangeSet, String> {
    let (mut ranges, mut at) = (RangeSet::new(), 0u64);
    for _ in 0..input.varint()? {
        let (gap, length) = (input.varint()?, input.varint()?);
        let start = at.checked_add(gap).ok_or("a range beyond 2^64")?;
        at = start.checked_add(length).ok_or("a range beyond 2^64")?;
        ranges.insert(start..at);
    }
    if flags & PAGED != 0 {
        pages(input, &mut ranges)?;
    }
    Ok(ranges)
}

fn pages(input: &mut Input<'_>, ranges: &mut RangeSet) -> Result<(), String> {
    let (mut at, mut last) = (0u64, VecDeque::<Bits>::new());
    for _ in 0..input.varint()? {
        let block = at.checked_add(input.varint()?).ok_or("a page beyond 2^64")?;
        let bits = match input.varint()? {
            0 => input.bits()?,
            back => {
                let earlier = usize::try_from(back - 1).ok().and_then(|back| last.get(back));
                *earlier.ok_or_else(|| format!("got page {back} back, expected one of {}", last.len()))?
            }
        };
        let first = block.checked_mul(BLOCK).ok_or("a page beyond 2^64")?;
        ranges.insert_page(first, &bits).map_err(|error| error.to_string())?;
        at = block + 1;
        last.truncate(BACK - 1);
        last.push_front(bits);
    }
    Ok(())
}

/// Schemas of a device; how many.
fn schemas(input: &mut Input<'_>, state: &mut LogState) -> Result<u64, String> {
    let device = input.device()?;
    let records = state.devices.entry(device).or_default();
    let count = input.varint()?;
    for _ in 0..count {
        let hash = SchemaHash(u32::from_be_bytes(input.array()?));
        let mut channels = Vec::new();
        for _ in 0..input.varint()? {
            channels.push(channel(input)?);
        }
        records.schemas.insert(hash, Channels::new(&channels).into());
    }
    Ok(count)
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

    fn half(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_be_bytes)
    }

    fn bits(&mut self) -> Result<Bits, String> {
        let mut bits: Bits = [0; _];
        for word in &mut bits {
            *word = self.array().map(u64::from_le_bytes)?;
        }
        Ok(bits)
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

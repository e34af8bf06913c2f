//! The entries of a checkpoint, as they are written.

use std::collections::VecDeque;
use std::sync::Arc;

use weir_protocol::ranges::BLOCK;
use weir_protocol::{AgentId, RangeSet, Restart, SchemaHash};

use super::super::buried::Buried;
use super::super::channels::Channels;
use super::super::log_state::{Device, LogState, Sequences};
use super::super::schemas::Schemas;
use super::Ends;

pub(super) const SEGMENT: u8 = 1;
pub(super) const SEQUENCES: u8 = 2;
pub(super) const SCHEMAS: u8 = 3;
pub(super) const BURIED: u8 = 4;
/// As [`SCHEMAS`], in the order in which they were described.
pub(super) const ORDERED_SCHEMAS: u8 = 5;
pub(super) const OWNER: u8 = 6;
pub(super) const SETTLED: u8 = 7;
pub(super) const ENDED: u8 = 1;
pub(super) const HAS_FLOOR: u8 = 2;
pub(super) const COARSE: u8 = 4;
pub(super) const PAGED: u8 = 8;
/// So many pages back one that is the same may be named.
pub(super) const BACK: usize = 128;

/// Entries, back to back.
#[derive(Debug, Default)]
pub(crate) struct Body {
    bytes: Vec<u8>,
    /// The restarts of the device that is being written.
    restarts: Vec<u8>,
    count: u64,
    /// The same of what was left out.
    settled: Vec<u8>,
    settled_count: u64,
    names_ends: bool,
    has_pages: bool,
}

impl Body {
    /// All that a state says.
    pub(crate) fn of(state: &LogState) -> Self {
        let mut body = Self::default();
        // In one order, so that the same state is the same bytes.
        let mut devices: Vec<_> = state.devices.iter().collect();
        devices.sort_unstable_by_key(|(device, _)| **device);
        for (device, records) in devices {
            for (restart, sequences) in &records.restarts {
                body.restart(*restart, sequences);
                let Sequences { settled, .. } = sequences;
                body.settled(*restart, settled.ranges(), (settled.count(), settled.is_coarse()));
            }
            body.end_device(*device);
            body.schemas(*device, &records.schemas);
            body.owner(*device, records.owner);
        }
        body.buried(&state.buried);
        body
    }

    pub(super) fn segment(&mut self, base: u64, closed_ms: i64) {
        self.bytes.push(SEGMENT);
        put_varint(&mut self.bytes, base);
        put_varint(&mut self.bytes, u64::try_from(closed_ms).unwrap_or(0));
    }

    /// One restart of the device that [`Body::end_device`] will name; nothing if there is nothing to say.
    pub(crate) fn restart(&mut self, restart: Restart, sequences: &Sequences) {
        let Sequences { ranges, ended, floor, is_coarse, .. } = sequences;
        self.restart_of(restart, ranges, *ended, (*floor, *is_coarse));
    }

    /// As [`Body::restart`].
    pub(crate) fn restart_of(
        &mut self,
        restart: Restart,
        ranges: &RangeSet,
        ended: bool,
        (floor, is_coarse): (u64, bool),
    ) {
        if ranges.is_empty() && !ended && floor == 0 {
            return;
        }
        self.names_ends |= is_coarse;
        let out = &mut self.restarts;
        self.count += 1;
        out.extend_from_slice(&restart.0.to_be_bytes());
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let is_paged = ranges.pages().len() > 0;
        self.has_pages |= is_paged;
        let (end, floored) = (flag(ended, ENDED), flag(floor > 0, HAS_FLOOR));
        out.push(end | floored | flag(is_coarse, COARSE) | flag(is_paged, PAGED));
        if floor > 0 {
            put_varint(out, floor);
        }
        put_ranges(out, ranges);
    }

    /// What was left out of one restart of the device that [`Body::end_device`] will name; nothing if nothing was.
    pub(crate) fn settled(&mut self, restart: Restart, ranges: &RangeSet, (count, is_coarse): (u64, bool)) {
        if ranges.is_empty() && count == 0 {
            return;
        }
        self.names_ends = true;
        self.settled_count += 1;
        let out = &mut self.settled;
        out.extend_from_slice(&restart.0.to_be_bytes());
        let is_paged = ranges.pages().len() > 0;
        self.has_pages |= is_paged;
        out.push(if is_coarse { COARSE } else { 0 } | if is_paged { PAGED } else { 0 });
        put_varint(out, count);
        put_ranges(out, ranges);
    }

    /// Ends the device whose restarts were written.
    pub(crate) fn end_device(&mut self, device: Device) {
        let sequences = (SEQUENCES, &mut self.count, &mut self.restarts);
        let settled = (SETTLED, &mut self.settled_count, &mut self.settled);
        for (tag, count, restarts) in [sequences, settled] {
            if *count > 0 {
                self.bytes.push(tag);
                put_device(&mut self.bytes, device);
                put_varint(&mut self.bytes, *count);
                self.bytes.append(restarts);
                *count = 0;
            }
        }
    }

    /// The schemas of a device; nothing if it has none.
    pub(crate) fn schemas(&mut self, device: Device, schemas: &Schemas<Arc<Channels>>) {
        let known = schemas.iter().map(|(hash, channels)| (hash, &**channels));
        self.schemas_of(device, known.collect());
    }

    /// As [`Body::schemas`].
    pub(crate) fn schemas_of(&mut self, device: Device, schemas: Vec<(SchemaHash, &Channels)>) {
        if schemas.is_empty() {
            return;
        }
        let out = &mut self.bytes;
        // Of one schema version 1 says all there is to say.
        out.push(if schemas.len() == 1 { SCHEMAS } else { ORDERED_SCHEMAS });
        put_device(out, device);
        put_varint(out, schemas.len() as u64);
        for (hash, channels) in schemas {
            out.extend_from_slice(&hash.0.to_be_bytes());
            put_varint(out, channels.len() as u64);
            for channel in channels.iter() {
                out.extend_from_slice(&channel.id.0.to_be_bytes());
                out.push(channel.kind as u8);
                out.extend_from_slice(&channel.resolution.to_be_bytes());
                put_text(out, channel.name);
                put_text(out, channel.unit);
            }
        }
    }

    /// The agent that a device is bound to; nothing if there is none.
    pub(crate) fn owner(&mut self, device: Device, owner: Option<AgentId>) {
        if let Some(owner) = owner {
            self.bytes.push(OWNER);
            put_device(&mut self.bytes, device);
            put_text(&mut self.bytes, owner.as_str());
        }
    }

    /// The descriptions that are dead letters.
    pub(crate) fn buried(&mut self, buried: &Buried) {
        if buried.len() == 0 {
            return;
        }
        self.bytes.push(BURIED);
        put_varint(&mut self.bytes, buried.len() as u64);
        buried.iter().for_each(|hash| self.bytes.extend_from_slice(&hash.to_be_bytes()));
    }

    /// Whether the ends of the logs belong beside it: something is coarse or was left out.
    pub(crate) fn names_ends(&self) -> bool {
        self.names_ends
    }

    /// Whether anything of it is said in pages, which version 1 has no words for.
    pub(crate) fn has_pages(&self) -> bool {
        self.has_pages
    }

    /// The ends beside it: there is a list without any if that alone makes it version 2.
    pub(crate) fn beside(&self, ends: Option<Ends>) -> Option<Ends> {
        ends.or(self.has_pages.then(Vec::new))
    }

    /// The entries.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

fn put_device(out: &mut Vec<u8>, (tenant, device): Device) {
    put_text(out, tenant.as_str());
    put_text(out, device.as_str());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn put_ranges(out: &mut Vec<u8>, ranges: &RangeSet) {
    put_varint(out, ranges.sparse().len() as u64);
    let mut at = 0;
    for range in ranges.sparse() {
        put_varint(out, range.start - at);
        put_varint(out, range.end - range.start);
        at = range.end;
    }
    if ranges.pages().len() == 0 {
        return;
    }
    put_varint(out, ranges.pages().len() as u64);
    let (mut at, mut last) = (0, VecDeque::with_capacity(BACK));
    for (first, bits) in ranges.pages() {
        let block = first / BLOCK;
        put_varint(out, block - at);
        at = block + 1;
        // Pages that are the same are held once, mostly.
        match last.iter().position(|earlier| std::ptr::eq(*earlier, bits)) {
            Some(back) => put_varint(out, back as u64 + 1),
            None => {
                put_varint(out, 0);
                bits.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
            }
        }
        last.truncate(BACK - 1);
        last.push_front(bits);
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

//! From the queue to batches, and back from acknowledgements to offsets.
//!
//! Batches are formed in the order of the queue from the first record that the gateway does not have. After
//! a lost connection [`Spool::rewind`] starts there again. A batch that the gateway cannot read is halved
//! until it is one reading, which is then sent as a claim that it was rejected: the record itself stays in
//! the queue until that claim is acknowledged, so a crash at any point only repeats this.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use weir_protocol::RangeSet;
use weir_protocol::Sequence;
use weir_protocol::batch::{Claim, EnvelopeBuilder, LossKind, MAX_READINGS, ReadingRun, RunBuilder, Section};
use weir_protocol::items::Items;
use weir_storage::{Chunk, ReadError, Reader};

use crate::queue::SharedState;

/// Bytes of queue read at once.
const WINDOW: usize = 64 * 1024;

/// A batch of so many units is full: half of what a gateway takes, because one more record may still come.
const FULL_UNITS: u32 = (MAX_READINGS / 2) as u32;

/// So many connections in a row that close on one batch make it go in halves.
const SUSPICIOUS: u32 = 3;

/// A part of a record: units are the readings of a run, or the one claim or end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The record.
    pub offset: u64,
    /// Which of its units.
    pub units: Range<u32>,
    /// How many it has.
    pub of: u32,
    /// Whether they are readings.
    pub readings: bool,
}

/// A batch ready to send.
#[derive(Debug)]
pub struct Outgoing {
    /// The envelope.
    pub payload: Vec<u8>,
    /// Its bytes.
    pub bytes: usize,
    /// What is in it.
    pub parts: Vec<Part>,
    /// How many units that is.
    pub units: u32,
}

/// What becomes of a batch that the gateway could not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It goes again in halves.
    Halved,
    /// A reading alone: it goes again as a claim that it was rejected. Its record, and which of its readings.
    Reading(u64, u32),
    /// A claim or an end alone, refused before: nothing more can be done for the record at this offset.
    GivenUp(u64),
    /// It goes again as it is: not the reading is at fault.
    Again,
}

/// Forms batches.
pub struct Spool {
    reader: Reader,
    state: SharedState,
    batch_bytes: usize,
    compress: bool,
    /// The next unit to put into a batch.
    cursor: (u64, u32),
    chunk: Chunk,
    forming: EnvelopeBuilder,
    parts: Vec<Part>,
    units: u32,
    /// The most units of a batch while something unreadable is looked for, and where the search ends.
    search: Option<(u32, (u64, u32))>,
    /// Units of records that the gateway has in part.
    partial: BTreeMap<u64, RangeSet>,
    /// Readings that the gateway cannot read even alone, and claims that it could not read once.
    rejected: BTreeSet<(u64, u32)>,
    damaged: u64,
    /// The batch that the last connection closed on, by its first unit and its units, and how many did so in a row.
    suspect: Option<((u64, u32), u32, u32)>,
}

impl Spool {
    /// Starts at the first record that the gateway does not have.
    pub fn new(reader: Reader, state: SharedState, batch_bytes: usize, compress: bool) -> Self {
        let mut spool = Self {
            reader,
            state,
            batch_bytes,
            compress,
            cursor: (0, 0),
            chunk: Chunk::default(),
            forming: EnvelopeBuilder::new(),
            parts: Vec::new(),
            units: 0,
            search: None,
            partial: BTreeMap::new(),
            rejected: BTreeSet::new(),
            damaged: 0,
            suspect: None,
        };
        spool.rewind();
        spool
    }

    /// Forgets what was sent and not acknowledged, and starts at the first record the gateway does not have.
    pub fn rewind(&mut self) {
        self.chunk = Chunk::default();
        // The builder has no way to be emptied but to finish.
        self.forming = EnvelopeBuilder::new();
        self.parts.clear();
        self.units = 0;
        let start = self.reader.start_offset();
        self.cursor = (self.state.lock().first_unshipped(start), 0);
        // What was dropped from the front needs no memory.
        self.partial = self.partial.split_off(&start);
        self.rejected = self.rejected.split_off(&(start, 0));
    }

    /// Takes records into the batch that is being formed; true when it is full.
    pub fn fill(&mut self) -> Result<bool, ReadError> {
        loop {
            if self.is_full() {
                return Ok(true);
            }
            if !self.take_from_chunk() {
                if self.is_full() {
                    return Ok(true);
                }
                if !self.read_on()? {
                    return Ok(false);
                }
            }
        }
    }

    /// The batch as far as it is formed, if there is anything in it.
    pub fn take(&mut self) -> Option<Outgoing> {
        if self.parts.is_empty() {
            return None;
        }
        let payload = self.forming.finish(self.compress);
        Some(Outgoing {
            bytes: payload.len(),
            payload,
            parts: core::mem::take(&mut self.parts),
            units: core::mem::take(&mut self.units),
        })
    }

    /// Whether a batch is being formed.
    pub fn is_forming(&self) -> bool {
        !self.parts.is_empty()
    }

    /// The gateway has these.
    pub fn shipped(&mut self, parts: &[Part]) {
        self.suspect = None;
        let state = self.state.clone();
        let mut state = state.lock();
        for part in parts {
            if part.units == (0..part.of) {
                state.shipped.insert(part.offset..part.offset + 1);
                continue;
            }
            let acked = self.partial.entry(part.offset).or_default();
            acked.insert(u64::from(part.units.start)..u64::from(part.units.end));
            if acked.contains_all(0..u64::from(part.of)) {
                self.partial.remove(&part.offset);
                self.rejected.retain(|(offset, _)| *offset != part.offset);
                state.shipped.insert(part.offset..part.offset + 1);
            }
        }
        let reached = parts.last().map(|part| (part.offset, part.units.end));
        if let (Some((limit, end)), Some(reached)) = (self.search, reached) {
            self.search = (reached < end).then_some((limit.saturating_mul(2), end));
        }
    }

    /// Whether something unreadable is being looked for; send one batch at a time then.
    pub fn is_searching(&self) -> bool {
        self.search.is_some()
    }

    /// The gateway could not read a batch of these.
    pub fn unreadable(&mut self, parts: &[Part]) -> Unreadable {
        let units = units(parts);
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return Unreadable::Again };
        self.halve(units, last);
        let alone = (first.offset, first.units.start);
        if units > 1 {
            return Unreadable::Halved;
        }
        if self.rejected.insert(alone) {
            return if first.readings { Unreadable::Reading(alone.0, alone.1) } else { Unreadable::Again };
        }
        self.rejected.remove(&alone);
        if first.readings {
            // Its claim was refused as well: it is not the reading. What a better gateway can read is not given up.
            return Unreadable::Again;
        }
        self.shipped(parts);
        Unreadable::GivenUp(first.offset)
    }

    /// A connection closed while these were the oldest in flight, and gave no reason, as MQTT 3.1.1 has none. True if
    /// it was the same batch so often that it goes in halves from now on. A reading alone is never given up for it:
    /// nobody said that the reading is at fault.
    pub fn closed_on(&mut self, parts: &[Part]) -> bool {
        let units = units(parts);
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return false };
        let start = (first.offset, first.units.start);
        let closes = match self.suspect {
            Some((at, of, closes)) if (at, of) == (start, units) => closes + 1,
            _ => 1,
        };
        self.suspect = Some((start, units, closes));
        if closes < SUSPICIOUS || units < 2 {
            return false;
        }
        self.halve(units, last);
        true
    }

    /// From now on at most half of it goes at once, until what it ended with is there.
    fn halve(&mut self, units: u32, last: &Part) {
        let end = self.search.map_or((last.offset, last.units.end), |(_, end)| end);
        self.search = Some(((units / 2).max(1), end));
    }

    /// Damaged records skipped since the last call.
    pub fn take_damaged(&mut self) -> u64 {
        core::mem::take(&mut self.damaged)
    }

    fn limit(&self) -> u32 {
        self.search.map_or(u32::MAX, |(limit, _)| limit)
    }

    fn is_full(&self) -> bool {
        self.forming.len() >= self.batch_bytes || self.units >= self.limit().min(FULL_UNITS)
    }

    /// Reads the next records; false when there are none.
    fn read_on(&mut self) -> Result<bool, ReadError> {
        let at = self.cursor.0.max(self.chunk.next_offset);
        if at >= self.reader.end_offset() {
            return Ok(false);
        }
        // The queue may drop its oldest segments at any moment.
        let from = at.max(self.reader.start_offset());
        self.chunk = match self.reader.read(from, WINDOW) {
            Err(ReadError::OutOfRange { got, start, .. }) if got < start => self.reader.read(start, WINDOW)?,
            read => read?,
        };
        for gap in &self.chunk.gaps {
            // Nothing can be sent of these; that they are lost is in the log and in the counters.
            self.damaged += gap.gap.end - gap.gap.start;
            self.state.lock().shipped.insert(gap.gap.clone());
        }
        Ok(self.chunk.next_offset > at)
    }

    /// Takes what fits of the chunk; false when the chunk is used up.
    fn take_from_chunk(&mut self) -> bool {
        let chunk = core::mem::take(&mut self.chunk);
        let mut used_up = true;
        for record in chunk.records() {
            let Ok(record) = record else {
                self.damaged += 1;
                continue;
            };
            if record.offset < self.cursor.0 {
                continue;
            }
            if record.offset > self.cursor.0 {
                self.cursor = (record.offset, 0);
            }
            if self.is_full() {
                used_up = false;
                break;
            }
            if self.state.lock().shipped.contains(record.offset) {
                self.cursor = (record.offset + 1, 0);
                continue;
            }
            let value = record.value.unwrap_or_default();
            let Some(Ok(section)) = Items::<Section<'_>>::new(value).iter().next() else {
                self.damaged += 1;
                self.state.lock().shipped.insert(record.offset..record.offset + 1);
                continue;
            };
            if !self.take_record(record.offset, &section, value) {
                used_up = false;
                break;
            }
        }
        if used_up {
            self.cursor = self.cursor.max((chunk.next_offset, 0));
        }
        self.chunk = if used_up { Chunk { next_offset: chunk.next_offset, ..Chunk::default() } } else { chunk };
        !used_up
    }

    /// Takes a record, or as much of it as the batch may hold; true when all of it was taken.
    fn take_record(&mut self, offset: u64, section: &Section<'_>, encoded: &[u8]) -> bool {
        let (of, readings) = match section {
            Section::Readings(run) => (run.count, true),
            // What rules made is one unit: a summary never goes without what it stands for.
            Section::Summary(_) | Section::SetAside(_) => (1, false),
            Section::Claim(_) | Section::End(_) | Section::Position(_) => (1, false),
        };
        let whole = self.cursor.1 == 0 && !self.partial.contains_key(&offset) && !self.has_rejected(offset);
        if whole && of <= self.limit() - self.units {
            self.forming.push_encoded(section, encoded);
            self.note(Part { offset, units: 0..of, of, readings });
            self.cursor = (offset + 1, 0);
            return true;
        }
        let acked = self.partial.get(&offset).cloned().unwrap_or_default();
        let missing: Vec<Range<u64>> = acked.gaps(u64::from(self.cursor.1)..u64::from(of)).collect();
        for range in missing {
            for unit in range {
                if self.is_full() {
                    self.cursor = (offset, unit as u32);
                    return false;
                }
                self.take_unit(offset, unit as u32, of, section);
            }
        }
        self.cursor = (offset + 1, 0);
        true
    }

    /// Takes one unit of a record that cannot be sent as it is.
    fn take_unit(&mut self, offset: u64, unit: u32, of: u32, section: &Section<'_>) {
        match section {
            Section::Readings(run) => {
                let sequence = Sequence(run.first.0 + u64::from(unit));
                if self.rejected.contains(&(offset, unit)) {
                    let (device, restart) = (run.device, run.restart);
                    let end = Sequence(sequence.0 + 1);
                    let claim = Claim { device, restart, kind: LossKind::Rejected, start: sequence, end };
                    self.forming.push(&Section::Claim(claim));
                } else {
                    self.forming.push(&alone(run, unit, sequence).section());
                }
            }
            other => self.forming.push(other),
        }
        let readings = matches!(section, Section::Readings(_));
        self.note(Part { offset, units: unit..unit + 1, of, readings });
    }

    fn note(&mut self, part: Part) {
        self.units += part.units.end - part.units.start;
        match self.parts.last_mut() {
            Some(last) if last.offset == part.offset && last.units.end == part.units.start => {
                last.units.end = part.units.end;
            }
            _ => self.parts.push(part),
        }
    }

    fn has_rejected(&self, offset: u64) -> bool {
        self.rejected.range((offset, 0)..(offset + 1, 0)).next().is_some()
    }
}

fn units(parts: &[Part]) -> u32 {
    parts.iter().map(|part| part.units.end - part.units.start).sum()
}

/// A run of one reading of `run`.
fn alone(run: &ReadingRun<'_>, unit: u32, sequence: Sequence) -> RunBuilder {
    let mut builder = RunBuilder::new(run.device, run.restart, run.schema, sequence);
    if let Some(Ok((_, reading))) = run.iter().nth(unit as usize) {
        builder.push(&reading);
    }
    builder
}

//! One lane: batches of the records of a stretch of one log, in its order.

use std::ops::Range;

use weir_protocol::Sequence;
use weir_protocol::batch::{Claim, EnvelopeBuilder, LossKind, MAX_READINGS, ReadingRun, RunBuilder, Section};
use weir_storage::{Chunk, ReadError};

use super::Part;
use super::source::Source;
use crate::queue::records::{self, HELD};
use crate::queue::{Key, SharedState};

/// Bytes of queue read at once.
const WINDOW: usize = 64 * 1024;

/// A batch of so many units is full: half of what a gateway takes, because one more record may still come.
const FULL_UNITS: u32 = (MAX_READINGS / 2) as u32;

/// So many connections in a row that close on one batch make it go in halves.
const SUSPICIOUS: u32 = 3;

/// A batch as a lane forms it.
pub(super) struct Formed {
    pub(super) payload: Vec<u8>,
    pub(super) parts: Vec<Part>,
    pub(super) units: u32,
    pub(super) newest: Option<(Key, Sequence)>,
}

/// Forms the batches of one lane.
pub(super) struct Lane {
    /// The next unit to put into a batch.
    cursor: (u64, u32),
    chunk: Chunk,
    forming: EnvelopeBuilder,
    parts: Vec<Part>,
    units: u32,
    /// The last reading among them.
    newest: Option<(Key, Sequence)>,
    /// The most units of a batch while something unreadable is looked for, and where the search ends.
    search: Option<(u32, (u64, u32))>,
    /// The batch that the last connection closed on, by its first unit and its units, and how many did so in a row.
    suspect: Option<((u64, u32), u32, u32)>,
}

impl Lane {
    pub(super) fn new() -> Self {
        Self {
            cursor: (0, 0),
            chunk: Chunk::default(),
            forming: EnvelopeBuilder::new(),
            parts: Vec::new(),
            units: 0,
            newest: None,
            search: None,
            suspect: None,
        }
    }

    /// Forgets what is forming and goes on at `offset`.
    pub(super) fn rewind(&mut self, offset: u64) {
        self.chunk = Chunk::default();
        // The builder has no way to be emptied but to finish.
        self.forming = EnvelopeBuilder::new();
        self.parts.clear();
        self.units = 0;
        self.newest = None;
        self.cursor = (offset, 0);
    }

    /// Takes over what the other one was looking for.
    pub(super) fn take_over(&mut self, other: &mut Self) {
        self.search = other.search.take().or(self.search);
        self.suspect = other.suspect.take().or(self.suspect);
    }

    /// The next record.
    pub(super) fn at(&self) -> u64 {
        self.cursor.0
    }

    /// Whether no record is taken in part.
    pub(super) fn is_between_batches(&self) -> bool {
        self.parts.is_empty() && self.cursor.1 == 0 && self.search.is_none()
    }

    pub(super) fn is_forming(&self) -> bool {
        !self.parts.is_empty()
    }

    pub(super) fn is_searching(&self) -> bool {
        self.search.is_some()
    }

    /// Takes records below `end` into the batch that is being formed; true when it is full.
    pub(super) fn fill(
        &mut self,
        source: &mut Source,
        state: &SharedState,
        end: u64,
        most: usize,
    ) -> Result<bool, ReadError> {
        loop {
            if self.is_full(most) {
                return Ok(true);
            }
            if !self.take_from_chunk(source, state, end, most) {
                if self.is_full(most) {
                    return Ok(true);
                }
                if !self.read_on(source, state, end)? {
                    return Ok(false);
                }
            }
        }
    }

    /// The batch as far as it is formed.
    pub(super) fn take(&mut self, compress: bool) -> Option<Formed> {
        if self.parts.is_empty() {
            return None;
        }
        let payload = self.forming.finish(compress);
        let (parts, units) = (core::mem::take(&mut self.parts), core::mem::take(&mut self.units));
        Some(Formed { payload, parts, units, newest: self.newest.take() })
    }

    /// The gateway has these.
    pub(super) fn shipped(&mut self, parts: &[Part]) {
        self.suspect = None;
        let reached = parts.last().map(|part| (part.offset, part.units.end));
        if let (Some((limit, end)), Some(reached)) = (self.search, reached) {
            self.search = (reached < end).then_some((limit.saturating_mul(2), end));
        }
    }

    /// See [`super::Spool::closed_on`].
    pub(super) fn closed_on(&mut self, parts: &[Part]) -> bool {
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
    pub(super) fn halve(&mut self, units: u32, last: &Part) {
        let end = self.search.map_or((last.offset, last.units.end), |(_, end)| end);
        self.search = Some(((units / 2).max(1), end));
    }

    fn limit(&self) -> u32 {
        self.search.map_or(u32::MAX, |(limit, _)| limit)
    }

    fn is_full(&self, most: usize) -> bool {
        self.forming.len() >= most || self.units >= self.limit().min(FULL_UNITS)
    }

    /// Reads the next records; false when there are none.
    fn read_on(&mut self, source: &mut Source, state: &SharedState, end: u64) -> Result<bool, ReadError> {
        let at = self.cursor.0.max(self.chunk.next_offset);
        let end = end.min(source.log.reader.end_offset());
        if at >= end {
            return Ok(false);
        }
        let reader = &source.log.reader;
        // The queue may drop its oldest segments at any moment; what the gateway has is passed over unread.
        let from = source.first_unshipped(at, state);
        if from >= end {
            self.cursor = (end, 0);
            return Ok(false);
        }
        self.chunk = match reader.read(from, WINDOW) {
            Err(ReadError::OutOfRange { got, start, .. }) if got < start => reader.read(start, WINDOW)?,
            read => read?,
        };
        for gap in &self.chunk.gaps {
            source.damaged(gap.gap.clone(), state);
        }
        Ok(self.chunk.next_offset > at)
    }

    /// Takes what fits of the chunk; false when the chunk is used up.
    fn take_from_chunk(&mut self, source: &mut Source, state: &SharedState, end: u64, most: usize) -> bool {
        let chunk = core::mem::take(&mut self.chunk);
        let mut used_up = true;
        for record in chunk.records() {
            let Ok(record) = record else {
                source.damaged += 1;
                continue;
            };
            if record.offset < self.cursor.0 {
                continue;
            }
            if record.offset >= end {
                break;
            }
            if record.offset > self.cursor.0 {
                self.cursor = (record.offset, 0);
            }
            if self.is_full(most) {
                used_up = false;
                break;
            }
            if source.is_done(record.offset, state) {
                self.cursor = (record.offset + 1, 0);
                continue;
            }
            if record.key.is_some_and(|key| key.starts_with(HELD)) {
                // A summary comes in its place.
                self.cursor = (record.offset + 1, 0);
                continue;
            }
            let value = source.log.value(&record);
            let value = value.as_deref().unwrap_or_default();
            let Some(section) = records::section(value) else {
                source.damaged(record.offset..record.offset + 1, state);
                continue;
            };
            if !self.take_record(source, record.offset, &section, value, most) {
                used_up = false;
                break;
            }
        }
        if used_up {
            self.cursor = self.cursor.max((chunk.next_offset.min(end), 0));
        }
        // What is behind the end may be wanted later, when the end is another.
        let next_offset = chunk.next_offset.min(end);
        self.chunk = if used_up { Chunk { next_offset, ..Chunk::default() } } else { chunk };
        !used_up
    }

    /// Takes a record, or as much of it as the batch may hold; true when all of it was taken.
    fn take_record(
        &mut self,
        source: &Source,
        offset: u64,
        section: &Section<'_>,
        encoded: &[u8],
        most: usize,
    ) -> bool {
        let (of, readings) = match section {
            Section::Readings(run) => (run.count, true),
            // What rules made is one unit: a summary never goes without what it stands for.
            Section::Summary(_) | Section::SetAside(_) => (1, false),
            Section::Claim(_) | Section::End(_) | Section::Position(_) => (1, false),
        };
        let whole = self.cursor.1 == 0 && source.is_whole(offset);
        if whole && of <= self.limit() - self.units {
            self.forming.push_encoded(section, encoded);
            if let Section::Readings(run) = section {
                let last = run.end().map(|end| Sequence(end.0.saturating_sub(1)));
                self.newest = last.map(|last| ((run.device, run.restart), last)).or(self.newest);
            }
            self.note(Part { offset, units: 0..of, of, readings });
            self.cursor = (offset + 1, 0);
            return true;
        }
        let acked = source.acknowledged(offset);
        let missing: Vec<Range<u64>> = acked.gaps(u64::from(self.cursor.1)..u64::from(of)).collect();
        for range in missing {
            for unit in range {
                if self.is_full(most) {
                    self.cursor = (offset, unit as u32);
                    return false;
                }
                self.take_unit(source, offset, unit as u32, of, section);
            }
        }
        self.cursor = (offset + 1, 0);
        true
    }

    /// Takes one unit of a record that cannot be sent as it is.
    fn take_unit(&mut self, source: &Source, offset: u64, unit: u32, of: u32, section: &Section<'_>) {
        match section {
            Section::Readings(run) => {
                let sequence = Sequence(run.first.0 + u64::from(unit));
                self.newest = Some(((run.device, run.restart), sequence));
                if source.is_rejected((offset, unit)) {
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
}

pub(super) fn units(parts: &[Part]) -> u32 {
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

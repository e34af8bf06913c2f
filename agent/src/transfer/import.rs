//! Into the class `default` of the queue: everything is read and checked, then read again and committed.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;
use std::sync::{Arc, mpsc};

use weir_protocol::batch::describe::Description;
use weir_protocol::batch::{Claim, Held, MAX_DETAIL, MAX_HELD, ReadingRun, RestartEnd, RunBuilder, Section};
use weir_protocol::{Items, RangeSet, Sequence, items};
use weir_storage::{Batch, Fs};

use super::ndjson::{self, Line, Place};
use super::{Totals, TransferError, segments};
use crate::queue::records::{ASIDE, Found, sequences};
use crate::queue::{ClassId, Entries, Key, Queue};

/// Records are committed together up to so many bytes.
const COMMIT: usize = 256 * 1024;
/// Readings of one record.
const RUN_READINGS: u32 = 1024;
/// Bytes of one record, about; a reading adds at most some hundred.
const RUN_BYTES: usize = 16 * 1024;
/// The longest line, in bytes: 256 channels described.
const MAX_LINE: u64 = 128 * 1024;
/// What a record takes beside its value, at most.
const RECORD_COST: u64 = 48;

/// Imports lines. `open` gives the same bytes each time it is called: they are read twice.
pub fn lines<R: BufRead>(queue: &Queue, open: impl Fn() -> std::io::Result<R>) -> Result<Totals, TransferError> {
    let unreadable = |error: std::io::Error| TransferError::Line { line: 0, reason: error.to_string() };
    let mut needed = Needed::default();
    let totals = read_lines(open().map_err(unreadable)?, &mut |item| needed.add(&item))?;
    needed.check(queue)?;
    let mut writer = Writer::new(queue);
    read_lines(open().map_err(unreadable)?, &mut |item| writer.add(&item))?;
    writer.finish()?;
    Ok(totals)
}

/// Checks lines and changes nothing.
pub fn check(input: impl BufRead) -> Result<Totals, TransferError> {
    read_lines(input, &mut |_| Ok(()))
}

/// Imports a directory of segments.
pub fn directory(queue: &Queue, fs: &Arc<dyn Fs>, dir: &Path) -> Result<Totals, TransferError> {
    let (log, state) = segments::open(fs, dir)?;
    let mut totals = Totals::default();
    let mut needed = Needed::default();
    let wrong = |offset: u64| TransferError::NotAnExport {
        path: dir.to_owned(),
        reason: format!("record {offset} cannot be decoded; nothing was imported"),
    };
    log.walk(0..u64::MAX, |found| match found {
        Found::Entry(entry) if is_good(&entry.section) => {
            super::count(&mut totals, &entry.section);
            needed.add(&Item::Section(entry.timestamp_ms, entry.section))
        }
        Found::Entry(entry) => Err(wrong(entry.offset)),
        Found::Held(offset, ..) => Err(wrong(offset)),
        Found::Unreadable(offsets) => Err(wrong(offsets.start)),
    })?;
    needed.check(queue)?;
    let mut writer = Writer::new(queue);
    for payload in state.descriptions.payloads() {
        if let Ok(description) = weir_protocol::batch::describe::decode(payload) {
            writer.add(&Item::Description(description))?;
        }
    }
    log.walk(0..u64::MAX, |found| match found {
        Found::Entry(entry) => writer.add(&Item::Section(entry.timestamp_ms, entry.section)),
        Found::Held(offset, ..) => Err(wrong(offset)),
        Found::Unreadable(offsets) => Err(wrong(offsets.start)),
    })?;
    writer.finish()?;
    Ok(totals)
}

/// Whether a gateway could read it.
fn is_good(section: &Section<'_>) -> bool {
    let is_run =
        |run: &ReadingRun<'_>| run.iter().all(|item| item.is_ok()) && run.end().is_some_and(|end| end <= Sequence::END);
    match section {
        Section::Readings(run) => is_run(run),
        Section::Claim(claim) => claim.start < claim.end && claim.end <= Sequence::END,
        Section::End(_) => true,
        Section::Position(_) => false,
        Section::SetAside(aside) => aside.expected.len() <= MAX_DETAIL && is_run(&aside.run),
        Section::Summary(summary) => {
            let ranges: Option<Vec<Held>> = summary.ranges.iter().map(Result::ok).collect();
            let is_sound = |ranges: Vec<Held>| {
                (1..=MAX_HELD).contains(&ranges.len())
                    && ranges.iter().all(|held| held.start < held.end && held.end <= Sequence::END)
                    && ranges.is_sorted_by(|one, next| one.end <= next.start)
            };
            is_run(&summary.run) && ranges.is_some_and(is_sound)
        }
    }
}

/// What an export says, one by one. Times are those of records, in milliseconds since 1970.
enum Item<'a> {
    Description(Description<'a>),
    Section(i64, Section<'a>),
}

/// Goes through lines: each is checked, and what it says handed on. Readings that follow on from each other are one run.
fn read_lines(
    mut input: impl BufRead,
    take: &mut impl FnMut(Item<'_>) -> Result<(), TransferError>,
) -> Result<Totals, TransferError> {
    let mut text = String::new();
    let mut number = 0;
    let mut totals = Totals::default();
    let mut total = None;
    let mut run: Option<Run> = None;
    loop {
        text.clear();
        number += 1;
        let wrong = |reason: String| TransferError::Line { line: number, reason };
        let mut limited = std::io::Read::take(&mut input, MAX_LINE);
        let length = limited.read_line(&mut text).map_err(|error| wrong(error.to_string()))?;
        if length == 0 {
            break;
        }
        if length as u64 == MAX_LINE {
            return Err(wrong(format!("got a line of {MAX_LINE} bytes or more, expected less")));
        }
        let line: Line = serde_json::from_str(text.trim_end()).map_err(|error| wrong(error.to_string()))?;
        if total.is_some() {
            return Err(wrong("got a line behind the total, expected the end".to_owned()));
        }
        match (number, &line) {
            (1, Line::Export { version: ndjson::VERSION }) => continue,
            (1, Line::Export { version }) => {
                return Err(wrong(format!("got version {version}, expected {}", ndjson::VERSION)));
            }
            (1, _) => return Err(wrong("expected {\"type\":\"export\",..} first".to_owned())),
            _ => {}
        }
        if !matches!(&line, Line::Reading(_))
            && let Some(run) = run.take()
        {
            take(run.item())?;
        }
        match line {
            Line::Export { .. } => return Err(wrong("got a second first line".to_owned())),
            Line::Channels { device, schema, channels } => {
                let device =
                    weir_protocol::DeviceId::new(&device).map_err(|error| wrong(format!("device: {error}")))?;
                let schema = ndjson::schema(&schema).map_err(wrong)?;
                let mut encoded = Vec::new();
                for channel in &channels {
                    items::push(&mut encoded, &channel.channel().map_err(wrong)?);
                }
                let description = Description { device, schema, channels: Items::new(&encoded) };
                let payload = weir_protocol::batch::describe::encode(&description);
                weir_protocol::batch::describe::decode(&payload).map_err(|error| wrong(error.to_string()))?;
                take(Item::Description(description))?;
            }
            Line::Reading(line) => {
                let place = line.place().map_err(wrong)?;
                let reading = line.reading().map_err(wrong)?;
                if let Some(full) = run.take_if(|run| !run.goes_on(&place)) {
                    take(full.item())?;
                }
                let run = run.get_or_insert_with(|| Run::new(&place, reading.time.as_millis()));
                run.builder.push(&reading);
                run.bytes += text.len() / 4;
                totals.readings += 1;
            }
            Line::Claim { tenant, device, restart, kind, start, end } => {
                let (device, restart) = ndjson::key(&tenant, &device, &restart).map_err(wrong)?;
                let (start, end) = (Sequence(start), Sequence(end));
                if start >= end || end > Sequence::END {
                    return Err(wrong(format!("got sequences {start} to {end}, expected start below end")));
                }
                totals.claims += 1;
                take(Item::Section(0, Section::Claim(Claim { device, restart, kind, start, end })))?;
            }
            Line::End { tenant, device, restart, from } => {
                let (device, restart) = ndjson::key(&tenant, &device, &restart).map_err(wrong)?;
                totals.ends += 1;
                take(Item::Section(0, Section::End(RestartEnd { device, restart, from: Sequence(from) })))?;
            }
            Line::Processed { section, .. } => {
                let bytes = ndjson::bytes(&section).map_err(wrong)?;
                let mut sections = Items::<Section<'_>>::new(&bytes).iter();
                let section = sections.next().and_then(Result::ok).filter(is_good);
                let section = section.ok_or_else(|| wrong("got a section that does not decode".to_owned()))?;
                super::count(&mut totals, &section);
                take(Item::Section(0, section))?;
            }
            Line::Total { readings, claims, ends } => total = Some(Totals { readings, claims, ends }),
        }
    }
    match total {
        Some(total) if total == totals => Ok(totals),
        Some(total) => {
            Err(TransferError::Line { line: number - 1, reason: format!("got {totals:?}, expected {total:?}") })
        }
        None => {
            let reason = "the file ends without its total: it was cut short; export again".to_owned();
            Err(TransferError::Line { line: number, reason })
        }
    }
}

/// Readings that follow on from each other.
struct Run {
    builder: RunBuilder,
    next: Place,
    bytes: usize,
    timestamp_ms: i64,
}

impl Run {
    fn new(place: &Place, timestamp_ms: i64) -> Self {
        let builder = RunBuilder::new(place.device, place.restart, place.schema, place.sequence);
        Self { builder, next: *place, bytes: 0, timestamp_ms }
    }

    fn goes_on(&self, place: &Place) -> bool {
        let next = Place { sequence: Sequence(self.next.sequence.0 + u64::from(self.builder.count())), ..self.next };
        next == *place && self.builder.count() < RUN_READINGS && self.bytes < RUN_BYTES
    }

    fn item(&self) -> Item<'_> {
        Item::Section(self.timestamp_ms, self.builder.section())
    }
}

/// The room that an import takes.
#[derive(Default)]
struct Needed {
    bytes: u64,
    encoded: Vec<u8>,
}

impl Needed {
    fn add(&mut self, item: &Item<'_>) -> Result<(), TransferError> {
        if let Item::Section(_, section) = item {
            self.encoded.clear();
            items::push(&mut self.encoded, section);
            self.bytes += self.encoded.len() as u64 + RECORD_COST;
        }
        Ok(())
    }

    fn check(&self, queue: &Queue) -> Result<(), TransferError> {
        // Segments end where a commit does not fit, and take whole blocks.
        let (needed, room) = (self.bytes + self.bytes / 16 + 8192, queue.room(ClassId::DEFAULT));
        if self.bytes > 0 && needed > room { Err(TransferError::NoRoom { needed, room }) } else { Ok(()) }
    }
}

/// Commits records.
struct Writer<'a> {
    queue: &'a Queue,
    batch: Batch,
    named: BTreeMap<Key, RangeSet>,
    encoded: Vec<u8>,
    described: bool,
}

impl<'a> Writer<'a> {
    fn new(queue: &'a Queue) -> Self {
        Self { queue, batch: Batch::new(), named: BTreeMap::new(), encoded: Vec::new(), described: false }
    }

    fn add(&mut self, item: &Item<'_>) -> Result<(), TransferError> {
        let (timestamp_ms, section) = match item {
            Item::Description(description) => {
                // It was decoded once, so it is good.
                self.described |= matches!(self.queue.state().lock().descriptions.insert(description), Ok(true));
                return Ok(());
            }
            Item::Section(timestamp_ms, section) => (timestamp_ms, section),
        };
        self.encoded.clear();
        items::push(&mut self.encoded, section);
        self.batch.push(*timestamp_ms, Some(ASIDE), Some(&self.encoded), &[])?;
        for (key, range) in sequences(section) {
            self.named.entry(key).or_default().insert(range);
        }
        if self.batch.byte_len() >= COMMIT { self.commit() } else { Ok(()) }
    }

    fn commit(&mut self) -> Result<(), TransferError> {
        // A reading is never in the queue without what it measures.
        if core::mem::take(&mut self.described) {
            self.queue.save()?;
        }
        let entries = Entries::of(core::mem::take(&mut self.batch));
        let (sender, done) = mpsc::channel();
        let submitted = self.queue.submit(entries, move |committed| {
            // A caller that is gone does not listen.
            let _ = sender.send(committed);
        });
        submitted.map_err(|_| TransferError::Gone)?;
        let committed = done.recv().map_err(|_| TransferError::Gone)?;
        for part in committed.parts {
            let (offsets, began) = part.result?;
            self.batch = part.spare;
            self.batch.clear();
            let named = core::mem::take(&mut self.named);
            self.queue.state().lock().of_mut(part.class).note(&offsets, began, &named);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), TransferError> {
        self.commit()?;
        Ok(self.queue.save()?)
    }
}

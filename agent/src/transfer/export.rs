//! Out of the queue: first a complete and durable file, then the claims, then the removal.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_protocol::batch::describe;
use weir_protocol::batch::{LossKind, Section, SetAside, Summary};
use weir_protocol::{Channel, ChannelId, DeviceId, RangeSet, SchemaHash};
use weir_storage::{File, Fs, IoError, Mode};

use super::ndjson::{self, Line, Place};
use super::{Form, Selection, Totals, TransferError, segments};
use weir_protocol::name::Name;

use crate::queue::records::{Entry, Found, sequences};
use crate::queue::{Claims, ClassLog, Queue, State};

/// Bytes written at once.
const BUFFER: usize = 256 * 1024;

/// What an export holds.
#[derive(Debug, Default)]
pub struct Exported {
    /// How much.
    pub totals: Totals,
    /// The records whose readings it holds, by class.
    offsets: BTreeMap<Name, RangeSet>,
    /// The claims that stand for those readings once they are gone.
    claims: Claims,
}

/// Writes what is selected and not shipped to `target`, which does not exist; it does when this returns, complete.
pub fn write(
    fs: &Arc<dyn Fs>,
    (logs, state): (&[ClassLog], &State),
    selection: Selection,
    form: Form,
    target: &Path,
) -> Result<Exported, TransferError> {
    if fs.exists(target).map_err(IoError::on("look at", target))? {
        return Err(TransferError::Exists(target.to_owned()));
    }
    match form {
        Form::Ndjson => lines(fs, (logs, state), selection, target),
        Form::Segments => {
            let mut writer = segments::Writer::create(fs, target)?;
            let exported = each(logs, state, selection, |entry| writer.push(entry.timestamp_ms, entry.encoded))?;
            for section in beside(state, selection) {
                let mut encoded = Vec::new();
                weir_protocol::items::push(&mut encoded, &section);
                writer.push(0, &encoded)?;
            }
            writer.finish(state)?;
            Ok(exported)
        }
    }
}

/// Takes what an export holds out of the queue: claimed, then counted as done with, then removed. Claims and ends stay,
/// this box answers for them.
pub fn give_away(queue: &Queue, exported: Exported) -> Result<(), TransferError> {
    queue.claim(&exported.claims)?;
    {
        let state = queue.state();
        let mut state = state.lock();
        for class in queue.ids() {
            let taken = exported.offsets.get(&queue.name(class)).into_iter().flat_map(RangeSet::iter);
            taken.for_each(|range| state.of_mut(class).shipped.insert(range));
        }
    }
    Ok(queue.trim()?)
}

/// Visits what is selected of the logs.
fn each(
    logs: &[ClassLog],
    state: &State,
    selection: Selection,
    mut visit: impl FnMut(&Entry<'_>) -> Result<(), TransferError>,
) -> Result<Exported, TransferError> {
    let mut exported = Exported::default();
    for log in logs {
        let shipped = state.named(log.name).map(|class| class.shipped.clone()).unwrap_or_default();
        let taken = exported.offsets.entry(log.name).or_default();
        log.walk(0..u64::MAX, |found| -> Result<(), TransferError> {
            let Found::Entry(entry) = found else { return Ok(()) };
            if shipped.contains(entry.offset) || !selection.takes(device(&entry.section)) {
                return Ok(());
            }
            super::count(&mut exported.totals, &entry.section);
            let run = match &entry.section {
                Section::Readings(run)
                | Section::SetAside(SetAside { run, .. })
                | Section::Summary(Summary { run, .. }) => run,
                Section::Claim(_) | Section::End(_) | Section::Position(_) => return visit(&entry),
            };
            taken.insert(entry.offset..entry.offset + 1);
            for (key, range) in sequences(&entry.section) {
                let is_reading = key == (run.device, run.restart);
                exported.claims.add(key, if is_reading { LossKind::Exported } else { LossKind::Reduced }, range);
            }
            visit(&entry)
        })?;
    }
    for section in beside(state, selection) {
        super::count(&mut exported.totals, &section);
    }
    Ok(exported)
}

/// What is selected of the claims beside the log.
fn beside(state: &State, selection: Selection) -> impl Iterator<Item = Section<'static>> {
    let sections = state.claims.sections(usize::MAX).into_iter();
    sections.filter(move |section| selection.takes(device(section)))
}

fn device(section: &Section<'_>) -> DeviceId {
    match section {
        Section::Readings(run) => run.device,
        Section::Claim(claim) => claim.device,
        Section::End(end) => end.device,
        Section::Position(position) => position.device,
        Section::Summary(summary) => summary.run.device,
        Section::SetAside(aside) => aside.run.device,
    }
}

/// Names of channels, as far as they were described.
type Names = BTreeMap<(DeviceId, SchemaHash, ChannelId), String>;

fn lines(
    fs: &Arc<dyn Fs>,
    (logs, state): (&[ClassLog], &State),
    selection: Selection,
    target: &Path,
) -> Result<Exported, TransferError> {
    let temporary = PathBuf::from(format!("{}.part", target.display()));
    let mut writer = Writer::create(&**fs, &temporary)?;
    writer.line(&Line::Export { version: ndjson::VERSION })?;
    let mut names = Names::new();
    for payload in state.descriptions.payloads() {
        let Ok(description) = describe::decode(payload) else { continue };
        if !selection.takes(description.device) {
            continue;
        }
        let channels: Vec<Channel<'_>> = description.channels.into_iter().flatten().collect();
        for channel in &channels {
            names.insert((description.device, description.schema, channel.id), channel.name.to_owned());
        }
        writer.line(&Line::channels(description.device, description.schema, channels.into_iter()))?;
    }
    let exported = each(logs, state, selection, |entry| writer.section(&entry.section, &names))?;
    for section in beside(state, selection) {
        writer.section(&section, &names)?;
    }
    let totals = writer.totals;
    let Totals { readings, claims, ends } = totals;
    writer.line(&Line::Total { readings, claims, ends })?;
    writer.finish()?;
    fs.rename(&temporary, target).map_err(IoError::on("rename", &temporary))?;
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs.sync_dir(parent).map_err(IoError::on("sync", parent))?;
    Ok(Exported { totals, ..exported })
}

/// Writes lines to a file.
struct Writer {
    file: Box<dyn File>,
    path: PathBuf,
    at: u64,
    buffer: Vec<u8>,
    /// What was written.
    totals: Totals,
}

impl Writer {
    fn create(fs: &dyn Fs, path: &Path) -> Result<Self, IoError> {
        let file = fs.open(path, Mode::Create).map_err(IoError::on("create", path))?;
        file.set_len(0).map_err(IoError::on("cut", path))?;
        Ok(Self { file, path: path.to_owned(), at: 0, buffer: Vec::with_capacity(BUFFER), totals: Totals::default() })
    }

    fn section(&mut self, section: &Section<'_>, names: &Names) -> Result<(), TransferError> {
        match section {
            Section::Readings(run) => {
                for item in run.iter() {
                    // What cannot be decoded no gateway could read either.
                    let Ok((sequence, reading)) = item else { break };
                    let place = Place { device: run.device, restart: run.restart, sequence, schema: run.schema };
                    let name = names.get(&(run.device, run.schema, reading.channel)).map(String::as_str);
                    self.line(&Line::reading(&place, &reading, name))?;
                    self.totals.readings += 1;
                }
            }
            Section::Claim(claim) => {
                self.line(&Line::claim(claim))?;
                self.totals.claims += 1;
            }
            Section::End(end) => {
                self.line(&Line::end(end))?;
                self.totals.ends += 1;
            }
            Section::Summary(_) | Section::SetAside(_) => {
                self.line(&Line::processed(device(section), section))?;
                super::count(&mut self.totals, section);
            }
            Section::Position(_) => {}
        }
        Ok(())
    }

    fn line(&mut self, line: &Line) -> Result<(), IoError> {
        let on = IoError::on("write", &self.path);
        serde_json::to_writer(&mut self.buffer, line).map_err(|error| on(error.into()))?;
        self.buffer.push(b'\n');
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), IoError> {
        self.file.write_at(&self.buffer, self.at).map_err(IoError::on("write", &self.path))?;
        self.at += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<(), IoError> {
        self.flush()?;
        self.file.sync_data().map_err(IoError::on("sync", &self.path))
    }
}

//! The records of a class, read in order through a window.
//!
//! The value of a record is an encoded [`Section`]. Its key is empty, or [`ASIDE`] if it says nothing about how far
//! a device was accepted here: readings and claims that were imported, or moved by a repair. A key that begins with
//! [`HELD`] is that of readings in an open window, which are never sent: [`crate::processing`] puts a summary in their
//! place. They are in `default`, whatever the class of the summary.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use weir_protocol::batch::Section;
use weir_protocol::items::Items;
use weir_protocol::name::Name;
use weir_storage::{Fs, IoError, ReadError, Reader, Record, RecoveryMode};

use super::class::log_dir;
use super::{QueueError, Vault};

/// The key of a record that says nothing about how far a device was accepted here.
pub const ASIDE: &[u8] = b"aside";

/// What the key of a record of readings in an open window begins with; what follows says which window.
pub const HELD: &[u8] = b"held";

/// Bytes read at once.
const WINDOW: usize = 64 * 1024;

/// A record that can be read.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Its place.
    pub offset: u64,
    /// When it was committed, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Whether its key is [`ASIDE`].
    pub aside: bool,
    /// What it says.
    pub section: Section<'a>,
    /// The same, encoded.
    pub encoded: &'a [u8],
}

/// What lies at the next offsets.
#[derive(Clone, Debug)]
pub enum Found<'a> {
    /// A record.
    Entry(Entry<'a>),
    /// Readings in a window: its offset, what follows [`HELD`] in its key, and the readings.
    Held(u64, &'a [u8], Section<'a>),
    /// Offsets of which nothing can be read.
    Unreadable(Range<u64>),
}

/// The log of one class, to read it.
#[derive(Clone)]
pub struct ClassLog {
    /// What the class is called.
    pub name: Name,
    /// Its log.
    pub reader: Reader,
    vault: Arc<Vault>,
}

impl ClassLog {
    pub(super) fn new(name: Name, reader: Reader, vault: &Arc<Vault>) -> Self {
        Self { name, reader, vault: Arc::clone(vault) }
    }

    /// Opens the log of a class below `data_dir` for reading only: takes no lock and changes no file.
    pub fn open(fs: &Arc<dyn Fs>, data_dir: &Path, name: Name, vault: &Arc<Vault>) -> Result<Self, IoError> {
        let (reader, _) = Reader::open(fs, &log_dir(data_dir, name), RecoveryMode::Tail)?;
        Ok(Self::new(name, reader, vault))
    }

    /// The section that a record holds, encoded; none if its key is not there.
    pub fn value<'a>(&self, record: &Record<'a>) -> Option<Cow<'a, [u8]>> {
        let value = record.value.unwrap_or_default();
        let what = sealed_as(self.name, record.key);
        Some(self.vault.open(&[&what[0], &what[1], &what[2]], value).ok()?.map_or(Cow::Borrowed(value), Cow::Owned))
    }

    /// An encoded section as it is stored.
    pub(super) fn sealed(&self, key: Option<&[u8]>, encoded: &[u8]) -> Vec<u8> {
        let what = sealed_as(self.name, key);
        self.vault.seal(&[&what[0], &what[1], &what[2]], encoded.to_vec())
    }

    /// Whether the first record that can be read opens.
    pub(super) fn check_key(&self) -> Result<(), QueueError> {
        let start = self.reader.start_offset();
        let chunk = self.reader.read(start, 1)?;
        let first = chunk.records().flatten().next();
        if let Some(record) = first {
            let what = sealed_as(self.name, record.key);
            self.vault.open(&[&what[0], &what[1], &what[2]], record.value.unwrap_or_default())?;
        }
        Ok(())
    }

    /// Goes through the records at `offsets`. Nothing is said of an offset that lies before the start of the log.
    pub fn walk<E: From<ReadError>>(
        &self,
        offsets: Range<u64>,
        mut visit: impl FnMut(Found<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let reader = &self.reader;
        let mut at = offsets.start.max(reader.start_offset());
        let end = offsets.end.min(reader.end_offset());
        while at < end {
            let chunk = reader.read(at, WINDOW)?;
            let mut next = at;
            for record in chunk.records().flatten() {
                if record.offset >= end {
                    break;
                }
                if record.offset > next {
                    visit(Found::Unreadable(next..record.offset))?;
                }
                next = record.offset + 1;
                let value = self.value(&record);
                let encoded = value.as_deref().unwrap_or_default();
                let section = section(encoded);
                let window = record.key.and_then(|key| key.strip_prefix(HELD));
                visit(match (section, window) {
                    (None, _) => Found::Unreadable(record.offset..next),
                    (Some(section), Some(window)) => Found::Held(record.offset, window, section),
                    (Some(section), None) => Found::Entry(Entry {
                        offset: record.offset,
                        timestamp_ms: record.timestamp_ms,
                        aside: record.key == Some(ASIDE),
                        section,
                        encoded,
                    }),
                })?;
            }
            let read = chunk.next_offset.min(end);
            if read > next {
                visit(Found::Unreadable(next..read))?;
            }
            if chunk.next_offset <= at {
                break;
            }
            at = chunk.next_offset;
        }
        Ok(())
    }
}

/// The section that the value of a record is. None: it is not one, or names nothing where it must, which no batch may hold
/// and no agent wrote.
pub fn section(encoded: &[u8]) -> Option<Section<'_>> {
    let mut items = Items::<Section<'_>>::new(encoded).iter();
    let section = items.next()?.ok().filter(|section| !matches!(section, Section::Position(_)))?;
    let is_sound = items.rest().is_empty() && section.spans().all(|span| span.start < span.end);
    is_sound.then_some(section)
}

/// What a record is, where it is sealed.
pub(super) fn sealed_as(class: Name, key: Option<&[u8]>) -> [Vec<u8>; 3] {
    [b"record".to_vec(), class.as_str().as_bytes().to_vec(), key.unwrap_or_default().to_vec()]
}

/// The sequences that a section names.
pub fn sequences(section: &Section<'_>) -> impl Iterator<Item = (super::Key, Range<u64>)> {
    section.spans().map(|span| ((span.device, span.restart), span.start.0..span.end.0))
}

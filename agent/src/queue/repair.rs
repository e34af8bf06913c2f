//! Repair: a queue without damage, of what can be read of a damaged one.
//!
//! Guarantees: nothing is deleted that is not written again or kept in `queue/damaged/`; what can be read keeps its
//! order; a crash at any point leaves a queue that the agent opens, with some records twice at most, which the gateway
//! drops. What cannot be read is missing in every position from then on, so that it is exactly unaccounted.
//!
//! The readable records are appended once more behind the last one, in segments of their own, and then everything
//! before them goes: offsets are never used twice.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_storage::{Batch, CommitError, Fs, IoError, Log, LogOptions, Mode, ReadError, StateFile, durable};

use super::blocks::Blocks;
use super::examination::Examination;
use super::records::{ASIDE, Found, sequences, walk};
use super::{CLAIMS_FILE, Claims, Incarnation, LOG_DIR, QueueError, STATE_FILE, State, recovery};

/// The directory below the log's where damaged files are kept.
pub const DAMAGED_DIR: &str = "damaged";
/// A segment of the new part.
const SEGMENT: usize = 4 << 20;
/// Bytes copied at once.
const WINDOW: usize = 64 * 1024;

/// What a repair did.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Repaired {
    /// Damaged places found, by file, byte and offsets.
    pub damage: Vec<String>,
    /// Where damaged files are now.
    pub kept: Vec<PathBuf>,
    /// Records that were written again.
    pub records: u64,
}

/// Why a repair failed; the queue is as good as before.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// The queue could not be opened or read.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// A record could not be written again.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// A record was too large to be written again, which no agent wrote.
    #[error(transparent)]
    TooLarge(#[from] weir_storage::RecordTooLarge),
}

impl From<ReadError> for RepairError {
    fn from(error: ReadError) -> Self {
        Self::Queue(error.into())
    }
}

impl From<IoError> for RepairError {
    fn from(error: IoError) -> Self {
        Self::Queue(error.into())
    }
}

/// Repairs the queue below `data_dir`, which nobody else has open. `incarnation` is for one whose state is lost.
pub fn repair(fs: &Arc<dyn Fs>, data_dir: &Path, incarnation: Incarnation) -> Result<Repaired, RepairError> {
    let dir = data_dir.join(LOG_DIR);
    // No cap, and a segment for each commit.
    let options = LogOptions { segment_bytes: 1, ..LogOptions::default() };
    let (mut log, found) = Log::open(Arc::clone(fs), &dir, options).map_err(QueueError::from)?;
    let examination = Examination::read(fs, data_dir)?;
    if examination.is_good() {
        return Ok(Repaired::default());
    }
    let mut kept = Vec::new();
    let damaged = dir.join(DAMAGED_DIR);
    durable::create_dir_all(&**fs, &damaged)?;
    let files = examination.files.iter().map(|name| (data_dir.join(name), *name));
    let segments = examination.damaged.iter().map(|name| (dir.join(name), name.as_str()));
    for (from, name) in files.chain(segments) {
        let to = free_name(&**fs, &damaged, name)?;
        copy(&**fs, &from, &to)?;
        kept.push(to);
    }
    fs.sync_dir(&damaged).map_err(IoError::on("sync", &damaged))?;

    let file = StateFile::new(Arc::clone(fs), &data_dir.join(STATE_FILE));
    let claims = StateFile::new(Arc::clone(fs), &data_dir.join(CLAIMS_FILE));
    let reader = log.reader();
    let (mut state, _) = recovery::recover(&file, &claims, &reader, found, incarnation)?;
    if examination.files.contains(CLAIMS_FILE) {
        claims.replace(&Claims::default().encode())?;
    }
    let old = reader.start_offset()..reader.end_offset();
    let mut records = 0;
    if !examination.damaged.is_empty() {
        let shipped = state.shipped.clone();
        state.blocks = Blocks::default();
        let mut batch = Batch::new();
        walk(&reader, old.clone(), |found| -> Result<(), RepairError> {
            let Found::Entry(entry) = found else { return Ok(()) };
            if shipped.contains(entry.offset) {
                return Ok(());
            }
            batch.push(entry.timestamp_ms, entry.aside.then_some(ASIDE), Some(entry.encoded), &[])?;
            let offset = old.end + records;
            state.blocks.note(offset..offset + 1, batch.record_count() == 1, sequences(&entry.section));
            records += 1;
            if batch.byte_len() >= SEGMENT {
                log.commit(&mut batch)?;
                batch.clear();
            }
            Ok(())
        })?;
        log.commit(&mut batch)?;
        if records == 0 {
            // Its name alone says where the log goes on.
            drop(log);
            let path = dir.join(format!("{:020}.log", old.end));
            let empty = fs.open(&path, Mode::Create).map_err(IoError::on("create", &path))?;
            empty.sync_data().map_err(IoError::on("sync", &path))?;
            fs.sync_dir(&dir).map_err(IoError::on("sync", &dir))?;
            log = Log::open(Arc::clone(fs), &dir, options).map_err(QueueError::from)?.0;
        }
        state.shipped.insert(old.clone());
        state.covered = log.next_offset();
        file.replace(&state.encode())?;
        let kept_from = log.remove_before(old.end)?;
        state.shipped.remove(0..kept_from);
    }
    save(&file, &state)?;
    Ok(Repaired { damage: examination.damage, kept, records })
}

fn save(file: &StateFile, state: &State) -> Result<(), IoError> {
    file.replace(&state.encode())
}

/// A name that no earlier repair took.
fn free_name(fs: &dyn Fs, dir: &Path, name: &str) -> Result<PathBuf, IoError> {
    let mut path = dir.join(name);
    let mut number = 1;
    while fs.exists(&path).map_err(IoError::on("look at", &path))? {
        path = dir.join(format!("{name}.{number}"));
        number += 1;
    }
    Ok(path)
}

/// Copies what can be read; what the device cannot read becomes zeros. Durable but for its name.
fn copy(fs: &dyn Fs, from: &Path, to: &Path) -> Result<(), IoError> {
    let source = fs.open(from, Mode::Read).map_err(IoError::on("open", from))?;
    let target = fs.open(to, Mode::CreateNew).map_err(IoError::on("create", to))?;
    let size = source.size().map_err(IoError::on("measure", from))?;
    let mut buffer = vec![0; WINDOW];
    let mut at = 0;
    while at < size {
        let wanted = (size - at).min(WINDOW as u64) as usize;
        let bytes = &mut buffer[..wanted];
        let read = match source.read_at(bytes, at) {
            Ok(0) => break,
            Ok(read) => read,
            Err(_) => {
                bytes.fill(0);
                wanted
            }
        };
        target.write_at(&buffer[..read], at).map_err(IoError::on("write", to))?;
        at += read as u64;
    }
    target.sync_data().map_err(IoError::on("sync", to))
}

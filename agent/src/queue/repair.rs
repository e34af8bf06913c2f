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

use weir_storage::{Batch, CommitError, Fs, IoError, Log, LogOptions, Mode, ReadError, RecoveryMode, durable};

use super::blocks::Blocks;
use super::class::{classes_on_disk, log_dir};
use super::examination::Examination;
use super::records::{ASIDE, ClassLog, Found, sequences};
use super::sealed_file::SealedFile;
use super::{CLAIMS_FILE, Claims, Files, Incarnation, LOG_DIR, QueueError, STATE_FILE, State, Vault, recovery};

/// The directory below the log's where damaged files are kept.
pub const DAMAGED_DIR: &str = "damaged";
/// A segment of the new part.
const SEGMENT: usize = 4 << 20;
/// No cap, and a segment for each commit.
const OPTIONS: LogOptions = LogOptions {
    segment_bytes: 1,
    cap_bytes: None,
    room_bytes: 0,
    index_interval_bytes: 64 * 1024,
    expose_on_commit: true,
    recovery: RecoveryMode::Full,
};
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
pub fn repair(
    fs: &Arc<dyn Fs>,
    data_dir: &Path,
    vault: &Arc<Vault>,
    incarnation: Incarnation,
) -> Result<Repaired, RepairError> {
    Files::load(fs, data_dir, vault).map_err(QueueError::from)?;
    let mut open = Vec::new();
    let mut found = Vec::new();
    for name in classes_on_disk(&**fs, data_dir)? {
        let opened = Log::open(Arc::clone(fs), &log_dir(data_dir, name), OPTIONS).map_err(QueueError::from)?;
        open.push((ClassLog::new(name, opened.0.reader(), vault), opened.0));
        found.push(opened.1);
    }
    let examination = Examination::read(fs, data_dir, vault)?;
    if examination.is_good() {
        return Ok(Repaired::default());
    }
    let kept = keep_aside(fs, data_dir, &examination)?;
    let file = SealedFile::new(fs, data_dir, STATE_FILE, vault);
    let claims = SealedFile::new(fs, data_dir, CLAIMS_FILE, vault);
    let logs: Vec<ClassLog> = open.iter().map(|(log, _)| log.clone()).collect();
    let (mut state, _) = recovery::recover(&file, &claims, &logs, found, incarnation)?;
    if examination.files.contains(CLAIMS_FILE) {
        claims.replace(Claims::default().encode())?;
    }
    let mut records = 0;
    for (at, (read, log)) in open.into_iter().enumerate() {
        let below = log_dir(Path::new(""), read.name);
        if examination.damaged.iter().any(|file| file.parent() == Some(&below)) {
            records += write_again(fs, data_dir, (&read, log), (&file, &mut state, at))?;
        }
    }
    file.replace(state.encode())?;
    Ok(Repaired { damage: examination.damage, kept, records })
}

/// Copies what is damaged to where nobody deletes it; where it is then.
fn keep_aside(fs: &Arc<dyn Fs>, data_dir: &Path, examination: &Examination) -> Result<Vec<PathBuf>, RepairError> {
    let mut kept = Vec::new();
    let damaged = data_dir.join(LOG_DIR).join(DAMAGED_DIR);
    durable::create_dir_all(&**fs, &damaged)?;
    let files = examination.files.iter().map(|name| (data_dir.join(name), (*name).to_owned()));
    let segments = examination.damaged.iter().map(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let class = file.parent().filter(|below| *below != Path::new(LOG_DIR)).and_then(Path::file_name);
        let name = class.map_or(name.clone(), |class| format!("{}-{name}", class.to_string_lossy()));
        (data_dir.join(file), name)
    });
    for (from, name) in files.chain(segments) {
        let to = free_name(&**fs, &damaged, &name)?;
        copy(&**fs, &from, &to)?;
        kept.push(to);
    }
    fs.sync_dir(&damaged).map_err(IoError::on("sync", &damaged))?;
    Ok(kept)
}

/// Appends what can be read of the class at `at` once more, and removes what was before; how many records that was.
fn write_again(
    fs: &Arc<dyn Fs>,
    data_dir: &Path,
    (read, mut log): (&ClassLog, Log),
    (file, state, at): (&SealedFile, &mut State, usize),
) -> Result<u64, RepairError> {
    let old = read.reader.start_offset()..read.reader.end_offset();
    let class = &mut state.classes[at];
    let shipped = class.shipped.clone();
    class.blocks = Blocks::default();
    let mut records = 0;
    let mut batch = Batch::new();
    read.walk(old.clone(), |found| -> Result<(), RepairError> {
        let Found::Entry(entry) = found else { return Ok(()) };
        if shipped.contains(entry.offset) {
            return Ok(());
        }
        let key = entry.aside.then_some(ASIDE);
        batch.push(entry.timestamp_ms, key, Some(&read.sealed(key, entry.encoded)), &[])?;
        let offset = old.end + records;
        class.blocks.note(offset..offset + 1, batch.record_count() == 1, sequences(&entry.section));
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
        let dir = log_dir(data_dir, read.name);
        let path = dir.join(format!("{:020}.log", old.end));
        let empty = fs.open(&path, Mode::Create).map_err(IoError::on("create", &path))?;
        empty.sync_data().map_err(IoError::on("sync", &path))?;
        fs.sync_dir(&dir).map_err(IoError::on("sync", &dir))?;
        log = Log::open(Arc::clone(fs), &dir, OPTIONS).map_err(QueueError::from)?.0;
    }
    class.shipped.insert(old.clone());
    class.covered = log.next_offset();
    file.replace(state.encode())?;
    let kept_from = log.remove_before(old.end)?;
    state.classes[at].shipped.remove(0..kept_from);
    Ok(records)
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

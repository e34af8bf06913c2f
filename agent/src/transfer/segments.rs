//! The form of an export for many readings: a directory that looks like the agent's own.
//!
//! `queue/` is a log of the records, as the queue had them and in its order; `state` holds the descriptions, covers
//! all records, and is written last: a directory without it is not complete.

use std::path::Path;
use std::sync::Arc;

use weir_storage::{Batch, Fs, Log, LogOptions, Reader, RecoveryMode, StateFile, durable};

use super::TransferError;
use crate::queue::records::ASIDE;
use crate::queue::{
    ClassId, ClassLog, DEFAULT_CLASS, FileError, Files, Incarnation, LOG_DIR, QueueError, STATE_FILE, State,
};

/// A record is committed with others up to so many bytes.
const COMMIT: usize = 1 << 20;

/// Writes an export.
pub(super) struct Writer {
    fs: Arc<dyn Fs>,
    dir: std::path::PathBuf,
    log: Log,
    batch: Batch,
}

impl Writer {
    /// Starts in a directory that does not exist.
    pub(super) fn create(fs: &Arc<dyn Fs>, dir: &Path) -> Result<Self, TransferError> {
        durable::create_dir_all(&**fs, dir)?;
        let opened = Log::open(Arc::clone(fs), &dir.join(LOG_DIR), LogOptions::default());
        let (log, _) = opened.map_err(QueueError::from)?;
        Ok(Self { fs: Arc::clone(fs), dir: dir.to_owned(), log, batch: Batch::new() })
    }

    /// Adds a record.
    pub(super) fn push(&mut self, timestamp_ms: i64, encoded: &[u8]) -> Result<(), TransferError> {
        self.batch.push(timestamp_ms, Some(ASIDE), Some(encoded), &[])?;
        if self.batch.byte_len() >= COMMIT { self.commit() } else { Ok(()) }
    }

    /// Makes it complete.
    pub(super) fn finish(mut self, described: &State) -> Result<(), TransferError> {
        self.commit()?;
        let mut state = State::new(Incarnation(described.incarnation.0));
        state.descriptions = described.descriptions.clone();
        state.of_mut(ClassId::DEFAULT).covered = self.log.next_offset();
        Ok(StateFile::new(Arc::clone(&self.fs), &self.dir.join(STATE_FILE)).replace(&state.encode())?)
    }

    fn commit(&mut self) -> Result<(), TransferError> {
        if !self.batch.is_empty() {
            self.log.commit(&mut self.batch)?;
            self.batch.clear();
        }
        Ok(())
    }
}

/// Opens an export: its records, and the state with its descriptions.
pub(super) fn open(fs: &Arc<dyn Fs>, dir: &Path) -> Result<(ClassLog, State), TransferError> {
    let wrong = |reason: String| TransferError::NotAnExport { path: dir.to_owned(), reason };
    let vault = Arc::default();
    let files: Result<Files, FileError> = Files::load(fs, dir, &vault);
    let state = match files.map_err(QueueError::from)? {
        Files { state: Some(state), .. } => state,
        Files { state_damage: Some(reason), .. } => return Err(wrong(format!("damaged: {reason}"))),
        _ => return Err(wrong(format!("got no file `{STATE_FILE}`, expected a complete export of segments"))),
    };
    let (_, found) = Reader::open(fs, &dir.join(LOG_DIR), RecoveryMode::Full)?;
    if let Some(damage) = found.damage.first() {
        return Err(wrong(format!("damaged: {damage}")));
    }
    let log = ClassLog::open(fs, dir, DEFAULT_CLASS, &vault)?;
    let (got, expected) = (log.reader.end_offset(), state.of(ClassId::DEFAULT).covered);
    if got != expected {
        return Err(wrong(format!("got {got} records, expected {expected}")));
    }
    Ok((log, state))
}

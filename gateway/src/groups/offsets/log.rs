//! The log of the offsets topic, and its writer.
//!
//! Guarantees: what [`OffsetLog::submit`] reports as written is on disk; records are written, and reported, in the order
//! they were submitted; a record that was reported as failed is not in the log, now or later.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use thiserror::Error;
use weir_storage::{
    Batch, Committer, CommitterOptions, Compaction, CompactionOptions, Completion, Fs, IoError, Log, LogOptions,
    OpenError, ReadError, Reader, Recovery, RemoveError, Submission, SubmitError, durable,
};

use super::clock::Clock;
use super::record::{self, Key, Said, Usage};
use super::table::Table;
use super::{Committed, TOPIC};
use crate::groups::names::GroupId;
use crate::topics::layout;

/// Bytes read at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// A small segment: closed ones are what compaction works on.
const SEGMENT_BYTES: u64 = 4 << 20;

/// Why the offsets cannot be had.
#[derive(Debug, Error)]
pub enum OffsetsError {
    /// The log cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The filesystem refused, or there is no thread.
    #[error(transparent)]
    Io(#[from] IoError),
}

/// What was found in the log.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) table: Table,
    /// The clock of the newest record, and its wall clock.
    pub(crate) last: (i64, i64),
    pub(crate) records: u64,
    /// Records that another build wrote, or nobody.
    pub(crate) foreign: u64,
}

/// The directory of the log.
pub(crate) fn dir(data: &Path) -> PathBuf {
    data.join(layout::TOPICS).join(TOPIC).join("0")
}

/// Opens the log, making it if it is not there.
pub(crate) fn open(fs: &Arc<dyn Fs>, data: &Path, options: LogOptions) -> Result<(Log, Recovery), OffsetsError> {
    let dir = dir(data);
    durable::create_dir_all(&**fs, &dir)?;
    Ok(Log::open(Arc::clone(fs), &dir, options)?)
}

/// How the log is kept.
pub(crate) fn options() -> LogOptions {
    LogOptions { segment_bytes: SEGMENT_BYTES, ..LogOptions::default() }
}

/// Reads all that the log says.
pub(crate) fn read(reader: &Reader) -> Result<Found, ReadError> {
    let mut found = Found::default();
    let mut next = reader.start_offset();
    loop {
        let chunk = reader.read(next, CHUNK_BYTES)?;
        if chunk.next_offset == next {
            return Ok(found);
        }
        next = chunk.next_offset;
        for record in chunk.records().filter_map(Result::ok) {
            found.records += 1;
            match record::decode(record.key.unwrap_or_default(), record.value, record.timestamp_ms) {
                Ok((key, said)) => {
                    let clock = match &said {
                        Said::Offset(Some(committed)) => committed.clock_ms,
                        Said::Group(Some(usage)) => usage.clock_ms,
                        _ => i64::MIN,
                    };
                    if clock >= found.last.0 {
                        found.last = (clock, record.timestamp_ms);
                    }
                    found.table.apply(key, said);
                }
                Err(_) => found.foreign += 1,
            }
        }
    }
}

impl Found {
    /// The clock, gone on from the newest record.
    pub(crate) fn clock(&self, wall_ms: i64) -> Clock {
        match self.records {
            0 => Clock::resume(0, wall_ms, wall_ms),
            _ => Clock::resume(self.last.0, self.last.1, wall_ms),
        }
    }
}

/// Records on their way to the log.
#[derive(Default)]
pub(crate) struct Records {
    batch: Batch,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Records {
    /// Adds a record: bounded names and metadata are far below the largest one.
    fn push(&mut self, at_ms: i64, is_kept: bool) {
        let value = is_kept.then_some(&self.value[..]);
        let pushed = self.batch.push(at_ms, Some(&self.key), value, &[]);
        debug_assert!(pushed.is_ok(), "names and metadata are bounded");
    }

    /// An offset.
    pub(crate) fn offset(&mut self, group: &GroupId, topic: &str, partition: u32, committed: &Committed) {
        Key::Offset { group: group.as_str(), topic, partition }.encode(&mut self.key);
        committed.encode(&mut self.value);
        self.push(committed.at_ms, true);
    }

    /// The end of an offset.
    pub(crate) fn no_offset(&mut self, group: &GroupId, topic: &str, partition: u32, at_ms: i64) {
        Key::Offset { group: group.as_str(), topic, partition }.encode(&mut self.key);
        self.push(at_ms, false);
    }

    /// Whether a group has members.
    pub(crate) fn usage(&mut self, group: &GroupId, usage: Option<Usage>, at_ms: i64) {
        Key::Group(group.as_str()).encode(&mut self.key);
        if let Some(usage) = usage {
            usage.encode(&mut self.value);
        }
        self.push(at_ms, usage.is_some());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    pub(crate) fn into_batch(self) -> Batch {
        self.batch
    }
}

/// The writer of the log.
pub(crate) struct OffsetLog {
    /// None once it has stopped.
    committer: RwLock<Option<Committer>>,
    reader: Reader,
    /// Ends a compaction.
    stopping: AtomicBool,
    /// Bytes of closed segments that the last compaction left.
    left: AtomicU64,
}

impl OffsetLog {
    /// Takes the log over.
    pub(crate) fn start(log: Log) -> Result<Self, OffsetsError> {
        let (reader, dir) = (log.reader(), log.dir().to_owned());
        let options = CommitterOptions { max_parallel_syncs: 1, ..CommitterOptions::default() };
        let committer = Committer::spawn(vec![log], options).map_err(IoError::on("start a thread for", &dir))?;
        let (stopping, left) = (AtomicBool::new(false), AtomicU64::new(0));
        Ok(Self { committer: RwLock::new(Some(committer)), reader, stopping, left })
    }

    pub(crate) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Hands records in; `done` is told the offsets they got, or why they are not in the log, on the thread that commits.
    ///
    /// # Errors
    /// [`Refused`] if they cannot be taken now.
    pub(crate) fn submit(
        &self,
        records: Records,
        done: impl FnOnce(Result<Range<u64>, String>) + Send + 'static,
    ) -> Result<(), Refused> {
        let done = move |completion: Completion| {
            done(match completion.parts.into_iter().next() {
                Some(part) => part.result.map_err(|error| error.to_string()),
                None => Err("too much is waiting to be written, or the gateway stops".to_owned()),
            });
        };
        let submission = Submission { parts: vec![(0, records.into_batch())], done: Box::new(done) };
        let committer = self.committer.read().unwrap_or_else(PoisonError::into_inner);
        let Some(committer) = &*committer else { return Err(Refused(submission)) };
        committer.try_submit(submission).map_err(|error| match error {
            SubmitError::Full(submission)
            | SubmitError::Stopped(submission)
            | SubmitError::NoSuchLog { submission, .. } => Refused(submission),
        })
    }

    /// Whether closed segments have grown so much that compaction is worth its writes.
    pub(crate) fn has_grown(&self) -> bool {
        self.closed_bytes() > 2 * self.left.load(Ordering::Relaxed) + 2 * SEGMENT_BYTES
    }

    fn closed_bytes(&self) -> u64 {
        let segments = self.reader.segments();
        let closed = segments.split_last().map_or(&[][..], |(_, closed)| closed);
        closed.iter().map(|segment| segment.allocated).sum()
    }

    /// Keeps the last record of each key of closed segments. Commits go on meanwhile. Nobody but this process at its start
    /// reads the log from its beginning, so the end of an offset goes as soon as what it ended is gone.
    pub(crate) fn compact(&self) -> Result<Compaction, RemoveError> {
        let committer = self.committer.read().unwrap_or_else(PoisonError::into_inner);
        let committer = committer.as_ref().ok_or(RemoveError::Stopped)?;
        let options = CompactionOptions { tombstones_before: u64::MAX, ..CompactionOptions::default() };
        let compacted = committer.compact(0, &options, &self.stopping)?;
        self.left.store(self.closed_bytes(), Ordering::Relaxed);
        Ok(compacted)
    }

    /// Commits what was handed in, and ends.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        let committer = self.committer.write().unwrap_or_else(PoisonError::into_inner).take();
        for log in committer.map(Committer::shutdown).unwrap_or_default() {
            log.mark_end();
        }
    }
}

/// Records that were not taken; whoever waits for them is yet to be told.
#[must_use]
pub(crate) struct Refused(Submission);

impl Refused {
    /// Tells them; not from under a lock that they take.
    pub(crate) fn tell(self) {
        (self.0.done)(Completion { parts: Vec::new() });
    }
}

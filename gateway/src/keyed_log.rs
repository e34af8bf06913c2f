//! An internal topic: one partition with a log and commits of its own, kept by key.
//!
//! What it guarantees: what [`KeyedLog::submit`] reports as written is on disk; records are written, and reported, in the
//! order they were submitted; a record that was reported as failed is not in the log, now or later. Records that many
//! submit at once are one write and one sync. What waits is bounded in number and in bytes.
//!
//! It lies below `<data>/topics/<topic>/0`. What stands in the records is the business of their owners: offsets of groups
//! ([`crate::groups::offsets`]), sessions ([`crate::sessions`]), retained messages ([`crate::retained`]). The last record of
//! a key holds ([`KeyedLog::compact`]); a topic without keys is bounded by bytes and age instead ([`KeyedLog::retain`]).

pub mod clock;
pub mod fields;
pub mod written;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use thiserror::Error;
use weir_storage::{
    Batch, Committer, CommitterOptions, Compaction, CompactionOptions, Completion, Fs, IoError, Log, LogOptions,
    OpenError, ReadError, Reader, Record, Recovery, RemoveError, Submission, SubmitError, durable,
};

use crate::topics::layout;

/// Bytes read at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// A small segment: closed ones are what compaction and retention work on.
const SEGMENT_BYTES: u64 = 4 << 20;
/// Submissions that may wait: those of as many connections as there may be, several times over.
const MAX_WAITING: usize = 1 << 16;

/// Why an internal topic cannot be had.
#[derive(Debug, Error)]
pub enum KeyedLogError {
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

/// The directory of the log of `topic`.
pub fn dir(data: &Path, topic: &str) -> PathBuf {
    data.join(layout::TOPICS).join(topic).join("0")
}

/// How such a log is kept.
pub fn options() -> LogOptions {
    LogOptions { segment_bytes: SEGMENT_BYTES, ..LogOptions::default() }
}

/// Opens the log of `topic`, making it if it is not there.
///
/// # Errors
/// [`KeyedLogError`].
pub fn open(fs: &Arc<dyn Fs>, data: &Path, topic: &str, options: LogOptions) -> Result<(Log, Recovery), KeyedLogError> {
    let dir = dir(data, topic);
    durable::create_dir_all(&**fs, &dir)?;
    Ok(Log::open(Arc::clone(fs), &dir, options)?)
}

/// Shows every record of a log to `see`, from the first to the last. A record that cannot be read is left out.
///
/// # Errors
/// [`ReadError`].
pub fn read(reader: &Reader, mut see: impl FnMut(Record<'_>)) -> Result<(), ReadError> {
    let mut next = reader.start_offset();
    loop {
        let chunk = reader.read(next, CHUNK_BYTES)?;
        if chunk.next_offset == next {
            return Ok(());
        }
        next = chunk.next_offset;
        chunk.records().filter_map(Result::ok).for_each(&mut see);
    }
}

/// The writer of an internal topic.
pub struct KeyedLog {
    /// None once it has stopped.
    committer: RwLock<Option<Committer>>,
    reader: Reader,
    /// The size at which a segment is closed, in bytes.
    segment_bytes: u64,
    /// Ends a compaction.
    stopping: AtomicBool,
    /// Bytes of closed segments that the last compaction left.
    left: AtomicU64,
}

impl KeyedLog {
    /// Takes a log over that was opened with `options`.
    ///
    /// # Errors
    /// [`KeyedLogError::Io`]: there is no thread for it.
    pub fn start(log: Log, options: LogOptions) -> Result<Self, KeyedLogError> {
        let (reader, dir) = (log.reader(), log.dir().to_owned());
        let committing =
            CommitterOptions { max_waiting: MAX_WAITING, max_parallel_syncs: 1, ..CommitterOptions::default() };
        let committer = Committer::spawn(vec![log], committing).map_err(IoError::on("start a thread for", &dir))?;
        let (stopping, left) = (AtomicBool::new(false), AtomicU64::new(0));
        let segment_bytes = options.segment_bytes;
        Ok(Self { committer: RwLock::new(Some(committer)), reader, segment_bytes, stopping, left })
    }

    /// Reads the topic.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Hands records in; `done` is told the offsets they got, or why they are not in the log, on the thread that commits:
    /// it does little, and submits nothing.
    ///
    /// # Errors
    /// [`Refused`] if they cannot be taken now.
    pub fn submit(
        &self,
        batch: Batch,
        done: impl FnOnce(Result<Range<u64>, String>) + Send + 'static,
    ) -> Result<(), Refused> {
        let done = move |completion: Completion| {
            done(match completion.parts.into_iter().next() {
                Some(part) => part.result.map_err(|error| error.to_string()),
                None => Err("too much is waiting to be written, or the gateway stops".to_owned()),
            });
        };
        let submission = Submission { parts: vec![(0, batch)], done: Box::new(done) };
        let committer = self.committer.read().unwrap_or_else(PoisonError::into_inner);
        let Some(committer) = &*committer else { return Err(Refused(submission)) };
        committer.try_submit(submission).map_err(|error| match error {
            SubmitError::Full(submission)
            | SubmitError::Stopped(submission)
            | SubmitError::NoSuchLog { submission, .. } => Refused(submission),
        })
    }

    /// Whether closed segments have grown so much that compaction is worth its writes.
    pub fn has_grown(&self) -> bool {
        self.closed_bytes() > 2 * self.left.load(Ordering::Relaxed) + 2 * self.segment_bytes
    }

    fn closed_bytes(&self) -> u64 {
        let segments = self.reader.segments();
        let closed = segments.split_last().map_or(&[][..], |(_, closed)| closed);
        closed.iter().map(|segment| segment.allocated).sum()
    }

    /// Keeps the last record of each key of closed segments. Commits go on meanwhile; reads and writes files: not for an
    /// async task. Nobody but this process at its start reads the log from its beginning, so a record without a value goes
    /// as soon as what it ended is gone.
    ///
    /// # Errors
    /// [`RemoveError`]; nothing is lost.
    pub fn compact(&self) -> Result<Compaction, RemoveError> {
        let committer = self.committer.read().unwrap_or_else(PoisonError::into_inner);
        let committer = committer.as_ref().ok_or(RemoveError::Stopped)?;
        let options = CompactionOptions { tombstones_before: u64::MAX, ..CompactionOptions::default() };
        let compacted = committer.compact(0, &options, &self.stopping)?;
        self.left.store(self.closed_bytes(), Ordering::Relaxed);
        Ok(compacted)
    }

    /// Removes closed segments from the front: while the log takes more than `most_bytes`, and those whose newest record
    /// is from before `since_ms`, by the wall clock of their records. The first offset from then on. Reads and writes
    /// files: not for an async task.
    ///
    /// # Errors
    /// [`RemoveError`]; what was removed so far is gone.
    pub fn retain(&self, most_bytes: u64, since_ms: i64) -> Result<u64, RemoveError> {
        let committer = self.committer.read().unwrap_or_else(PoisonError::into_inner);
        let committer = committer.as_ref().ok_or(RemoveError::Stopped)?;
        let segments = self.reader.segments();
        let mut bytes: u64 = segments.iter().map(|segment| segment.allocated).sum();
        // The first record from then on, wherever it is.
        let first = self.reader.first_record(since_ms).map_err(RemoveError::Io)?;
        let kept_from = first.map_or(u64::MAX, |(offset, _)| offset);
        let mut upto = self.reader.start_offset();
        for segment in segments.split_last().map_or(&[][..], |(_, closed)| closed) {
            if bytes <= most_bytes && segment.next_offset > kept_from {
                break;
            }
            bytes -= segment.allocated;
            upto = segment.next_offset;
        }
        committer.remove_before(0, upto)
    }

    /// Commits what was handed in, and ends. Waits for the disk: not for an async task.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        let committer = self.committer.write().unwrap_or_else(PoisonError::into_inner).take();
        for log in committer.map(Committer::shutdown).unwrap_or_default() {
            log.mark_end();
        }
    }
}

/// Records that were not taken; whoever waits for them is yet to be told.
#[must_use]
pub struct Refused(Submission);

impl Refused {
    /// Tells them; not from under a lock that they take.
    pub fn tell(self) {
        (self.0.done)(Completion { parts: Vec::new() });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use weir_storage::FaultyFs;

    use super::*;

    fn write(log: &KeyedLog, at_ms: i64, key: &str, value: &[u8]) {
        let mut batch = Batch::new();
        batch.push(at_ms, Some(key.as_bytes()), Some(value), &[]).expect("small");
        let (told, hear) = mpsc::channel();
        log.submit(batch, move |result| told.send(result).expect("waited for")).unwrap_or_else(Refused::tell);
        hear.recv().expect("told").expect("written");
    }

    fn keys(log: &KeyedLog) -> Vec<String> {
        let mut keys = Vec::new();
        read(log.reader(), |record| keys.push(String::from_utf8_lossy(record.key.unwrap_or_default()).into_owned()))
            .expect("reads");
        keys
    }

    fn start(fs: &FaultyFs) -> KeyedLog {
        let options = LogOptions { segment_bytes: 4096, ..options() };
        let fs: Arc<dyn Fs> = Arc::new(fs.clone());
        let (log, _) = open(&fs, Path::new("/data"), "weir.test", options).expect("opens");
        KeyedLog::start(log, options).expect("starts")
    }

    #[test]
    fn a_topic_without_keys_loses_its_oldest_segments_by_bytes_and_by_age() {
        let fs = FaultyFs::new(1);
        let log = start(&fs);
        for at in 0..8 {
            write(&log, 1000 * at, &at.to_string(), &[0; 4096]);
        }
        let allocated = log.reader().allocated();
        assert_eq!(log.retain(allocated, 0).expect("retains"), 0, "nothing is too old, or too much");
        log.retain(u64::MAX, 3000).expect("retains");
        assert_eq!(keys(&log), ["3", "4", "5", "6", "7"]);
        log.retain(allocated / 4, 0).expect("retains");
        let left = keys(&log);
        assert!(left.len() <= 2 && left.last().is_some_and(|key| key == "7"), "the newest stay: {left:?}");
        log.retain(0, i64::MAX).expect("retains");
        assert_eq!(keys(&log).last().map(String::as_str), Some("7"), "the segment that is written stays");

        log.stop();
        let log = start(&fs.power_cut());
        assert_eq!(keys(&log).last().map(String::as_str), Some("7"));
    }

    #[test]
    fn what_comes_after_a_stop_is_refused_and_told() {
        let log = start(&FaultyFs::new(1));
        log.stop();
        let (told, hear) = mpsc::channel();
        let refused = log.submit(Batch::new(), move |result| told.send(result).expect("waited for"));
        refused.expect_err("refused").tell();
        assert!(hear.recv().expect("told").is_err());
    }
}

//! Reading beside the writer, by offset and by time.
//!
//! Guarantees: only exposed offsets, only whole frames whose CRC held at the time of the read, in order;
//! every offset skipped is in a gap that the chunk names. A read takes no lock that a commit waits for
//! longer than a look-up, and memory of the order of `max_bytes` plus one frame.

use crate::error::{IoError, ReadError};
use crate::frame::{FrameError, Header};
use crate::fs::Fs;
use crate::log::{LogOptions, Shared};
use crate::record::{MalformedRecord, Record, Records};
use crate::recovery::{self, Damage, Recovered, Recovery, RecoveryMode};
use crate::scan::{DamageAt, Found, FrameAt};
use crate::segment::{self, Segment};
use crate::segments::{Lookup, Segments};
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Reads a log; cheap to clone, and to share between threads.
#[derive(Clone)]
pub struct Reader {
    shared: Arc<Shared>,
}

/// One segment of a log, as retention and checkpoints need to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentInfo {
    /// The first offset.
    pub base_offset: u64,
    /// The first offset behind it.
    pub next_offset: u64,
    /// Bytes that it takes on disk.
    pub allocated: u64,
}

/// What one read returned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chunk {
    /// Whole frames back to back, as they lie in the log. The first may start before the offset asked
    /// for: consumers of the Kafka protocol skip those records, and so does [`Chunk::records`].
    pub bytes: Vec<u8>,
    /// The offset asked for.
    pub from: u64,
    /// Where to go on reading.
    pub next_offset: u64,
    /// Damage that was skipped at or behind `from`.
    pub gaps: Vec<Damage>,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>) -> Reader {
        Reader { shared }
    }

    /// Opens a log for reading only, as it is at this moment: takes no lock and changes no file. It does not
    /// follow a writer that runs in another process, but what that one removes leaves this reader too.
    ///
    /// # Errors
    /// [`IoError`] when the directory or a segment cannot be read.
    pub fn open(fs: &Arc<dyn Fs>, dir: &Path, mode: RecoveryMode) -> Result<(Reader, Recovery), IoError> {
        let interval = LogOptions::default().index_interval_bytes;
        let Recovered { closed, last, recovery, .. } = recovery::look(&**fs, dir, mode, interval)?;
        let segments = Segments::new(Arc::clone(fs), dir, interval, closed, last);
        Ok((Reader::new(Arc::new(Shared::new(dir, segments))), recovery))
    }

    /// The first offset in the log.
    pub fn start_offset(&self) -> u64 {
        self.shared.segments.start_offset()
    }

    /// The offset behind the last one that readers may see.
    pub fn end_offset(&self) -> u64 {
        self.shared.exposed()
    }

    /// Bytes that the segments take on disk.
    pub fn allocated(&self) -> u64 {
        self.shared.allocated()
    }

    /// The same without what was taken ahead: commits to come go there.
    pub fn filled(&self) -> u64 {
        self.shared.filled()
    }

    /// The segments, oldest first; the last one may still grow.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.shared.segments.infos()
    }

    /// Reads frames from the one that holds `from` on, up to `max_bytes` but at least one whole frame. At
    /// the end of the log the chunk is empty.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`] below the start or above the end; [`ReadError::Io`]. Damage is no error:
    /// it is skipped and listed in [`Chunk::gaps`].
    pub fn read(&self, from: u64, max_bytes: usize) -> Result<Chunk, ReadError> {
        let (start, end) = (self.start_offset(), self.end_offset());
        if from < start || from > end {
            return Err(ReadError::OutOfRange { got: from, start, end });
        }
        let mut chunk = Chunk { from, next_offset: from, ..Chunk::default() };
        while chunk.bytes.is_empty() && chunk.next_offset < end {
            let before = chunk.next_offset;
            match self.shared.segments.find(before)? {
                Lookup::Found(segment) => self.read_segment(&segment, end, max_bytes, &mut chunk)?,
                Lookup::Lost(gap) => {
                    let file = segment::name(gap.start);
                    chunk.next_offset = gap.end;
                    chunk.gaps.push(Damage { file, position: 0, bytes: 0, gap });
                }
                Lookup::Removed | Lookup::Gone => {
                    // Between the two looks.
                    let start = self.start_offset();
                    return Err(ReadError::OutOfRange { got: from, start, end });
                }
            }
            if chunk.next_offset == before {
                break;
            }
        }
        Ok(chunk)
    }

    /// The first offset whose record has `timestamp_ms` (milliseconds since 1970) or a later one; `None`
    /// when there is none yet.
    ///
    /// # Errors
    /// [`IoError`] when a segment cannot be read.
    pub fn offset_for_time(&self, timestamp_ms: i64) -> Result<Option<u64>, IoError> {
        Ok(self.first_record(timestamp_ms)?.map(|(offset, _)| offset))
    }

    /// The record with the latest timestamp, the first of them if there are several: offset and timestamp; `None` of a
    /// log without records.
    ///
    /// # Errors
    /// [`IoError`] when a segment cannot be read.
    pub fn latest_record(&self) -> Result<Option<(u64, i64)>, IoError> {
        let segments = &self.shared.segments;
        let mut latest_ms =
            segments.last().map_or(i64::MIN, |last| last.with_extent(|extent| extent.index.latest_ms()));
        for closed in segments.closed() {
            latest_ms = latest_ms.max(segments.latest_ms(&closed)?);
        }
        self.first_record(latest_ms)
    }

    /// The first record that has `timestamp_ms` or a later one: its offset, and its timestamp; `None` when there is none
    /// yet.
    ///
    /// # Errors
    /// [`IoError`] when a segment cannot be read.
    pub fn first_record(&self, timestamp_ms: i64) -> Result<Option<(u64, i64)>, IoError> {
        let end = self.end_offset();
        let segments = &self.shared.segments;
        let mut closed = VecDeque::from(segments.closed());
        while let Some(oldest) = closed.pop_front() {
            if segments.latest_ms(&oldest)? < timestamp_ms {
                continue;
            }
            match segments.open(&oldest)? {
                Lookup::Found(segment) => {
                    if let Some(found) = self.first_in_segment(&segment, timestamp_ms, end)? {
                        return Ok(Some(found));
                    }
                }
                // Removed, or replaced while we searched: go on with what is there now.
                Lookup::Gone => {
                    closed = segments.closed().into();
                    closed.retain(|other| other.next_offset > oldest.base_offset);
                }
                Lookup::Lost(_) | Lookup::Removed => {}
            }
        }
        let last = segments.last().filter(|last| last.with_extent(|extent| extent.index.latest_ms()) >= timestamp_ms);
        last.map_or(Ok(None), |last| self.first_in_segment(&last, timestamp_ms, end))
    }

    /// The first record in a segment, below `end`, that has `timestamp_ms` or a later one.
    fn first_in_segment(&self, segment: &Segment, timestamp_ms: i64, end: u64) -> Result<Option<(u64, i64)>, IoError> {
        let mut scan = segment.scan_from_time(timestamp_ms).map_err(self.reading(segment))?;
        while let Some(found) = scan.next().map_err(self.reading(segment))? {
            let Found::Frame(frame) = found else { continue };
            if !self.is_exposed(&frame, end) {
                break;
            }
            if let Some(found) = first_at_or_after(&frame, scan.frame(), timestamp_ms) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn read_segment(&self, segment: &Segment, end: u64, max_bytes: usize, chunk: &mut Chunk) -> Result<(), IoError> {
        let mut scan = segment.scan_from_offset(chunk.next_offset).map_err(self.reading(segment))?;
        while let Some(found) = scan.next().map_err(self.reading(segment))? {
            match found {
                Found::Frame(frame) if !self.is_exposed(&frame, end) => break,
                Found::Frame(frame) if frame.offsets.end <= chunk.next_offset => {}
                // All that it covered was compacted away.
                Found::Frame(frame) if frame.header.record_count == 0 => chunk.next_offset = frame.offsets.end,
                Found::Frame(frame) => {
                    let bytes = scan.frame();
                    if !chunk.bytes.is_empty() && chunk.bytes.len() + bytes.len() > max_bytes {
                        break;
                    }
                    chunk.bytes.extend_from_slice(bytes);
                    chunk.next_offset = frame.offsets.end;
                }
                Found::Damage(damage) if damage.gap.end <= chunk.next_offset => {}
                Found::Damage(DamageAt { position, bytes, gap }) => {
                    chunk.next_offset = gap.end.min(end);
                    let file = segment::name(segment.base_offset);
                    chunk.gaps.push(Damage { file, position, bytes, gap });
                }
                Found::Leftover(_) => break,
            }
        }
        Ok(())
    }

    /// Whether readers may see the frame, to whom the log ended at `end` a moment ago. Since then more may have been
    /// exposed and compacted into a frame that reaches over that end.
    fn is_exposed(&self, frame: &FrameAt, end: u64) -> bool {
        frame.offsets.end <= end || frame.offsets.end <= self.end_offset()
    }

    /// The segment that holds `offset`.
    pub(crate) fn find(&self, offset: u64) -> Result<Lookup, IoError> {
        self.shared.segments.find(offset)
    }

    fn reading(&self, segment: &Segment) -> impl FnOnce(io::Error) -> IoError {
        let base_offset = segment.base_offset;
        move |error| IoError::on("read", &segment::path(&self.shared.dir, base_offset))(error)
    }
}

impl Chunk {
    /// The records from the offset asked for on. A record that does not follow the format, which a
    /// checksum that holds makes unlikely, is an error and ends its frame.
    pub fn records(&self) -> impl Iterator<Item = Result<Record<'_>, MalformedRecord>> {
        let from = self.from;
        self.frames().flat_map(records_of).filter(move |record| match record {
            Ok(record) => record.offset >= from,
            Err(_) => true,
        })
    }

    /// The frames, each as its bytes.
    pub fn frames(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            let header = Header::parse(rest).ok()?;
            let (frame, behind) = rest.split_at_checked(header.frame_bytes)?;
            rest = behind;
            Some(frame)
        })
    }
}

fn records_of(frame: &[u8]) -> impl Iterator<Item = Result<Record<'_>, MalformedRecord>> {
    let (records, error): (Option<Records<'_>>, Option<FrameError>) = match Records::of_frame(frame) {
        Ok(records) => (Some(records), None),
        Err(error) => (None, Some(error)),
    };
    records.into_iter().flatten().chain(error.map(|error| Err(MalformedRecord::Frame(error))))
}

fn first_at_or_after(frame: &FrameAt, bytes: &[u8], timestamp_ms: i64) -> Option<(u64, i64)> {
    if frame.header.max_timestamp_ms < timestamp_ms {
        return None;
    }
    let records = Records::of_frame(bytes).ok()?;
    records
        .flatten()
        .find(|record| record.timestamp_ms >= timestamp_ms)
        .map(|record| (record.offset, record.timestamp_ms))
}

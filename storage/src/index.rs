//! The sparse index of one segment, by offset and by time.
//!
//! It is derived from the frames and can always be made again from them: by the survey when a log is opened, by
//! the commits, by a walk of one segment, or from the copy beside a closed segment ([`crate::sidecar`]). In
//! memory it takes one entry of 24 bytes per interval, and only for segments that are open: see
//! [`crate::segments`].
//!
//! Times follow Kafka's rule: each entry holds the latest timestamp before it, so the first record at or
//! after a time is found although timestamps are not in order.

use std::ops::Range;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) offset: u64,
    pub(crate) position: u64,
    /// Latest timestamp of all frames of the segment before this one.
    pub(crate) latest_before_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Index {
    entries: Vec<Entry>,
    interval_bytes: u64,
    latest_ms: i64,
}

impl Index {
    pub(crate) fn new(interval_bytes: u64) -> Index {
        Index { entries: Vec::new(), interval_bytes, latest_ms: i64::MIN }
    }

    /// An index as it was written down.
    pub(crate) fn of(entries: Vec<Entry>, interval_bytes: u64, latest_ms: i64) -> Index {
        Index { entries, interval_bytes, latest_ms }
    }

    /// Takes note of a frame; frames come in the order of their positions.
    pub(crate) fn note(&mut self, position: u64, offsets: &Range<u64>, max_timestamp_ms: i64) {
        let due = |last: &Entry| position - last.position >= self.interval_bytes;
        if self.entries.last().is_none_or(due) {
            let latest_before_ms = self.latest_ms;
            self.entries.push(Entry { offset: offsets.start, position, latest_before_ms });
        }
        self.latest_ms = self.latest_ms.max(max_timestamp_ms);
    }

    /// In the order of their positions.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The latest timestamp in the segment; `i64::MIN` when it is empty.
    pub(crate) fn latest_ms(&self) -> i64 {
        self.latest_ms
    }

    /// A frame at or before `offset`, as near as the index knows.
    pub(crate) fn before_offset(&self, offset: u64) -> Option<Entry> {
        let after = self.entries.partition_point(|entry| entry.offset <= offset);
        self.entries[..after].last().copied()
    }

    /// A frame at or before the first one that has a record of `timestamp_ms` or later.
    pub(crate) fn before_time(&self, timestamp_ms: i64) -> Option<Entry> {
        let after = self.entries.partition_point(|entry| entry.latest_before_ms < timestamp_ms);
        self.entries[..after].last().copied()
    }
}

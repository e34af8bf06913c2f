//! The sparse index of one segment, by offset and by time.
//!
//! It lives in memory only: it is derived from the frames, opening a log scans them anyway (that is how
//! damage is found), a file of it would cost flash writes and could disagree with the log. It takes one
//! entry of 32 bytes per interval: 512 KiB for a gigabyte of log at the default 64 KiB.
//!
//! Times follow Kafka's rule: each entry holds the latest timestamp before it, so the first record at or
//! after a time is found although timestamps are not in order.

use std::ops::Range;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) offset: u64,
    pub(crate) position: u64,
    /// Latest timestamp of all frames of the segment before this one.
    latest_before_ms: i64,
}

#[derive(Debug, Clone)]
pub(crate) struct Index {
    entries: Vec<Entry>,
    interval_bytes: u64,
    latest_ms: i64,
}

impl Index {
    pub(crate) fn new(interval_bytes: u64) -> Index {
        Index { entries: Vec::new(), interval_bytes, latest_ms: i64::MIN }
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

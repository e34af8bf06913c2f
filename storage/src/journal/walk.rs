//! Walks the entries of one half in the order they were written.
//!
//! Guarantees: an entry counts only if its CRC holds and its epoch is that of the half's first one; stale entries
//! behind them never do. A damaged entry is stepped over: a later one of the same epoch was written after its sync.

use super::entry::{self, BLOCK_BYTES, Entry, HEAD_BYTES, Place};
use super::file::{self, JournalFile};
use std::io;
use std::ops::Range;

pub(super) struct Walk<'a> {
    journal: &'a JournalFile,
    at: u64,
    end: u64,
    /// The place of the entry before.
    last: Option<Place>,
}

impl<'a> Walk<'a> {
    /// A walk over the bytes `range`, which starts where a half starts.
    pub(super) fn new(journal: &'a JournalFile, range: Range<u64>) -> Walk<'a> {
        Walk { journal, at: range.start, end: range.end, last: None }
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Entry>> {
        while self.at < self.end {
            let found = self.entry_here()?;
            self.at += found.as_ref().map_or(BLOCK_BYTES, |entry| entry::padded(entry.byte_len()));
            if let Some(entry) = found {
                self.last = Some(entry.place);
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    fn entry_here(&self) -> io::Result<Option<Entry>> {
        let mut head = [0; HEAD_BYTES];
        if !file::read(&*self.journal.file, &mut head, self.at)? {
            return Ok(None);
        }
        let Some((length, place)) = entry::head(&head) else { return Ok(None) };
        if length as u64 > self.end - self.at || !self.counts(place) {
            return Ok(None);
        }
        let mut bytes = vec![0; length];
        let whole = file::read(&*self.journal.file, &mut bytes, self.at)?;
        Ok(if whole { Entry::check(bytes, self.journal.salt) } else { None })
    }

    fn counts(&self, place: Place) -> bool {
        match self.last {
            None => place >= self.journal.floor,
            Some(last) => place.epoch == last.epoch && place.sequence > last.sequence,
        }
    }
}

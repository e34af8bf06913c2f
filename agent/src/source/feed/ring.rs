//! What a feed holds in memory until it is acknowledged: encoded readings back to back, at most as many as it has
//! room for.

use std::collections::VecDeque;

/// Readings of the sequences `[base, base + len)`.
pub(super) struct Ring {
    bytes: VecDeque<u8>,
    /// The length of each reading; an encoded reading is at most [`MAX_READING`] bytes.
    lengths: VecDeque<u8>,
    capacity: usize,
    base: u64,
}

/// The longest encoded reading: text of 128 bytes and its head are below.
pub(super) const MAX_READING: usize = 255;

impl Ring {
    /// An empty one, whose first reading takes the sequence `base`.
    pub(super) fn new(capacity: usize, base: u64) -> Self {
        Self { bytes: VecDeque::new(), lengths: VecDeque::new(), capacity, base }
    }

    /// The oldest sequence that is held.
    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// The sequence that the next reading takes.
    pub(super) fn next(&self) -> u64 {
        self.base + self.lengths.len() as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// How many more there is room for.
    pub(super) fn room(&self) -> usize {
        self.capacity.saturating_sub(self.lengths.len())
    }

    /// Whether there is room for so many, or for all that fit.
    pub(super) fn has_room(&self, readings: usize) -> bool {
        self.room() >= readings.min(self.capacity)
    }

    /// Makes room for at least so many in all.
    pub(super) fn grow(&mut self, capacity: usize) {
        self.capacity = self.capacity.max(capacity);
    }

    /// Keeps a reading; true if the oldest made room for it.
    pub(super) fn push(&mut self, encoded: &[u8]) -> bool {
        let evicts = self.room() == 0;
        if evicts {
            self.release(self.base + 1);
        }
        debug_assert!(encoded.len() <= MAX_READING, "a reading of {} bytes", encoded.len());
        self.lengths.push_back(encoded.len() as u8);
        self.bytes.extend(encoded);
        evicts
    }

    /// Forgets what is below `upto`.
    pub(super) fn release(&mut self, upto: u64) {
        let count = upto.saturating_sub(self.base).min(self.lengths.len() as u64) as usize;
        let bytes: usize = self.lengths.drain(..count).map(usize::from).sum();
        self.bytes.drain(..bytes);
        self.base += count as u64;
    }

    /// Readings from `from` on and below `upto`, as many as `most` bytes hold, and how many they are.
    pub(super) fn read(&self, from: u64, upto: u64, most: usize) -> (Vec<u8>, u64) {
        let skipped = from.saturating_sub(self.base) as usize;
        let start: usize = self.lengths.iter().take(skipped).map(|length| usize::from(*length)).sum();
        let mut bytes = 0;
        let mut count = 0;
        for length in self.lengths.iter().skip(skipped).take(upto.saturating_sub(from) as usize) {
            if count > 0 && bytes + usize::from(*length) > most {
                break;
            }
            bytes += usize::from(*length);
            count += 1;
        }
        (self.bytes.range(start..start + bytes).copied().collect(), count)
    }
}

//! A group: records of many batches on their way into one commit, and what their commit will mean.

use weir_storage::{Batch, RecordTooLarge};

use super::buried::Remains;
use super::moves::Move;
use crate::topics::definition::MAX_LOGS;

/// A set of logs, by index, of the [`MAX_LOGS`] that there may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogSet([u64; MAX_LOGS / 64]);

impl LogSet {
    pub(crate) fn insert(&mut self, log: usize) {
        if let Some(word) = self.0.get_mut(log / 64) {
            *word |= 1 << (log % 64);
        }
    }

    pub(crate) fn contains(&self, log: usize) -> bool {
        self.0.get(log / 64).is_some_and(|word| word >> (log % 64) & 1 == 1)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub(crate) fn intersects(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).any(|(own, other)| own & other != 0)
    }
}

/// Records staged for one commit.
#[derive(Debug)]
pub(crate) struct Group {
    /// Counts from 1; a later group has a larger number.
    pub(crate) number: u64,
    /// One for each log.
    batches: Vec<Batch>,
    bytes: usize,
    pub(crate) moves: Vec<Move>,
    /// Descriptions that become dead letters, each with its log and its partition.
    pub(crate) buried: Vec<(usize, usize, Remains)>,
    /// Messages of clients among the records of each log.
    messages: Vec<u32>,
    /// Connections that wait for it.
    pub(crate) connections: Vec<u64>,
}

impl Group {
    pub(crate) fn new(number: u64, logs: usize) -> Self {
        let batches = (0..logs).map(|_| Batch::new()).collect();
        let messages = vec![0; logs];
        Self { number, batches, bytes: 0, moves: Vec::new(), buried: Vec::new(), messages, connections: Vec::new() }
    }

    /// Bytes that its commit writes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends a record to a log.
    pub(crate) fn append(
        &mut self,
        log: usize,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: &[u8],
    ) -> Result<(), RecordTooLarge> {
        self.push(log, timestamp_ms, key, value, &[])
    }

    /// Appends the record of a message to a log.
    pub(crate) fn append_message(
        &mut self,
        log: usize,
        timestamp_ms: i64,
        (key, value): (&[u8], &[u8]),
        headers: &[(&str, &[u8])],
    ) -> Result<(), RecordTooLarge> {
        self.push(log, timestamp_ms, Some(key), value, headers)?;
        if let Some(count) = self.messages.get_mut(log) {
            *count += 1;
        }
        Ok(())
    }

    fn push(
        &mut self,
        log: usize,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: &[u8],
        headers: &[(&str, &[u8])],
    ) -> Result<(), RecordTooLarge> {
        let Some(batch) = self.batches.get_mut(log) else { return Ok(()) };
        let before = batch.byte_len();
        batch.push(timestamp_ms, key, Some(value), headers)?;
        self.bytes += batch.byte_len() - before;
        Ok(())
    }

    /// How many messages of clients are among the records of a log.
    pub(crate) fn messages(&self, log: usize) -> u64 {
        self.messages.get(log).copied().unwrap_or_default().into()
    }

    /// Takes the records out, for the committer.
    pub(crate) fn take_parts(&mut self) -> Vec<(usize, Batch)> {
        let dirty = self.batches.iter_mut().enumerate().filter(|(_, batch)| !batch.is_empty());
        dirty.map(|(log, batch)| (log, std::mem::take(batch))).collect()
    }

    /// Makes it an empty group with another number, keeping its memory.
    pub(crate) fn reset(&mut self, number: u64) {
        self.number = number;
        self.bytes = 0;
        self.moves.clear();
        self.buried.clear();
        self.messages.fill(0);
        self.connections.clear();
        for batch in &mut self.batches {
            batch.clear();
        }
    }

    /// Gives it the memory of a batch that was committed.
    pub(crate) fn reuse(&mut self, log: usize, mut batch: Batch) {
        batch.clear();
        if let Some(own) = self.batches.get_mut(log) {
            *own = batch;
        }
    }
}

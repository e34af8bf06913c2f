//! Reading records for clients: off the async threads, few at a time, into memory that all of them share.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::Semaphore;
use weir_storage::frame::{self, MAX_FRAME_BYTES};
use weir_storage::{Block, ReadError};

use super::pool::{BLOCK, Pool};
use crate::kafka::memory::{Lease, READS, Room};
use crate::topics::Partition;

/// The most bytes of records in one response, but for a first frame that is larger.
pub(super) const MOST: usize = 8 << 20;
/// One client takes at most this part of what is free, so that there is always some for the next one.
const SHARE: usize = 4;

/// What reads share.
#[derive(Debug)]
pub(in crate::kafka) struct Reads {
    room: Room,
    pool: Pool,
    turns: Semaphore,
    fetches: AtomicUsize,
}

impl Reads {
    /// With room for so many bytes on their way.
    pub(in crate::kafka) fn new(bytes: usize) -> Self {
        Self {
            room: Room::new(bytes),
            pool: Pool::default(),
            turns: Semaphore::new(READS),
            fetches: AtomicUsize::new(0),
        }
    }

    /// Bytes that may still be read.
    pub(in crate::kafka) fn free(&self) -> usize {
        self.room.free()
    }

    /// Runs `read` where it may block, in its turn; `None` if the runtime ends.
    pub(in crate::kafka) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let _turn = self.turns.acquire().await.ok()?;
        tokio::task::spawn_blocking(read).await.ok()
    }

    /// Room for up to `wanted` bytes of records, and how many may be read; `throttled` is told if it has to be waited for.
    pub(super) async fn lease(&self, wanted: usize, throttled: impl FnOnce()) -> Option<(Lease, usize)> {
        let bytes = wanted.min(MOST).min(self.room.free() / SHARE).max(BLOCK);
        // The first frame comes whatever its size; what it does not take goes back after the read.
        let needed = bytes.max(MAX_FRAME_BYTES);
        let lease = match self.room.try_lease(needed) {
            Some(lease) => lease,
            None => {
                throttled();
                self.room.lease(needed).await?
            }
        };
        Some((lease, bytes.min(wanted)))
    }

    /// Which of its partitions a fetch begins with: the next one each time.
    pub(super) fn turn(&self) -> usize {
        self.fetches.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn pool(&self) -> Pool {
        self.pool.clone()
    }
}

/// What was read of one partition.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) pieces: Vec<Bytes>,
    pub(super) bytes: usize,
    /// Stretches of damage that were passed.
    pub(super) gaps: usize,
}

/// Reads whole frames from `from` on: up to `max_bytes`, and if `at_least_one` then the first one whatever its size.
///
/// Damage is passed: a client takes offsets that are not there for compacted away. Only where nothing follows yet would it
/// ask for the same offset for ever; there it gets a batch without records that covers them, as compaction in Kafka leaves
/// such a batch.
///
/// # Errors
/// [`ReadError`].
pub(super) fn read(
    partition: &Partition,
    from: u64,
    max_bytes: usize,
    at_least_one: bool,
    pool: &Pool,
) -> Result<Found, ReadError> {
    let (mut next, mut found) = (from, Found::default());
    while found.bytes < max_bytes || (found.bytes == 0 && at_least_one) {
        let left = max_bytes - found.bytes;
        let mut buffer = pool.take();
        let read = partition.reader().read_block(next, left.min(BLOCK), &mut buffer);
        let Block { frames, next_offset, gaps } = match read {
            Ok(block) => block,
            // What is there already is good, and the next fetch meets the error again.
            Err(_) if found.bytes > 0 => break,
            Err(error) => return Err(error),
        };
        if !gaps.is_empty() {
            partition.suspect();
            found.gaps += gaps.len();
        }
        let too_large = frames.len() > left && !(found.bytes == 0 && at_least_one);
        if next_offset == next || too_large {
            pool.give(buffer);
            break;
        }
        let piece = if frames.is_empty() {
            pool.give(buffer);
            let lost = next;
            next = next_offset.min(next + frame::MAX_OFFSETS);
            Bytes::from(frame::covering(lost..next))
        } else {
            next = next_offset;
            pool.piece(buffer, frames)
        };
        found.bytes += piece.len();
        found.pieces.push(piece);
    }
    Ok(found)
}

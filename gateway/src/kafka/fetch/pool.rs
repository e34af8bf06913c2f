//! Blocks of memory that records are read into, used again and again: the system neither maps nor clears them anew.
//!
//! What it guarantees: a block is about [`BLOCK`] bytes; it comes back when the last piece of it was sent; no more than
//! [`SPARE`] lie idle. A block that is used in small part only is not held: its bytes are copied.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// The size of a block, and so of a read: large, so that system calls do not count; small enough that the records are still
/// in the cache of the processor when they are sent.
pub(super) const BLOCK: usize = 512 << 10;
/// The sizes that are worth keeping: a read may take a little more than was asked for.
const SIZES: std::ops::RangeInclusive<usize> = BLOCK..=BLOCK / 8 * 9;
/// The most blocks that are kept for later.
const SPARE: usize = 16;

/// The spare blocks; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool {
    spare: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Pool {
    /// A block: its bytes are whatever was in it last, or none yet.
    pub(super) fn take(&self) -> Vec<u8> {
        self.lock().pop().unwrap_or_default()
    }

    /// Gives a block back.
    pub(super) fn give(&self, block: Vec<u8>) {
        let mut spare = self.lock();
        // One that a large frame made grow, or a small log left small, is of no use to others.
        if SIZES.contains(&block.len()) && spare.len() < SPARE {
            spare.push(block);
        }
    }

    /// A piece of a block, without a copy if that holds little memory beside it.
    pub(super) fn piece(&self, block: Vec<u8>, range: Range<usize>) -> Bytes {
        if range.len() < block.len() / 4 * 3 {
            let copy = Bytes::copy_from_slice(&block[range]);
            self.give(block);
            return copy;
        }
        Bytes::from_owner(Loan { block, range, pool: self.clone() })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        // Each change is one push or pop.
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A block on its way to a client.
struct Loan {
    block: Vec<u8>,
    range: Range<usize>,
    pool: Pool,
}

impl AsRef<[u8]> for Loan {
    fn as_ref(&self) -> &[u8] {
        &self.block[self.range.clone()]
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.block));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_comes_back_when_its_last_piece_is_gone_and_a_small_piece_does_not_hold_it() {
        let pool = Pool::default();
        let piece = pool.piece(vec![7; BLOCK], 0..BLOCK);
        let part = piece.slice(10..20);
        drop(piece);
        assert!(pool.lock().is_empty());
        drop(part);
        assert_eq!(pool.lock().len(), 1);
        let small = pool.piece(pool.take(), 0..100);
        assert_eq!((small.len(), pool.lock().len()), (100, 1));
        for _ in 0..100 {
            pool.give(vec![0; BLOCK]);
        }
        assert_eq!(pool.lock().len(), SPARE);
    }
}

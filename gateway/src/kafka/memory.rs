//! What the connections hold: every buffer of one connection in one sum, its bound, and what all of them share.
//!
//! | part | at most | where |
//! |---|---|---|
//! | requests read ahead | 16 KiB | [`super::frames`] |
//! | a longer request | 1 MiB; all together 32 MiB | [`super::frames`] |
//! | what a request becomes | 24 times its bytes, 6 MiB in any case; one request at a time | [`super::wire`] |
//! | TLS | 64 KiB on their way out, 16 KiB in | `rustls` |
//! | records on their way | 8 MiB, or one frame of 4 MiB and what was before it; all together `kafka.buffers` | [`super::fetch`] |
//! | other responses | what the topics, groups or keys that were asked for take, each once | [`super::handlers`] |
//!
//! Reads go on in [`READS`] threads at the most, so a slow disk stalls nobody but those who read.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Reads of files at a time, of all connections.
pub(super) const READS: usize = 8;
/// What requests over [`super::frames::SMALL`] may take together, in bytes.
pub(super) const REQUESTS: usize = 32 << 20;
/// Room is counted in units of so many bytes.
const UNIT: usize = 1 << 10;

/// Bytes that connections share; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Room {
    units: Arc<Semaphore>,
    most: usize,
}

/// Bytes of a room that somebody holds; dropping it gives them back.
#[derive(Debug)]
pub(super) struct Lease {
    units: OwnedSemaphorePermit,
}

impl Room {
    /// Of so many bytes.
    pub(super) fn new(bytes: usize) -> Self {
        let most = (bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Self { units: Arc::new(Semaphore::new(most)), most }
    }

    /// Takes that many bytes, or all there are if it is fewer, waiting for those who came first; `None` never, unless
    /// the room is gone.
    pub(super) async fn lease(&self, bytes: usize) -> Option<Lease> {
        let units = Arc::clone(&self.units).acquire_many_owned(self.units_of(bytes)).await.ok()?;
        Some(Lease { units })
    }

    /// As [`Room::lease`], if nobody has to be waited for.
    pub(super) fn try_lease(&self, bytes: usize) -> Option<Lease> {
        let units = Arc::clone(&self.units).try_acquire_many_owned(self.units_of(bytes)).ok()?;
        Some(Lease { units })
    }

    /// Bytes that nobody holds.
    pub(super) fn free(&self) -> usize {
        self.units.available_permits() * UNIT
    }

    fn units_of(&self, bytes: usize) -> u32 {
        // Within `most`, which is a u32.
        bytes.div_ceil(UNIT).min(self.most) as u32
    }
}

impl Lease {
    /// Gives back all but `bytes`.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let more = self.units.num_permits().saturating_sub(bytes.div_ceil(UNIT));
        drop(self.units.split(more));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_room_gives_what_there_is_and_gets_it_back() {
        let room = Room::new(8 * UNIT);
        let mut first = room.lease(5 * UNIT).await.unwrap();
        assert!(room.try_lease(4 * UNIT).is_none());
        first.shrink(1);
        assert_eq!(room.free(), 7 * UNIT);
        drop(first);
        let all = room.lease(100 * UNIT).await.unwrap();
        assert_eq!(room.free(), 0);
        drop(all);
        assert_eq!(room.free(), 8 * UNIT);
    }
}

//! Room for payloads between submit and verdict: the backpressure of ingest.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// A message costs at least this many bytes, whatever its payload: what is kept for it beside the payload.
const MIN_COST: usize = 256;

/// Room of one connection, within the room of all.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    all: Arc<Semaphore>,
    own: Arc<Semaphore>,
    own_bytes: usize,
}

/// Ingest has stopped: there will be no room.
#[derive(Debug)]
pub(crate) struct Stopped;

impl Budget {
    /// `own_bytes` of room for a connection, within `all`, which started with `all_bytes`.
    pub(crate) fn new(all: Arc<Semaphore>, all_bytes: usize, own_bytes: usize) -> Self {
        let own_bytes = own_bytes.clamp(MIN_COST, all_bytes);
        Self { all, own: Arc::new(Semaphore::new(own_bytes)), own_bytes }
    }

    /// What a payload takes of the budget. A payload larger than all of it takes all of it.
    pub(crate) fn cost(&self, payload_bytes: usize) -> usize {
        payload_bytes.clamp(MIN_COST, self.own_bytes)
    }

    /// How much one [`Budget::take`] may ask for.
    pub(crate) fn most(&self) -> usize {
        self.own_bytes
    }

    /// Waits for room and takes it.
    pub(crate) async fn take(&self, bytes: usize) -> Result<(), Stopped> {
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        // Own room first: a connection that waits for its own must not sit on the others'.
        let own = self.own.acquire_many(permits).await.map_err(|_| Stopped)?;
        let all = self.all.acquire_many(permits).await.map_err(|_| Stopped)?;
        own.forget();
        all.forget();
        Ok(())
    }

    /// Gives room back.
    pub(crate) fn give_back(&self, bytes: usize) {
        self.own.add_permits(bytes);
        self.all.add_permits(bytes);
    }
}

//! Trying dead letters again, through the same rules as everything else.

use bytes::Bytes;
use tokio::sync::oneshot;
use weir_protocol::Tenant;

use super::super::Sender;
use super::super::decode::{self, Work};
use super::{Connection, Ingest, Input, Parcel};
use crate::record::dead_letter::{DeadSpan, Format};
use crate::topics::Stores;

/// A dead letter that is tried again.
#[derive(Clone, Debug)]
pub struct Letter {
    /// The connection's own number for it; comes back in the [`Outcome`](super::super::Outcome).
    pub ticket: u64,
    /// What the original is.
    pub format: Format,
    /// The bytes as they came.
    pub original: Bytes,
}

impl Parcel for Letter {
    fn ticket(&self) -> u64 {
        self.ticket
    }

    fn bytes(&self) -> usize {
        self.original.len()
    }

    fn open(self, sender: &Sender, _: &Stores) -> Work {
        decode::letter(sender, self.format, self.original)
    }
}

impl Connection {
    /// Hands in dead letters, as [`Connection::submit`] does messages; for one of [`Ingest::connect_retry`].
    pub async fn retry(&self, letters: Vec<Letter>) {
        self.hand_in(letters).await;
    }
}

impl Ingest {
    /// How many of these sequences are stored as readings; `None` if ingest has stopped.
    pub async fn stored(&self, tenant: Tenant, spans: Vec<DeadSpan>) -> Option<u64> {
        let (answer, answered) = oneshot::channel();
        self.inbox.0.send(Input::Stored(tenant, spans, answer)).ok()?;
        answered.await.ok()
    }
}

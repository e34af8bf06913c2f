//! What the packets of one socket read ask of others: of the disk for the session itself, and of ingest.
//!
//! What it guarantees: messages go to ingest, and the answers in `then` are written, only after what the session has to
//! remember of them is durable; one commit does it for the whole read. [`MOST_THEN`] bounds it.

use crate::ingest::Message;

/// Answers that wait for the session to be durable, before no more packets are taken.
pub(super) const MOST_THEN: usize = 1024;

/// What is to be done after a read.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// For ingest, in the order of their PUBLISHes.
    pub(super) messages: Vec<Message>,
    /// What is written once the session is durable.
    pub(super) then: Vec<Then>,
    /// Whether there is something to make durable first.
    pub(super) to_write: bool,
}

/// An answer that waits for the session to be durable.
#[derive(Debug)]
pub(super) enum Then {
    /// PUBCOMP.
    Released {
        /// The packet id.
        id: u16,
        /// Whether there was such a message.
        is_known: bool,
    },
    /// SUBACK.
    Subscribed {
        /// The packet id.
        id: u16,
        /// One code for each filter.
        codes: Vec<u8>,
    },
    /// UNSUBACK.
    Unsubscribed {
        /// The packet id.
        id: u16,
        /// One code for each filter.
        codes: Vec<u8>,
    },
}

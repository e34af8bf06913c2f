//! Durable subscriptions: positions in the log.
//!
//! What it guarantees:
//! - a durable session gets every committed record that one of its subscriptions matches, from the moment at which the
//!   subscription was made, at least once and in the order of each partition, however long it was away; nothing waits
//!   in memory for a client that is not there;
//! - what retention removed before the client came for it is counted, and never passed over in silence;
//! - what a session holds in memory is bounded: offsets, packet ids, and what one read found ([`reads`]).
//!
//! ```text
//! log -> reads (off the async threads, few at a time) -> filter -> Cursor -> front/outbound -> client
//!                                                          ^ positions <- acknowledgements --+
//! ```

pub mod message;
pub mod position;
pub mod subscription;

pub use message::{Message, Place};
pub use position::{Position, Positions};
pub use subscription::{Origin, Sent, Subscription, Unfinished};

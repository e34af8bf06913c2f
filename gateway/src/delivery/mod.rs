//! Durable subscriptions: positions in the log.
//!
//! What it guarantees:
//! - a durable session gets every committed record that one of its subscriptions matches, from the moment at which the
//!   subscription was made, at least once and in the order of each partition, however long it was away; nothing waits
//!   in memory for a client that is not there;
//! - what retention removed before the client came for it is counted, and never passed over in silence;
//! - what a session holds in memory is bounded: offsets, packet ids, and what one read found ([`reads`], [`shared`]).
//!
//! ```text
//! log -> reads (off the async threads, few at a time) -> Cursor -> front/outbound -> client
//! log -> router (live) ------------------------------------^ positions <- acknowledgements
//! ```

mod cursor;
pub mod message;
pub mod position;
mod reads;
pub mod shared;
pub mod subscription;

pub use cursor::Cursor;
pub use message::{Message, Place};
pub use position::{Position, Positions};
pub use reads::Budget;
pub use shared::{Delivery, DeliveryOptions, DeliveryStats};
pub use subscription::{Origin, Owed, Sent, Subscription, Unfinished};

/// The most that one session holds of what was read and not sent, in bytes, beside the message that crosses it.
pub(crate) const MOST: usize = shared::AHEAD;

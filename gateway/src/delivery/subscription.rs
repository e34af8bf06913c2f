//! What a session keeps of its subscriptions while its client is away.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{Place, Positions};
use crate::mqtt::packet::{Filter, QoS};

/// One subscription of a durable session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The filter, checked, and its options; the QoS is the one granted.
    pub filter: Filter,
    /// What its messages carry.
    pub identifier: Option<u32>,
    /// Where it began, in partitions that the session reads from further back: what lies before is not for it.
    pub since: Positions,
}

/// What was sent and not acknowledged, or was asked for and not sent, when the client went, as long as this process lives: no
/// payloads, they are read again.
#[derive(Clone, Debug, Default)]
pub struct Unfinished {
    /// In the order in which it was sent.
    pub sent: VecDeque<Sent>,
    /// The packet id that was given last.
    pub last_id: u16,
    /// Behind what was sent, in each partition.
    pub next: Positions,
    /// Retained messages that were asked for and not sent yet.
    pub retained: Vec<Owed>,
}

/// The retained messages of one filter that are still to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    /// The filter; there is a subscription with it.
    pub filter: String,
    /// The topic of the last one that was sent; none: not one of them.
    pub after: Option<Bytes>,
}

/// A message at QoS 1 that the client has not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its packet id.
    pub id: u16,
    /// Where it is to be had again.
    pub origin: Origin,
}

/// Where a message came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The log.
    Log(Place),
    /// The retained messages: that of this topic, sent at this QoS.
    Retained(Bytes, QoS),
    /// Nowhere that keeps it: it ends with the connection.
    Passing,
}

//! One member of a group.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Ticket;
use crate::groups::names::{InstanceId, MemberId};
use crate::groups::subscription;

/// What a member takes beside its names and protocols, in bytes: entries of maps, timers, an answer that waits.
const FIXED_COST: usize = 768;

/// What a name takes under which somebody may come back, beside its text, in bytes.
const PENDING_COST: usize = 128;

/// An assignment protocol that a member has, such as `range`, and what it says in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// Its name.
    pub name: Arc<str>,
    /// The subscription, as the members of the group understand it.
    pub metadata: Bytes,
}

/// Who connects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// What it calls itself.
    pub id: Arc<str>,
    /// Where it connects from.
    pub host: Arc<str>,
}

/// A member.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: MemberId,
    pub(super) instance: Option<InstanceId>,
    pub(super) client: Client,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    /// In the order of its preference.
    pub(super) protocols: Vec<Protocol>,
    pub(super) assignment: Bytes,
    /// A join that waits for the others.
    pub(super) joining: Option<Ticket>,
    /// A sync that waits for the leader.
    pub(super) syncing: Option<Ticket>,
    /// Whether it has asked for its assignment of this generation.
    pub(super) has_synced: bool,
    /// It has not been in a generation yet.
    pub(super) is_new: bool,
    /// When its session ends.
    pub(super) expires: Duration,
}

impl Member {
    /// Bytes that it takes.
    pub(super) fn cost(&self) -> usize {
        let names = self.id.as_str().len() * 2
            + self.instance.as_ref().map_or(0, |instance| instance.as_str().len() * 2)
            + self.client.id.len()
            + self.client.host.len();
        FIXED_COST + names + cost_of(&self.protocols) + self.assignment.len()
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.joining.is_some() || self.syncing.is_some()
    }

    pub(super) fn has(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|own| &*own.name == protocol)
    }

    /// What it says in a protocol; nothing if it does not have it.
    pub(super) fn metadata(&self, protocol: Option<&Arc<str>>) -> Bytes {
        let own = protocol.and_then(|protocol| self.protocols.iter().find(|own| own.name == *protocol));
        own.map_or_else(Bytes::new, |own| own.metadata.clone())
    }

    /// Whether it subscribes to the same with these protocols. What only tells which partitions it has had does not count.
    pub(super) fn subscribes_alike(&self, protocols: &[Protocol]) -> bool {
        let same = |(old, new): (&Protocol, &Protocol)| {
            old.name == new.name
                && match (subscription::topics(&old.metadata), subscription::topics(&new.metadata)) {
                    (Some(old), Some(new)) => old == new,
                    _ => old.metadata == new.metadata,
                }
        };
        self.protocols.len() == protocols.len() && self.protocols.iter().zip(protocols).all(same)
    }
}

/// Bytes that protocols take.
pub(super) fn cost_of(protocols: &[Protocol]) -> usize {
    protocols.iter().map(|protocol| protocol.name.len() + protocol.metadata.len() + 64).sum()
}

/// Bytes that a name takes under which somebody may come back.
pub(super) fn cost_of_pending(id: &MemberId) -> usize {
    PENDING_COST + id.as_str().len()
}

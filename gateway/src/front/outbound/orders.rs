//! What an operator tells an agent that is connected: retained messages of its own topics, sent again when they change.
//!
//! They are no records of the log, so neither the router nor a cursor brings them.

use std::sync::Arc;

use tokio::sync::Notify;
use weir_protocol::mqtt::Topic;

use super::setup::Supply;
use super::subscribing::is_told_to;
use crate::access::Identity;
use crate::retained::{Changed, Watch};

/// The topics of one agent that are watched: as many as there are purposes of orders, and all commands with ids.
#[derive(Default)]
pub(super) struct Orders {
    told: Arc<Notify>,
    watches: Vec<(String, Watch)>,
}

impl Orders {
    /// Watches what a filter names, if it is an order for this client.
    pub(super) fn subscribe(&mut self, supply: &Supply, identity: &Identity, filter: &str) {
        let is_own = is_order(filter).is_some_and(|topic| is_told_to(&topic, identity));
        let Some(retained) = supply.retained.as_ref().filter(|_| is_own) else { return };
        self.unsubscribe(filter);
        let watch = retained.watch(identity.tenant, filter.as_bytes(), Arc::clone(&self.told));
        self.watches.push((filter.to_owned(), watch));
    }

    pub(super) fn unsubscribe(&mut self, filter: &str) {
        self.watches.retain(|(watched, _)| watched != filter);
    }

    /// Waits until something changed. May be dropped at any time: what changed stays so.
    pub(super) async fn changed(&self) {
        while !self.watches.iter().any(|(_, watch)| watch.has_changed()) {
            self.told.notified().await;
        }
    }

    /// What changed, by filter.
    pub(super) fn take_changed(&self) -> Vec<(String, Changed)> {
        let changed = self.watches.iter().filter(|(_, watch)| watch.has_changed());
        changed.map(|(filter, watch)| (filter.clone(), watch.take_changed())).collect()
    }
}

/// The order that a topic or a filter names.
pub(super) fn is_order(topic: &str) -> Option<Topic> {
    Topic::of_orders(topic)
}

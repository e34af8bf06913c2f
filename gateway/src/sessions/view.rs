//! Sessions as an operator sees them.

use std::ops::Bound;

use weir_protocol::Tenant;

use super::table::Holder;
use super::{Key, Sessions, Subscriptions};
use crate::mqtt::packet::Version;

/// A session at one moment.
#[derive(Clone, Debug)]
pub struct View {
    /// Whose it is.
    pub key: Key,
    /// The version of MQTT that its client speaks, while it is connected.
    pub connected: Option<Version>,
    /// Since when it is connected, or not, in milliseconds since 1970.
    pub since_ms: i64,
    /// Whether it outlives its connection.
    pub is_durable: bool,
    /// For how long, in seconds; `u32::MAX`: for ever.
    pub expiry: u32,
    /// What the client asked for.
    pub subscriptions: Subscriptions,
    /// Packet ids that are open at QoS 2.
    pub open_ids: usize,
    /// Whether a will waits.
    pub has_will: bool,
}

impl Sessions {
    /// Up to `most` sessions behind `after`, in the order of tenants and clients; those of `tenant` alone if there is one.
    pub fn list(&self, tenant: Option<Tenant>, after: Option<&Key>, most: usize) -> Vec<View> {
        let table = self.shared.table();
        let all = &table.clients;
        // The sessions of one tenant lie together.
        let of_tenant = |key: &Key| tenant.is_none_or(|only| key.tenant == only);
        let before = |key: &Key| tenant.is_some_and(|only| key.tenant < only);
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let all = all.range::<Key, _>((from, Bound::Unbounded));
        let of = |(key, holder)| View::of(key, holder);
        let own = all.skip_while(|(key, _)| before(key)).take_while(|(key, _)| of_tenant(key));
        own.filter_map(of).take(most).collect()
    }

    /// One session.
    pub fn view(&self, key: &Key) -> Option<View> {
        let table = self.shared.table();
        table.clients.get_key_value(key).and_then(|(key, holder)| View::of(key, holder))
    }

    /// Whether a client is connected.
    pub fn is_connected(&self, key: &Key) -> bool {
        matches!(self.shared.table().clients.get(key), Some(Holder::Attached(_)))
    }
}

impl View {
    fn of(key: &Key, holder: &Holder) -> Option<Self> {
        let key = key.clone();
        match holder {
            Holder::Attached(attachment) => Some(Self {
                key,
                connected: Some(attachment.version),
                since_ms: attachment.since_ms,
                is_durable: attachment.is_durable,
                expiry: attachment.expiry,
                subscriptions: attachment.subscriptions.clone(),
                open_ids: attachment.open_ids,
                has_will: false,
            }),
            Holder::Away(away) => Some(Self {
                key,
                connected: None,
                since_ms: away.since_ms,
                is_durable: true,
                expiry: away.whole.kept.expiry,
                subscriptions: away.whole.state.subscriptions.clone(),
                open_ids: away.whole.kept.open.len(),
                has_will: away.will_ms.is_some(),
            }),
            Holder::Ended(_) => None,
        }
    }
}

//! Which topic a message of an MQTT client goes to: that of the first filter which matches the name it was published on.
//!
//! Guarantees: the answer depends on nothing but the tenant, the name and the settings; names that begin with `weir/` are the
//! gateway's own and match nothing here. Deciding takes time linear in the filters, of which there are at most
//! [`MAX_STORES`].

use std::sync::Arc;

use weir_protocol::Tenant;

use super::TopicId;
use crate::mqtt::topic as names;

/// The most filters.
pub const MAX_STORES: usize = 64;
/// The longest filter, in bytes.
pub const MAX_FILTER: usize = 1024;
/// The topic of messages for which the settings name none.
pub const DEFAULT_TOPIC: &str = "messages";
/// What the names of the gateway's own MQTT topics begin with.
const RESERVED: &[u8] = b"weir/";

/// What leads messages to a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// A filter of MQTT topic names, not a shared one.
    pub filter: String,
    /// The only tenant that it is for; `None`: for all of them.
    pub tenant: Option<Tenant>,
    /// The name of the topic in the log.
    pub topic: String,
}

/// The stores in their order, each with the topic that it names; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Stores(Arc<[(Store, TopicId)]>);

impl Stores {
    pub(crate) fn new(stores: Vec<(Store, TopicId)>) -> Self {
        Self(stores.into())
    }

    /// The topic for messages of a tenant on `name`; `None` if they are not stored. What is no name of a topic is not.
    pub fn find(&self, tenant: Tenant, name: &[u8]) -> Option<TopicId> {
        if name.starts_with(RESERVED) {
            return None;
        }
        let name = std::str::from_utf8(name).ok().filter(|name| names::is_name(name))?;
        let leads =
            |store: &Store| store.tenant.is_none_or(|only| only == tenant) && names::matches(name, &store.filter);
        self.0.iter().find(|(store, _)| leads(store)).map(|(_, topic)| *topic)
    }

    /// Whether messages of a tenant that `filter` matches may be led to `topic`.
    pub fn may_lead(&self, tenant: Tenant, filter: &str, topic: TopicId) -> bool {
        let leads =
            |store: &Store| store.tenant.is_none_or(|only| only == tenant) && names::intersects(filter, &store.filter);
        self.0.iter().any(|(store, to)| *to == topic && leads(store))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_filter_that_matches_wins_and_what_matches_none_is_not_stored() {
        let store = |filter: &str, tenant: Option<&str>| Store {
            filter: filter.to_owned(),
            tenant: tenant.map(|name| Tenant::new(name).unwrap()),
            topic: String::new(),
        };
        let topics = [4, 5, 6].map(TopicId::at);
        let stores = [store("site/+/alarm", None), store("site/#", None), store("#", Some("other"))];
        let stores = Stores::new(stores.into_iter().zip(topics).collect());
        let find = |name: &str| stores.find(Tenant::DEFAULT, name.as_bytes());
        assert_eq!(find("site/7/alarm"), Some(topics[0]));
        assert_eq!(find("site/7/temperature"), Some(topics[1]));
        assert_eq!(find("elsewhere"), None, "the last one is for another tenant");
        let other = Tenant::new("other").unwrap();
        assert_eq!(stores.find(other, b"elsewhere"), Some(topics[2]));
        assert_eq!(stores.find(other, b"weir/1/other/edge-1/batch"), None, "our own");
        assert_eq!(stores.find(other, b"$SYS/load"), None, "no wildcard reaches these");
        for no_name in [&b""[..], b"a/+", b"a/#", b"\xff"] {
            assert_eq!(stores.find(other, no_name), None);
        }
    }
}

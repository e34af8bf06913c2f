//! The messages that a filter matches, page by page.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use weir_protocol::Tenant;

use super::table::Key;
use super::{Message, Retained};
use crate::mqtt::topic;

/// Messages looked at for one page, at most: others wait for the lock so long.
const MAX_LOOKED_AT: usize = 2000;
/// Messages of one page.
const MAX_MESSAGES: usize = 64;
/// Bytes of payload after which a page ends.
const PAGE_BYTES: usize = 64 << 10;

/// The messages that a filter matches, in the order of their topics. What changes meanwhile may or may not be among them.
pub struct Matching {
    retained: Retained,
    /// Whose; none: everybody's.
    tenant: Option<Tenant>,
    filter: Box<str>,
    /// What the topics of all of them begin with.
    prefix: usize,
    /// Where to go on; none once there is nothing more.
    from: Option<Bound<Key>>,
}

impl Matching {
    pub(super) fn new(retained: Retained, tenant: Tenant, filter: &str) -> Self {
        let prefix = filter.find(['+', '#']).unwrap_or(filter.len());
        // The parent level is for a `#` too.
        let prefix = if filter[prefix..].starts_with('#') { prefix.saturating_sub(1) } else { prefix };
        let from = Bound::Included((tenant, Bytes::copy_from_slice(&filter.as_bytes()[..prefix])));
        Self { retained, tenant: Some(tenant), filter: filter.into(), prefix, from: Some(from) }
    }

    pub(super) fn of_all(retained: Retained, filter: &str) -> Self {
        Self { retained, tenant: None, filter: filter.into(), prefix: 0, from: Some(Bound::Unbounded) }
    }

    /// Whether it is for what another is for, and neither was looked at.
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.filter, &self.from, self.tenant) == (&other.filter, &other.from, other.tenant)
    }

    /// Of these only the messages on topics behind `topic`, which is one of theirs.
    pub fn after(self, topic: &Bytes) -> Self {
        let from = self.tenant.map(|tenant| Bound::Excluded((tenant, topic.clone())));
        Self { from: from.or(self.from), ..self }
    }

    /// The next messages, perhaps none of them yet; `None` once there are no more. What one call looks at is bounded.
    pub fn next_page(&mut self) -> Option<Vec<Arc<Message>>> {
        let from = self.from.take()?;
        let now_ms = self.retained.shared.now_ms();
        let (mut page, mut bytes) = (Vec::new(), 0);
        let table = self.retained.shared.table();
        for (looked_at, (key, message)) in table.from(from.as_ref()).enumerate() {
            let begins = &self.filter.as_bytes()[..self.prefix];
            if self.tenant.is_some_and(|tenant| key.0 != tenant) || !key.1.starts_with(begins) {
                return (!page.is_empty()).then_some(page);
            }
            if self.matches(&key.1) && !message.has_expired(now_ms) {
                bytes += message.payload.len();
                page.push(Arc::clone(message));
            }
            if looked_at + 1 == MAX_LOOKED_AT || page.len() == MAX_MESSAGES || bytes >= PAGE_BYTES {
                self.from = Some(Bound::Excluded(key.clone()));
                return Some(page);
            }
        }
        (!page.is_empty()).then_some(page)
    }

    fn matches(&self, name: &[u8]) -> bool {
        std::str::from_utf8(name).is_ok_and(|name| topic::matches(name, &self.filter))
    }
}

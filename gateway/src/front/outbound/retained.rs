//! The retained messages that a SUBSCRIBE asked for (section 3.3.1.3), on their way to the client.
//!
//! What it guarantees: page by page, so that many of them wait where they are kept and not here; a filter that is asked for
//! again begins again, and a topic that is told of waits once, so there are no more of these than subscriptions and topics; a session that outlives its connection goes on with
//! those that were not sent (section 4.1: messages pending transmission), as long as this process lives.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use weir_protocol::Tenant;

use super::subscriptions::Subscriptions;
use crate::delivery::{Owed, Subscription};
use crate::mqtt::packet::{QoS, RetainHandling};
use crate::retained::{Matching, Message, Retained};

/// What waits.
#[derive(Default)]
pub(super) struct Waiting {
    filters: VecDeque<Asked>,
}

/// The messages of one filter.
struct Asked {
    subscription: Subscription,
    matching: Matching,
    page: VecDeque<Arc<Message>>,
    /// The topic of the one that was sent last.
    after: Option<Bytes>,
    /// As in [`Kept`].
    retain: bool,
}

/// One message, and how it goes to the client.
pub(super) struct Kept {
    pub(super) message: Arc<Message>,
    pub(super) qos: QoS,
    pub(super) identifier: Option<u32>,
    /// Whether the client does not want what it published itself.
    pub(super) no_local: bool,
    /// Whether it was there before the subscription ([MQTT-3.3.1-8], [MQTT-3.3.1-9]).
    pub(super) retain: bool,
}

/// Whether a SUBSCRIBE asks for them; `is_known` if the subscription was there ([MQTT-3.3.1-9] to [MQTT-3.3.1-11]).
pub(super) fn is_wanted(handling: RetainHandling, is_known: bool) -> bool {
    match handling {
        RetainHandling::Always => true,
        RetainHandling::IfNew => !is_known,
        RetainHandling::Never => false,
    }
}

impl Asked {
    fn new(subscription: Subscription, matching: Matching, retain: bool) -> Self {
        Self { subscription, matching, page: VecDeque::new(), after: None, retain }
    }
}

impl Waiting {
    /// Sends what `matching` finds for a subscription.
    pub(super) fn ask(&mut self, subscription: Subscription, matching: Matching) {
        self.forget(&subscription.filter.filter);
        self.filters.push_back(Asked::new(subscription, matching, true));
    }

    /// Sends what `matching` finds, which came after the subscription.
    pub(super) fn tell(&mut self, subscription: Subscription, matching: Matching) {
        // Whatever is asked for and not looked at yet is sent as it is then.
        let is_waiting = |asked: &Asked| !asked.retain && asked.page.is_empty() && asked.matching.is_same(&matching);
        if !self.filters.iter().any(is_waiting) {
            self.filters.push_back(Asked::new(subscription, matching, false));
        }
    }

    /// Goes on with what an earlier connection did not get, of `subscriptions` that are still there.
    pub(super) fn resume(tenant: Tenant, owed: Vec<Owed>, subscriptions: &Subscriptions, retained: &Retained) -> Self {
        let go_on = |Owed { filter, after }: Owed| {
            let subscription = subscriptions.effective(&filter)?.clone();
            let matching = retained.matching(tenant, &filter);
            let matching = after.iter().fold(matching, Matching::after);
            Some(Asked { subscription, matching, page: VecDeque::new(), after, retain: true })
        };
        Self { filters: owed.into_iter().filter_map(go_on).collect() }
    }

    /// What was not sent.
    pub(super) fn into_owed(self) -> Vec<Owed> {
        let owed = |asked: Asked| Owed { filter: asked.subscription.filter.filter, after: asked.after };
        self.filters.into_iter().map(owed).collect()
    }

    /// The filter is none any more.
    pub(super) fn forget(&mut self, filter: &str) {
        self.filters.retain(|asked| asked.subscription.filter.filter != filter);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// The next message; `None` if there is none, or not yet: what one call looks at is bounded.
    pub(super) fn pop(&mut self) -> Option<Kept> {
        let asked = self.filters.front_mut()?;
        if asked.page.is_empty() {
            match asked.matching.next_page() {
                Some(page) => asked.page = page.into(),
                None => {
                    self.filters.pop_front();
                    return None;
                }
            }
        }
        let message = asked.page.pop_front()?;
        asked.after = Some(message.topic.clone());
        let filter = &asked.subscription.filter;
        let (qos, no_local) = (message.qos.min(filter.qos), filter.no_local);
        let (identifier, retain) = (asked.subscription.identifier, asked.retain);
        Some(Kept { message, qos, identifier, no_local, retain })
    }

    /// Bytes that it takes.
    pub(super) fn held(&self) -> usize {
        // Messages are held where they are kept.
        self.filters.iter().map(|asked| size_of::<Asked>() + asked.page.len() * size_of::<Arc<Message>>()).sum()
    }
}

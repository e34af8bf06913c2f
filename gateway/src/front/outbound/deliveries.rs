//! What a client gets without having sent it: the packet ids of QoS 1 messages on their way, and its live
//! subscriptions.
//!
//! What it guarantees: at most as many messages unacknowledged as the client announced, and never more than
//! [`MAX_UNACKNOWLEDGED`]; a live message is written only if one of the client's own filters matches its topic, at
//! the QoS of that filter, and if the client takes packets of its size.

use std::collections::VecDeque;

use bytes::BytesMut;
use rumqttc::mqttbytes::matches;
use weir_protocol::Tenant;

use super::MAX_MESSAGE;
use crate::front::answer::Answer;
use crate::front::refusal::Refusal;
use crate::router::filter::{self, FilterError, MAX_FILTER};
use crate::router::{Delivered, Live, Subscriber};

/// The most QoS 1 messages to one client that it has not acknowledged, whatever it announced.
const MAX_UNACKNOWLEDGED: u16 = 64;
/// The most live filters of one client.
pub(super) const MAX_SUBSCRIPTIONS: usize = 16;
/// The most that all of this takes for one client, in bytes.
pub(super) const MOST: usize =
    2 * MAX_UNACKNOWLEDGED as usize + MAX_SUBSCRIPTIONS * (MAX_FILTER + size_of::<Subscription>());

/// The packet ids of what the client has not acknowledged.
#[derive(Debug)]
pub(super) struct Unacknowledged {
    ids: VecDeque<u16>,
    last: u16,
    most: u16,
}

impl Unacknowledged {
    /// None yet; `receive_maximum` is what the client announced.
    pub(super) fn new(receive_maximum: u16) -> Self {
        Self { ids: VecDeque::new(), last: 0, most: receive_maximum.min(MAX_UNACKNOWLEDGED) }
    }

    /// Whether one more may be sent.
    pub(super) fn has_room(&self) -> bool {
        self.ids.len() < usize::from(self.most)
    }

    /// The id of the next message; callers have looked whether there is room.
    pub(super) fn take(&mut self) -> u16 {
        loop {
            // They start over at 1; 0 is none (section 2.2.1). What is unacknowledged is far less than all ids.
            self.last = self.last.checked_add(1).unwrap_or(1);
            if !self.ids.contains(&self.last) {
                self.ids.push_back(self.last);
                return self.last;
            }
        }
    }

    /// The client acknowledged one; a PUBACK that nobody waits for changes nothing.
    pub(super) fn acknowledged(&mut self, pkid: u16) {
        if let Some(at) = self.ids.iter().position(|id| *id == pkid) {
            self.ids.remove(at);
        }
    }
}

/// The live subscriptions of one client.
pub(super) struct Subscriptions {
    subscriber: Subscriber,
    all: Vec<Subscription>,
}

#[derive(Debug)]
struct Subscription {
    filter: Box<str>,
    qos: u8,
}

impl Subscriptions {
    /// Of a client that subscribes for the first time.
    pub(super) fn new(live: &Live) -> Result<Self, Refusal> {
        let subscriber = live.subscriber(Tenant::DEFAULT).map_err(|_| Refusal::TooManySubscriptions)?;
        Ok(Self { subscriber, all: Vec::new() })
    }

    /// Whether a client of `tenant` may have this filter.
    pub(super) fn check(tenant: Tenant, filter: &str) -> Result<(), Refusal> {
        filter::check(tenant, filter).map_err(|error| match error {
            FilterError::Invalid => Refusal::TopicFilter,
            FilterError::Outside => Refusal::NotAuthorized,
        })
    }

    /// Subscribes to a filter that was checked.
    pub(super) fn add(&mut self, filter: &str, qos: u8) -> Result<(), Refusal> {
        if let Some(known) = self.all.iter_mut().find(|known| *known.filter == *filter) {
            known.qos = qos;
            return Ok(());
        }
        if self.all.len() == MAX_SUBSCRIPTIONS {
            return Err(Refusal::TooManySubscriptions);
        }
        self.subscriber.subscribe(filter).map_err(|_| Refusal::TooManySubscriptions)?;
        self.all.push(Subscription { filter: filter.into(), qos });
        Ok(())
    }

    /// Ends a subscription; false if there was none.
    pub(super) fn remove(&mut self, filter: &str) -> bool {
        let Some(at) = self.all.iter().position(|known| *known.filter == *filter) else { return false };
        self.subscriber.unsubscribe(&self.all.swap_remove(at).filter)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether a message may need a packet id.
    pub(super) fn at_qos_1(&self) -> bool {
        self.all.iter().any(|known| known.qos > 0)
    }

    /// The next message; may be dropped at any time without losing one.
    pub(super) async fn next(&mut self) -> Delivered {
        self.subscriber.next().await
    }

    /// The next message if it is there already.
    pub(super) fn try_next(&mut self) -> Option<Delivered> {
        self.subscriber.try_next()
    }

    /// Writes a message for the client, which takes packets of up to `max_packet` bytes.
    pub(super) fn write(
        &self,
        delivered: &Delivered,
        answer: Answer,
        ids: &mut Unacknowledged,
        max_packet: u32,
        out: &mut BytesMut,
    ) {
        // What is missing stays missing: it is in the log.
        let Delivered::Message(message) = delivered else { return };
        let (Ok(topic), payload) = (std::str::from_utf8(&message.topic), &message.payload) else { return };
        // A message of a filter that was given up may still come.
        let Some(known) = self.all.iter().find(|known| matches(topic, &known.filter)) else { return };
        let bytes = topic.len() + payload.len();
        if bytes > MAX_MESSAGE || bytes + PUBLISH_OVERHEAD > max_packet as usize {
            return self.subscriber.too_large();
        }
        let pkid = if known.qos == 0 { 0 } else { ids.take() };
        answer.publish(out, topic, pkid, payload);
    }
}

/// Fixed header, length of the topic, packet id and properties, in bytes.
const PUBLISH_OVERHEAD: usize = 5 + 2 + 2 + 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_id_is_not_given_twice_while_it_is_out() {
        let mut ids = Unacknowledged::new(u16::MAX);
        let kept = ids.take();
        for _ in 0..u32::from(u16::MAX) + 10 {
            let id = ids.take();
            assert!(id != 0 && id != kept);
            ids.acknowledged(id);
        }
        assert_eq!(ids.ids, [kept]);
    }

    #[test]
    fn a_puback_for_nothing_makes_no_room() {
        let mut ids = Unacknowledged::new(2);
        let (first, _) = (ids.take(), ids.take());
        assert!(!ids.has_room());
        ids.acknowledged(first + 1000);
        assert!(!ids.has_room());
        ids.acknowledged(first);
        ids.acknowledged(first);
        assert!(ids.has_room());
        ids.take();
        assert!(!ids.has_room());
    }
}

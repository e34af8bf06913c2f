//! What a client gets without having sent it: messages of its subscriptions, and requests to agents.
//!
//! What it guarantees:
//! - a message comes once to a client however many of its subscriptions match it ([`subscriptions`]), never another
//!   tenant's, never after its expiry, never larger than the client takes;
//! - at QoS 1, which is the most that is granted, no more are out than the client takes ([`window`]); while
//!   [`MAX_WAITING`] bytes wait to be written nothing more is read for it;
//! - a session brings its client nothing that the rules do not allow it when it comes;
//! - a session that outlives its connection reads the log from its positions ([`crate::delivery`]): what was out when
//!   the client went comes again first, with its packet ids and the DUP flag, and then the retained messages that it
//!   asked for and did not get, both as long as this process lives.
//!
//! ```text
//! again (unacknowledged) -> retained -> source: log or router -> grant -> window -> PUBLISH
//! ```

mod commands;
mod orders;
mod retained;
mod setup;
mod source;
mod subscribing;
pub mod subscriptions;
#[cfg(test)]
mod tests;
mod window;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;
use weir_protocol::batch::command::AgentCommand;

use crate::access::{Access, Action, Identity};
use crate::delivery::{Budget, Message, Origin, Positions, Sent, Subscription, Unfinished};
use crate::mqtt::packet::QoS;
use crate::mqtt::write::{Message as Packet, Writer};
use crate::retained as kept;
use commands::Commands;
use orders::{Orders, is_order};
use retained::{Kept, Waiting};
pub use setup::{Resumed, Setup, Supply};
pub use source::Next;
use source::Source;
pub use subscribing::{Change, Subscribed};
use subscriptions::{Granted, Subscriptions};
use window::Window;

/// Messages that wait to be written, in bytes, before the next one waits for its turn.
const MAX_WAITING: usize = 32 << 10;
/// Messages at QoS 0 that one read may find.
const MAX_READ: usize = 256;
/// The most that all of this takes for one client, in bytes, beside the message that crosses a bound.
pub(super) const fn most(subscriptions: usize) -> usize {
    commands::MOST
        + subscriptions * (subscriptions::MAX_FILTER + size_of::<Subscription>())
        + window::MOST * size_of::<Sent>()
        + crate::delivery::MOST
}

/// What goes to one client.
pub struct Outbound {
    supply: Arc<Supply>,
    writer: Writer,
    identity: Identity,
    access: Access,
    /// Requests, if the client is an agent.
    commands: Option<Box<Commands>>,
    /// What an operator tells it, if it is an agent and asked for it.
    orders: Orders,
    subscriptions: Subscriptions,
    counted: Counted,
    window: Window,
    /// Retained messages that were asked for.
    retained: Waiting,
    /// What is out since an earlier connection, to be sent again.
    again: VecDeque<Sent>,
    source: Source,
    /// Something was sent or acknowledged since the positions were asked for.
    moved: bool,
}

/// The subscriptions of one client in the sum of all; dropping it takes them out.
struct Counted {
    count: usize,
    supply: Arc<Supply>,
}

impl Counted {
    fn set(&mut self, count: usize) {
        self.supply.counters.subscribed(self.count, count);
        self.count = count;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl Outbound {
    /// PUBACK of the client.
    pub fn acknowledged(&mut self, id: u16, out: &mut BytesMut) {
        self.moved |= self.window.done(id);
        self.flush(out);
    }

    /// A request of the gateway to the agent.
    pub fn ask(&mut self, command: AgentCommand, out: &mut BytesMut) {
        if !self.commands.as_mut().is_some_and(|commands| commands.ask(command)) {
            self.supply.counters.ask_dropped();
        }
        self.flush(out);
    }

    /// Writes the requests that may be sent now.
    pub fn flush(&mut self, out: &mut BytesMut) {
        if let Some(commands) = &mut self.commands {
            commands.flush(self.writer, &mut self.window, out);
        }
    }

    /// Whether a message may be written; `waiting` bytes wait to be.
    pub fn takes(&self, waiting: usize) -> bool {
        let has_room = match self.again.len() {
            0 => !self.subscriptions.is_empty() && (!self.subscriptions.at_qos_1() || self.window.room() > 0),
            again => self.window.takes_again(again),
        };
        waiting < MAX_WAITING && has_room
    }

    /// The next message, never without a subscription. May be dropped at any time without losing one.
    pub async fn next(&mut self) -> Next {
        match self.again.front() {
            Some(Sent { origin: Origin::Log(place), .. }) => {
                return Next::Again(self.source.again(&self.supply, *place).await);
            }
            Some(_) => return Next::Again(None),
            None if !self.retained.is_empty() => return Next::Retained,
            None => (),
        }
        let messages = if self.subscriptions.at_qos_1() { self.window.room() } else { MAX_READ };
        tokio::select! {
            message = self.source.next(Budget { messages, bytes: usize::MAX }) => Next::New(message),
            () = self.orders.changed() => Next::Ordered,
        }
    }

    /// Writes a message, and those behind it that are there already.
    pub fn deliver(&mut self, next: Next, out: &mut BytesMut) {
        self.moved = true;
        match next {
            Next::Again(message) => self.write_again(message, out),
            Next::Retained => self.write_retained(out),
            Next::Ordered => {
                self.ask_for_orders();
                self.write_retained(out);
            }
            Next::New(message) => self.write(&message, out),
        }
        while self.again.is_empty() && self.retained.is_empty() && self.takes(out.len()) {
            match self.source.try_next() {
                Some(message) => self.write(&message, out),
                None => return,
            }
        }
    }

    fn write(&mut self, message: &Message, out: &mut BytesMut) {
        if message.tenant != self.identity.tenant {
            return;
        }
        let Some(granted) = self.subscriptions.grant(message, &self.identity.client) else { return };
        let Some(expiry) = self.remaining(message) else { return self.supply.counters.expired() };
        let origin = if self.source.is_log() { Origin::Log(message.place) } else { Origin::Passing };
        self.publish(&Packet { expiry, ..packet(message, &granted) }, origin, out);
    }

    /// Has the orders sent that changed.
    fn ask_for_orders(&mut self) {
        let tenant = self.identity.tenant;
        for (filter, changed) in self.orders.take_changed() {
            let Some(retained) = &self.supply.retained else { return };
            let Some(subscription) = self.subscriptions.get(&filter) else { continue };
            match changed {
                kept::Changed::All => self.retained.ask(subscription.clone(), retained.matching(tenant, &filter)),
                kept::Changed::Topics(topics) => {
                    for topic in topics.iter().filter_map(|topic| std::str::from_utf8(topic).ok()) {
                        self.retained.tell(subscription.clone(), retained.matching(tenant, topic));
                    }
                }
            }
        }
    }

    /// Writes retained messages that a SUBSCRIBE asked for.
    fn write_retained(&mut self, out: &mut BytesMut) {
        while self.takes(out.len())
            && let Some(Kept { message, qos, identifier, no_local, retain }) = self.retained.pop()
        {
            // A filter with wildcards reaches what is told to others.
            let topic = std::str::from_utf8(&message.topic).unwrap_or_default();
            if is_order(topic).is_some_and(|topic| !subscribing::is_told_to(&topic, &self.identity)) {
                continue;
            }
            let is_own = message.publisher == self.identity.client;
            if is_own && no_local {
                continue;
            }
            let granted = Granted { qos, retain, identifiers: identifier.into_iter().collect() };
            self.publish_retained(&message, &granted, out);
        }
    }

    fn publish_retained(&mut self, message: &kept::Message, granted: &Granted, out: &mut BytesMut) {
        let expiry = self.supply.retained.as_ref().and_then(|retained| retained.expiry_left(message));
        let packet = retained_packet(message, granted);
        self.publish(&Packet { expiry, ..packet }, Origin::Retained(message.topic.clone(), granted.qos), out);
    }

    /// Sends what is out again, if it is still to be had; a message that began is finished, whatever became of its
    /// subscription ([MQTT-3.10.4-3]), but for one that the client may not have any more.
    fn write_again(&mut self, message: Option<Message>, out: &mut BytesMut) {
        let Some(Sent { id, origin }) = self.again.pop_front() else { return };
        if !self.window.is_out(id) {
            return;
        }
        let written = match (origin, message) {
            (Origin::Retained(topic, qos), _) => {
                let retained = self.supply.retained.as_ref();
                let kept = retained.and_then(|all| Some((all, all.get(self.identity.tenant, &topic)?)));
                kept.filter(|(_, kept)| self.may_have_still(&kept.topic)).is_some_and(|(all, kept)| {
                    let granted = Granted { qos, retain: true, identifiers: Vec::new() };
                    let expiry = all.expiry_left(&kept);
                    let packet = Packet { dup: true, id, expiry, ..retained_packet(&kept, &granted) };
                    self.writer.publish(out, &packet).is_ok()
                })
            }
            (_, Some(message)) => {
                let granted = self.subscriptions.grant(&message, &self.identity.client);
                let may = granted.is_some() || self.may_have_still(&message.topic);
                let granted = Granted { qos: QoS::AtLeastOnce, ..granted.unwrap_or_default() };
                self.remaining(&message).filter(|_| may).is_some_and(|expiry| {
                    let packet = Packet { dup: true, id, expiry, ..packet(&message, &granted) };
                    self.writer.publish(out, &packet).is_ok()
                })
            }
            (_, None) => false,
        };
        if !written {
            self.window.done(id);
        }
    }

    /// Whether the rules of now let the client have what is published on a topic.
    fn may_have_still(&self, topic: &[u8]) -> bool {
        std::str::from_utf8(topic).is_ok_and(|topic| self.access.may(&self.identity, Action::Subscribe, topic))
    }

    /// Writes one PUBLISH, unless it is too large for the client ([MQTT-3.1.2-25]).
    fn publish(&mut self, packet: &Packet<'_>, origin: Origin, out: &mut BytesMut) {
        let id = if packet.qos == QoS::AtMostOnce { 0 } else { self.window.take(origin) };
        if self.writer.publish(out, &Packet { id, ..*packet }).is_ok() {
            return self.supply.counters.delivered();
        }
        self.window.done(id);
        self.supply.counters.too_large();
    }

    /// What is left of a message's life, in seconds ([MQTT-3.3.2-6]); `None` if nothing is.
    fn remaining(&self, message: &Message) -> Option<Option<u32>> {
        let Some(seconds) = message.properties.expiry else { return Some(None) };
        let waited_ms = (self.supply.clock.now().0 / 1000).saturating_sub(message.appended_ms).max(0);
        let left = i64::from(seconds) - waited_ms / 1000;
        u32::try_from(left).ok().filter(|left| *left > 0).map(Some)
    }

    /// Where a session that outlives its connection is: what is before these positions is acknowledged or was not for it.
    pub fn positions(&mut self) -> Positions {
        self.moved = false;
        self.source.positions(self.window.places())
    }

    /// Whether the positions may have changed since they were asked for.
    pub fn has_moved(&self) -> bool {
        self.moved
    }

    /// The client goes: its positions, and what is to be sent again if it comes back.
    pub fn detach(mut self) -> (Positions, Unfinished) {
        let (positions, next) = (self.positions(), self.source.next_positions());
        let (sent, last_id) = self.window.into_parts();
        (positions, Unfinished { sent, last_id, next, retained: self.retained.into_owed() })
    }

    /// Bytes that it holds.
    pub fn held(&self) -> usize {
        let commands = self.commands.as_ref().map_or(0, |commands| commands.held());
        commands + self.subscriptions.held() + self.window.held() + self.source.held() + self.retained.held()
    }

    /// Gives back what it holds for traffic that there is not.
    pub fn trim(&mut self) {
        self.window.trim();
    }
}

/// A message, but for its id and what is left of its life.
fn packet<'a>(message: &'a Message, granted: &'a Granted) -> Packet<'a> {
    Packet {
        qos: granted.qos,
        retain: granted.retain,
        topic: &message.topic,
        payload: &message.payload,
        forwarded: &message.properties.forwarded,
        identifiers: &granted.identifiers,
        ..Packet::default()
    }
}

/// A retained message, but for its id and what is left of its life.
fn retained_packet<'a>(message: &'a kept::Message, granted: &'a Granted) -> Packet<'a> {
    Packet {
        qos: granted.qos,
        retain: granted.retain,
        topic: &message.topic,
        payload: &message.payload,
        forwarded: &message.properties.forwarded,
        identifiers: &granted.identifiers,
        ..Packet::default()
    }
}

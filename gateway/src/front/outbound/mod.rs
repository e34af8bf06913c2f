//! What a client gets without having sent it: messages of its subscriptions, and requests to agents.
//!
//! What it guarantees:
//! - a message comes once to a client however many of its subscriptions match it ([`subscriptions`]), never another
//!   tenant's, never after its expiry, never larger than the client takes;
//! - at QoS 1, which is the most that is granted, no more are out than the client takes ([`window`]); while
//!   [`MAX_WAITING`] bytes wait to be written nothing more is read for it;
//! - a session that outlives its connection reads the log from its positions ([`crate::delivery`]): what was out when
//!   the client went comes again first, with its packet ids and the DUP flag, as long as this process lives.
//!
//! ```text
//! again (unacknowledged) -> retained -> source: log or router -> grant -> window -> PUBLISH
//! ```

mod commands;
mod setup;
mod source;
mod subscribing;
pub mod subscriptions;
mod window;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;
use weir_protocol::batch::command::AgentCommand;

use crate::access::{Access, Identity};
use crate::delivery::{Budget, Message, Origin, Positions, Sent, Subscription, Unfinished};
use crate::mqtt::packet::QoS;
use crate::mqtt::write::{self, Writer};
use commands::Commands;
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
    subscriptions: Subscriptions,
    counted: Counted,
    window: Window,
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
        let has_room = !self.subscriptions.at_qos_1() || self.window.room() > 0;
        waiting < MAX_WAITING && (!self.again.is_empty() || (!self.subscriptions.is_empty() && has_room))
    }

    /// The next message, never without a subscription. May be dropped at any time without losing one.
    pub async fn next(&mut self) -> Next {
        if let Some(Sent { origin: Origin::Log(place), .. }) = self.again.front() {
            return Next::Again(self.source.again(&self.supply, *place).await);
        }
        let messages = if self.subscriptions.at_qos_1() { self.window.room() } else { MAX_READ };
        Next::New(self.source.next(Budget { messages, bytes: usize::MAX }).await)
    }

    /// Writes a message, and those behind it that are there already.
    pub fn deliver(&mut self, next: Next, out: &mut BytesMut) {
        self.moved = true;
        match next {
            Next::Again(message) => self.write_again(message, out),
            Next::New(message) => self.write(&message, out),
        }
        while self.again.is_empty() && self.takes(out.len()) {
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
        if granted.qos == QoS::AtMostOnce {
            self.publish(message, &granted, 0, false, out);
        } else {
            let origin = if self.source.is_log() { Origin::Log(message.place) } else { Origin::Passing };
            let id = self.window.take(origin);
            if !self.publish(message, &granted, id, false, out) {
                self.window.done(id);
            }
        }
    }

    /// Sends what is out again, if it is still to be had; a message that began is finished, whatever became of its
    /// subscription ([MQTT-3.10.4-3]).
    fn write_again(&mut self, message: Option<Message>, out: &mut BytesMut) {
        let Some(Sent { id, .. }) = self.again.pop_front() else { return };
        let written = message.is_some_and(|message| {
            let granted = self.subscriptions.grant(&message, &self.identity.client).unwrap_or_default();
            self.publish(&message, &Granted { qos: QoS::AtLeastOnce, ..granted }, id, true, out)
        });
        if !written {
            self.window.done(id);
        }
    }

    /// Writes one PUBLISH; false if the message is too old or too large for the client.
    fn publish(&self, message: &Message, granted: &Granted, id: u16, dup: bool, out: &mut BytesMut) -> bool {
        let Some(expiry) = self.remaining(message) else {
            self.supply.counters.expired();
            return false;
        };
        let packet = write::Message {
            dup,
            qos: granted.qos,
            retain: granted.retain,
            topic: &message.topic,
            id,
            alias: None,
            payload: &message.payload,
            expiry,
            forwarded: &message.properties.forwarded,
            identifiers: &granted.identifiers,
        };
        let written = self.writer.publish(out, &packet).is_ok();
        if written {
            self.supply.counters.delivered()
        } else {
            self.supply.counters.too_large()
        }
        written
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
        (positions, Unfinished { sent, last_id, next })
    }

    /// Bytes that it holds.
    pub fn held(&self) -> usize {
        let commands = self.commands.as_ref().map_or(0, |commands| commands.held());
        commands + self.subscriptions.held() + self.window.held() + self.source.held()
    }

    /// Gives back what it holds for traffic that there is not.
    pub fn trim(&mut self) {
        self.window.trim();
    }
}

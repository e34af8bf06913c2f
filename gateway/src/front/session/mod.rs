//! One session: what each packet of a client means, in both versions of MQTT, without a socket and without a clock.
//!
//! What it guarantees: what a client sends goes to [`inbound`], what it is sent comes from [`super::outbound`]; what both
//! hold is bounded, and a full session is not read on ([`Session::has_room`]). Packets that come where they may not are
//! refused with the code that the standard gives for it.

pub(super) mod aliases;
mod inbound;
mod line;
mod work;

use std::sync::Arc;

use bytes::BytesMut;

use super::counters::Counters;
use super::destination::Destinations;
use super::outbound::{Change, Next, Outbound, Subscribed};
use super::refusal::{Refusal, Refused};
use crate::ingest::{Event, Message};
use crate::mqtt::packet::{Disconnect, Packet, Unsubscribe, Version};
use crate::mqtt::read::{MAX_CONTROL, MAX_PACKET};
use crate::mqtt::write::{AckKind, Writer};
use crate::sessions::{End, Session as Kept, Written};
use inbound::Inbound;
pub(super) use inbound::ToRetain;
pub(super) use inbound::most_in_line;
use work::{MOST_THEN, Then, Work};

/// Answers that wait to be written, in bytes, before a client that does not read is not read either.
const MAX_ANSWERS: usize = 64 << 10;
/// The most that answers take, in bytes: those that wait, what one packet or event adds, and as much again because a
/// growing buffer doubles.
pub(super) const MOST_ANSWERS: usize = 2 * (MAX_ANSWERS + MAX_CONTROL + MAX_PACKET);

/// What one connection may have in flight.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Messages above QoS 0.
    pub receive_maximum: u16,
    /// Bytes of packets.
    pub budget: usize,
}

/// The session of one connected client.
pub(super) struct Session {
    writer: Writer,
    kept: Kept,
    /// Whether it goes on with what an earlier connection left.
    is_resumed: bool,
    inbound: Inbound,
    outbound: Outbound,
    work: Work,
    paused: bool,
    counters: Arc<Counters>,
}

/// What the connection has to do after a packet.
#[derive(Debug)]
pub(super) enum Step {
    /// Nothing but what [`Session::take_work`] says.
    Nothing,
    /// Retain this.
    Retain(ToRetain),
    /// The client said goodbye.
    Goodbye(Goodbye),
}

/// DISCONNECT of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Goodbye {
    /// Whether its will is to be published all the same.
    pub(super) with_will: bool,
    /// A new time for the session to outlive its connection, in seconds.
    pub(super) session_expiry: Option<u32>,
}

/// What a session is made of.
pub(super) struct Setup {
    /// Writes to the client.
    pub(super) writer: Writer,
    /// What may be in flight.
    pub(super) limits: Limits,
    /// Where messages go.
    pub(super) destinations: Destinations,
    /// What the gateway remembers of it.
    pub(super) kept: Kept,
    /// Whether it goes on with what an earlier connection left.
    pub(super) is_resumed: bool,
    /// What it is sent.
    pub(super) outbound: Outbound,
    /// What is counted.
    pub(super) counters: Arc<Counters>,
}

impl Session {
    /// A session of a client that was let in.
    pub(super) fn new(setup: Setup) -> Self {
        let Setup { writer, limits, destinations, kept, is_resumed, outbound, counters } = setup;
        let inbound = Inbound::new(writer, destinations, limits, counters.clone());
        Self { writer, kept, is_resumed, inbound, outbound, work: Work::default(), paused: false, counters }
    }

    /// Whether another packet may be taken in; `answers` bytes wait to be written.
    pub(super) fn has_room(&self, answers: usize) -> bool {
        answers < MAX_ANSWERS && self.work.then.len() < MOST_THEN && self.inbound.has_room()
    }

    /// Bytes that it holds.
    pub(super) fn held(&self) -> usize {
        self.inbound.held() + self.outbound.held()
    }

    /// Gives back what it holds for traffic that there is not.
    pub(super) fn trim(&mut self) {
        self.inbound.trim();
        self.outbound.trim();
    }

    /// The version of MQTT that it speaks.
    pub(super) fn version(&self) -> Version {
        self.writer.version
    }

    /// Notes whether packets have to wait for room.
    pub(super) fn set_paused(&mut self, paused: bool) {
        if paused && !self.paused {
            self.counters.paused();
        }
        self.paused = paused;
    }

    /// Takes no more packets, and ends with `refusal` once everything in flight is answered.
    pub(super) fn end_with(&mut self, refusal: Refusal) {
        self.inbound.end_with(refusal);
    }

    /// Why the session is over, once it is: everything in flight is answered.
    pub(super) fn ended(&self) -> Option<Refusal> {
        self.inbound.ended()
    }

    /// Takes a packet of `bytes` bytes; what can be answered at once goes to `out`.
    ///
    /// # Errors
    /// [`Refused`]: the connection ends.
    pub(super) fn handle(&mut self, packet: Packet, bytes: usize, out: &mut BytesMut) -> Result<Step, Refused> {
        if let Packet::Publish(publish) = packet {
            let to_retain = self.inbound.publish(publish, bytes, (&mut self.kept, &mut self.work), out)?;
            return Ok(to_retain.map_or(Step::Nothing, Step::Retain));
        }
        self.inbound.count_with_last(bytes);
        match packet {
            Packet::PubAck(ack) => self.outbound.acknowledged(ack.id, out),
            // Nothing is sent at QoS 2, so no packet id is known.
            Packet::PubRec(ack) => self.writer.acknowledge_with(out, AckKind::PubRel, ack.id, UNKNOWN_ID, ""),
            Packet::PubRel(ack) => self.inbound.release(ack, self.is_resumed, &mut self.kept, &mut self.work),
            Packet::Subscribe(subscribe) => {
                let subscribed = self.outbound.subscribe(&subscribe);
                let codes =
                    self.keep(subscribed, |change| subscribe.filters.iter().position(|one| one.filter == change));
                self.work.then.push(Then::Subscribed { id: subscribe.id, codes });
            }
            Packet::Unsubscribe(unsubscribe) => {
                let subscribed = self.outbound.unsubscribe(&unsubscribe);
                let codes = self.keep(subscribed, |_| None);
                self.work.then.push(Then::Unsubscribed { id: unsubscribe.id, codes });
            }
            Packet::PingReq => self.writer.pong(out),
            Packet::Disconnect(disconnect) => return self.goodbye(disconnect).map(Step::Goodbye),
            // A second CONNECT ([MQTT-3.1.0-2]); AUTH, which no CONNECT without a method allows (section 4.12).
            Packet::Connect(_) | Packet::Auth => return Err(Refusal::Protocol.into()),
            Packet::Publish(_) | Packet::PubComp(_) => (),
        }
        Ok(Step::Nothing)
    }

    /// Keeps what a SUBSCRIBE or an UNSUBSCRIBE changed, if the session outlives its connection; the codes of the answer.
    /// `place` finds a filter among those that were asked for.
    fn keep(&mut self, subscribed: Subscribed, place: impl Fn(&str) -> Option<usize>) -> Vec<u8> {
        let Subscribed { mut codes, changes } = subscribed;
        if !self.kept.is_durable() || changes.is_empty() {
            return codes;
        }
        self.work.to_write = true;
        // Positions first: no subscription is on disk without its own.
        self.save();
        for change in changes {
            match change {
                Change::Remove(filter) => {
                    self.kept.unsubscribe(&filter);
                }
                Change::Set(subscription) => {
                    let filter = subscription.filter.filter.clone();
                    if self.kept.subscribe(subscription).is_err() {
                        self.outbound.unsubscribe(&Unsubscribe { id: 0, filters: vec![filter.clone()] });
                        self.counters.refused(Refusal::TooManySubscriptions);
                        if let Some(code) = place(&filter).and_then(|at| codes.get_mut(at)) {
                            *code = Refusal::TooManySubscriptions.code();
                        }
                    }
                }
            }
        }
        codes
    }

    /// Whether there are positions to [`Session::save`].
    pub(super) fn has_moved(&self) -> bool {
        self.kept.is_durable() && self.outbound.has_moved()
    }

    /// Hands in the positions of a session that outlives its connection; nobody waits for them.
    pub(super) fn save(&mut self) {
        self.kept.state.positions = self.outbound.positions();
        self.kept.save();
    }

    /// What there is to wait for before [`Session::committed`]: that what the session has to remember is on disk.
    pub(super) fn flush(&mut self) -> Option<Written> {
        if std::mem::take(&mut self.work.to_write) { self.kept.flush() } else { None }
    }

    /// The connection is over: gives the session back.
    pub(super) fn detach(self, end: End) {
        let Self { mut kept, outbound, .. } = self;
        if kept.is_durable() {
            (kept.state.positions, kept.state.outbound) = outbound.detach();
        }
        kept.detach(end);
    }

    fn goodbye(&self, Disconnect { reason, session_expiry }: Disconnect) -> Result<Goodbye, Refused> {
        // Section 3.14.2.2.2: who said that the session ends with the connection cannot think again.
        if self.kept.expiry() == 0 && session_expiry.is_some_and(|seconds| seconds > 0) {
            return Err(Refusal::SessionExpiry.into());
        }
        // [MQTT-3.14.4-3]: only a normal one drops the will.
        Ok(Goodbye { with_will: reason != NORMAL, session_expiry })
    }

    /// The messages for ingest of what was handled since this was last asked.
    pub(super) fn take_messages(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.work.messages)
    }

    /// What the session has to remember is durable: the answers that waited for it go to `out`.
    pub(super) fn committed(&mut self, out: &mut BytesMut) {
        for then in self.work.then.drain(..) {
            match then {
                Then::Released { id, is_known: true } => self.writer.acknowledge(out, AckKind::PubComp, id),
                Then::Released { id, is_known: false } => {
                    self.writer.acknowledge_with(out, AckKind::PubComp, id, UNKNOWN_ID, "");
                }
                // A client that does not even take the answer to its own packet gets none.
                Then::Subscribed { id, codes } => drop(self.writer.subscribed(out, id, &codes)),
                Then::Unsubscribed { id, codes } => drop(self.writer.unsubscribed(out, id, &codes)),
            }
        }
        self.outbound.flush(out);
    }

    /// Takes what ingest says; answers go to `out`. What is stored and has to be retained comes back, and is answered when it
    /// is.
    ///
    /// # Errors
    /// [`Refusal`]: the session ends at once.
    pub(super) fn settle(&mut self, event: Event, out: &mut BytesMut) -> Result<Vec<ToRetain>, Refusal> {
        let mut to_retain = Vec::new();
        match event {
            Event::Outcomes(outcomes) => {
                for outcome in outcomes {
                    to_retain.extend(self.inbound.settle(outcome, out)?);
                }
            }
            Event::Ask(command) => self.outbound.ask(command, out),
        }
        Ok(to_retain)
    }

    /// Whether a message that is to be retained waits for its verdict.
    pub(super) fn is_to_retain(&self) -> bool {
        self.inbound.is_to_retain()
    }

    /// A message is retained, or cannot be; answers go to `out`.
    pub(super) fn retained(&mut self, ticket: u64, result: Result<(), Refusal>, out: &mut BytesMut) {
        self.inbound.retained(ticket, result, out);
    }

    /// Whether a message for the client may be written; `answers` bytes wait to be written. What a SUBSCRIBE brings comes
    /// behind its SUBACK.
    pub(super) fn takes_messages(&self, answers: usize) -> bool {
        let subscribes = self.work.then.iter().any(|then| matches!(then, Then::Subscribed { .. }));
        !self.inbound.is_ending() && !subscribes && self.outbound.takes(answers)
    }

    /// The next message for the client, never without a subscription. May be dropped at any time without losing one.
    pub(super) async fn next_message(&mut self) -> Next {
        self.outbound.next().await
    }

    /// Writes a message for the client, and those behind it that are there already.
    pub(super) fn deliver(&mut self, message: Next, out: &mut BytesMut) {
        self.outbound.deliver(message, out);
    }
}

/// PUBREL and PUBCOMP reason: packet identifier not found.
const UNKNOWN_ID: u8 = 0x92;
/// DISCONNECT reason: normal.
const NORMAL: u8 = 0;

//! One session: what each packet of a client means, without a socket and without a clock.
//!
//! What it guarantees: what a client sends goes to [`inbound`], what it is sent comes from [`super::outbound`]; what both
//! hold is bounded, and a full session is not read on ([`Session::has_room`]).

mod inbound;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use weir_protocol::AgentId;

use super::answer::Answer;
use super::counters::Counters;
use super::outbound::{Next, Outbound};
use super::refusal::Refusal;
use super::wire::{MAX_CONTROL, MAX_PACKET, Packet, Version};
use crate::ingest::{Event, Message};
use crate::mqtt::packet::{Filter, QoS, RetainHandling, Subscribe, Unsubscribe};
use inbound::Inbound;
pub(super) use inbound::most_in_line;

/// Answers that wait to be written, in bytes, before a client that does not read is not read either.
const MAX_ANSWERS: usize = 64 << 10;
/// The most that answers take, in bytes: those that wait, what one packet or event adds, and as much again because a
/// growing buffer doubles.
pub(super) const MOST_ANSWERS: usize = 2 * (MAX_ANSWERS + MAX_CONTROL + MAX_PACKET);

/// What one connection may have in flight.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Messages.
    pub receive_maximum: u16,
    /// Bytes of packets.
    pub budget: usize,
}

/// The session of one connected client.
pub struct Session {
    answer: Answer,
    inbound: Inbound,
    outbound: Outbound,
    paused: bool,
    counters: Arc<Counters>,
}

/// What the connection has to do after a packet.
#[derive(Debug)]
pub enum Step {
    /// Nothing but writing the answers.
    Nothing,
    /// Hand this to ingest.
    Submit(Message),
    /// Keep this as the agent's status.
    Status(Bytes),
    /// The client said goodbye.
    Goodbye {
        /// Whether its will is to be published.
        with_will: bool,
    },
}

impl Session {
    /// A session of `agent`, which [`super::admission`] let in.
    pub fn new(answer: Answer, agent: AgentId, limits: Limits, outbound: Outbound, counters: Arc<Counters>) -> Self {
        Self {
            answer,
            inbound: Inbound::new(answer, agent, limits, counters.clone()),
            outbound,
            paused: false,
            counters,
        }
    }

    /// Whether another packet may be taken in; `answers` bytes wait to be written.
    pub fn has_room(&self, answers: usize) -> bool {
        answers < MAX_ANSWERS && self.inbound.has_room()
    }

    /// Bytes that it holds.
    pub fn held(&self) -> usize {
        self.inbound.held() + self.outbound.held()
    }

    /// Gives back what it holds for traffic that there is not.
    pub fn trim(&mut self) {
        self.inbound.trim();
        self.outbound.trim();
    }

    /// The version of MQTT that it speaks.
    pub fn version(&self) -> Version {
        self.answer.version
    }

    /// Notes whether packets have to wait for room.
    pub fn set_paused(&mut self, paused: bool) {
        if paused && !self.paused {
            self.counters.paused();
        }
        self.paused = paused;
    }

    /// Takes no more packets, and ends with `refusal` once everything in flight is answered.
    pub fn end_with(&mut self, refusal: Refusal) {
        self.inbound.end_with(refusal);
    }

    /// Why the session is over, once it is: everything in flight is answered.
    pub fn ended(&self) -> Option<Refusal> {
        self.inbound.ended()
    }

    /// Takes a packet of `bytes` bytes; answers go to `out`.
    pub fn handle(&mut self, packet: Packet, bytes: usize, out: &mut BytesMut) -> Result<Step, Refusal> {
        if let Packet::Publish(publish) = packet {
            return self.inbound.publish(publish, bytes, out);
        }
        self.inbound.count_with_last(bytes);
        match packet {
            Packet::Publish(_) => (),
            Packet::Subscribe { pkid, filters } => {
                let filters = filters.into_iter().map(|(filter, qos)| Filter {
                    filter,
                    qos: if qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce },
                    no_local: false,
                    retain_as_published: false,
                    retain_handling: RetainHandling::Always,
                });
                let subscribe = Subscribe { id: pkid, identifier: None, filters: filters.collect() };
                let codes = self.outbound.subscribe(&subscribe).codes;
                let codes: Vec<u8> = match self.answer.version {
                    Version::V4 => codes.into_iter().map(|code| code.min(0x80)).collect(),
                    Version::V5 => codes,
                };
                self.answer.subscribed(out, pkid, &codes);
                self.outbound.flush(out);
            }
            Packet::Unsubscribe { pkid, filters } => {
                let codes = self.outbound.unsubscribe(&Unsubscribe { id: pkid, filters }).codes;
                self.answer.unsubscribed(out, pkid, &codes);
            }
            Packet::PubAck { pkid } => self.outbound.acknowledged(pkid, out),
            Packet::PingReq => self.answer.pong(out),
            Packet::Disconnect { with_will } => return Ok(Step::Goodbye { with_will }),
            Packet::Connect(_) => return Err(Refusal::Protocol),
        }
        Ok(Step::Nothing)
    }

    /// Takes what ingest says; answers go to `out`. An error ends the session at once.
    pub fn settle(&mut self, event: Event, out: &mut BytesMut) -> Result<(), Refusal> {
        match event {
            Event::Outcomes(outcomes) => outcomes.into_iter().try_for_each(|outcome| self.inbound.settle(outcome, out)),
            Event::Ask(command) => {
                self.outbound.ask(command, out);
                Ok(())
            }
        }
    }

    /// Whether a message for the client may be written; `answers` bytes wait to be written.
    pub fn takes_messages(&self, answers: usize) -> bool {
        !self.inbound.is_ending() && self.outbound.takes(answers)
    }

    /// The next message for the client, never without a subscription. May be dropped at any time without losing one.
    pub async fn next_message(&mut self) -> Next {
        self.outbound.next().await
    }

    /// Writes a message for the client, and those behind it that are there already.
    pub fn deliver(&mut self, message: Next, out: &mut BytesMut) {
        self.outbound.deliver(message, out);
    }
}

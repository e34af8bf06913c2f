//! One session: what each packet of a client means, without a socket and without a clock.
//!
//! What it guarantees:
//! - a PUBACK is written only after the verdict on its message, and PUBACKs come in the order of the PUBLISHes;
//! - after a refused batch nothing later is acknowledged with success: the answers to what was read already
//!   are written, then the session ends, and the agent comes back with what was refused;
//! - an agent publishes only under its own `weir/1/{tenant}/{agent}/`, and subscribes to its own `command` and to
//!   the live readings of its tenant ([`super::deliveries`]);
//! - what is in flight is bounded in messages and in bytes; a full session is not read on ([`Session::has_room`]).
//!   Whatever else a client sends while a message is in flight counts with that message, because it may keep the same
//!   block of the read buffer alive.
//!
//! Retained messages and wills exist for the status topic only: the last status of an agent is kept in memory
//! ([`super::agents`]) and is not durable. Any other retain flag is ignored.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hashbrown::HashSet;
use weir_protocol::batch::MAX_PAYLOAD;
use weir_protocol::mqtt::{Purpose, Topic};
use weir_protocol::{AgentId, Tenant};

use super::answer::Answer;
use super::commands::Commands;
use super::counters::Counters;
use super::deliveries::{Subscriptions, Unacknowledged};
use super::refusal::Refusal;
use super::wire::{Connect, MAX_CONTROL, Packet, Publish, Version, Will};
use crate::ingest::{Event, Failure, Message, Outcome, Verdict};
use crate::router::registry::MAX_MESSAGE;
use crate::router::{self, Live};

/// The longest status, in bytes; it is for people.
pub const MAX_STATUS: usize = 4096;
/// Answers that wait to be written, in bytes, before a client that does not read is not read either.
const MAX_ANSWERS: usize = 64 << 10;
/// Live messages that wait to be written, in bytes, before the next one waits for its turn.
const MAX_LIVE: usize = 32 << 10;
/// The most that answers take, in bytes: those that wait, what one packet or event adds, and as much again because a
/// growing buffer doubles.
pub(super) const MOST_ANSWERS: usize = 2 * (MAX_ANSWERS + MAX_CONTROL + MAX_MESSAGE);

/// What one connection may have in flight.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Messages.
    pub receive_maximum: u16,
    /// Bytes of packets.
    pub budget: usize,
}

/// The most bytes that the places in line take: those of messages, and the events that answer them.
pub(super) const fn most_in_line(limits: Limits) -> usize {
    2 * limits.receive_maximum as usize * (size_of::<Pending>() + size_of::<Outcome>() + 2 * size_of::<u16>())
}

/// The session of one connected client.
pub struct Session {
    answer: Answer,
    limits: Limits,
    /// The largest packet that the client takes, in bytes.
    max_packet: u32,
    pending: VecDeque<Pending>,
    /// The packet ids of `pending`.
    in_flight: HashSet<u16>,
    /// Bytes of `pending`.
    pending_bytes: usize,
    next_ticket: u64,
    commands: Commands,
    unacknowledged: Unacknowledged,
    /// Where live subscriptions are made, if they are served.
    live: Option<Live>,
    subscriptions: Option<Box<Subscriptions>>,
    ending: Option<Refusal>,
    paused: bool,
    counters: Arc<Counters>,
}

/// A PUBLISH that is not answered yet.
#[derive(Debug)]
struct Pending {
    ticket: u64,
    /// 0 at QoS 0: nothing to answer.
    pkid: u16,
    bytes: usize,
    /// Known at once for what does not go to ingest; it waits for its turn all the same.
    known: Option<Result<(), Refusal>>,
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

/// Checks a CONNECT; the agent that it names, and its will as a status.
pub fn admit(connect: &Connect) -> Result<(AgentId, Option<Bytes>), Refusal> {
    if connect.enhanced_authentication {
        return Err(Refusal::AuthMethod);
    }
    let agent = AgentId::new(&connect.client_id).map_err(|_| Refusal::ClientId)?;
    let status = topic(agent, Purpose::Status);
    match &connect.will {
        None => Ok((agent, None)),
        Some(Will { topic, payload, qos: 0 | 1 }) if topic[..] == *status.as_bytes() && payload.len() <= MAX_STATUS => {
            Ok((agent, Some(Bytes::copy_from_slice(payload))))
        }
        Some(_) => Err(Refusal::Will),
    }
}

fn topic(agent: AgentId, purpose: Purpose) -> String {
    Topic { tenant: Tenant::DEFAULT, agent, purpose }.to_string()
}

impl Session {
    /// A session of `agent`, which [`admit`] let in.
    pub fn new(
        answer: Answer,
        agent: AgentId,
        connect: &Connect,
        limits: Limits,
        live: Option<Live>,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            answer,
            limits,
            max_packet: connect.max_packet,
            pending: VecDeque::new(),
            in_flight: HashSet::new(),
            pending_bytes: 0,
            next_ticket: 0,
            commands: Commands::new(topic(agent, Purpose::Command)),
            unacknowledged: Unacknowledged::new(connect.receive_maximum),
            live,
            subscriptions: None,
            ending: None,
            paused: false,
            counters,
        }
    }

    /// Whether another packet may be taken in; `answers` bytes wait to be written.
    pub fn has_room(&self, answers: usize) -> bool {
        // A client of MQTT 5 that goes beyond the messages announced must be read to be caught; at QoS 0, and on
        // 3.1.1, nothing was announced, and it waits.
        let most = match self.answer.version {
            Version::V4 => usize::from(self.limits.receive_maximum),
            Version::V5 => 2 * usize::from(self.limits.receive_maximum),
        };
        self.ending.is_none()
            && self.pending.len() < most
            && self.pending_bytes < self.limits.budget
            && answers < MAX_ANSWERS
    }

    /// Bytes that it holds.
    pub fn held(&self) -> usize {
        let line = self.pending.capacity() * size_of::<Pending>() + self.in_flight.capacity() * 2 * size_of::<u16>();
        let live = self.subscriptions.as_ref().map_or(0, |subscriptions| subscriptions.held());
        self.pending_bytes + line + self.commands.held() + live
    }

    /// Gives back what it holds for traffic that there is not.
    pub fn trim(&mut self) {
        self.pending.shrink_to_fit();
        self.in_flight.shrink_to_fit();
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
        self.ending.get_or_insert(refusal);
    }

    /// Why the session is over, once it is: everything in flight is answered.
    pub fn ended(&self) -> Option<Refusal> {
        self.ending.filter(|_| self.pending.is_empty())
    }

    /// Takes a packet of `bytes` bytes; answers go to `out`.
    pub fn handle(&mut self, packet: Packet, bytes: usize, out: &mut BytesMut) -> Result<Step, Refusal> {
        if let Packet::Publish(publish) = packet {
            return self.publish(publish, bytes, out);
        }
        if let Some(last) = self.pending.back_mut() {
            last.bytes += bytes;
            self.pending_bytes += bytes;
        }
        match packet {
            Packet::Publish(_) => (),
            Packet::Subscribe { pkid, filters } => {
                let codes: Vec<u8> = filters.iter().map(|(filter, qos)| self.subscribe(filter, *qos)).collect();
                self.answer.subscribed(out, pkid, &codes);
                self.commands.flush(self.answer, &mut self.unacknowledged, out);
            }
            Packet::Unsubscribe { pkid, filters } => {
                let codes: Vec<u8> = filters.iter().map(|filter| self.unsubscribe(filter)).collect();
                self.answer.unsubscribed(out, pkid, &codes);
            }
            Packet::PubAck { pkid } => {
                self.unacknowledged.acknowledged(pkid);
                self.commands.flush(self.answer, &mut self.unacknowledged, out);
            }
            Packet::PingReq => self.answer.pong(out),
            Packet::Disconnect { with_will } => return Ok(Step::Goodbye { with_will }),
            Packet::Connect(_) => return Err(Refusal::Protocol),
        }
        Ok(Step::Nothing)
    }

    fn publish(&mut self, publish: Publish, bytes: usize, out: &mut BytesMut) -> Result<Step, Refusal> {
        let Publish { topic, payload, qos, pkid, has_alias } = publish;
        if qos > 1 {
            return Err(Refusal::QoS);
        }
        if has_alias || topic.is_empty() {
            return Err(Refusal::TopicAlias);
        }
        if payload.len() > MAX_PAYLOAD {
            return Err(Refusal::PacketTooLarge);
        }
        if qos == 1 && self.in_flight.len() >= usize::from(self.limits.receive_maximum) {
            return Err(Refusal::ReceiveMaximum);
        }
        self.counters.received(bytes);
        if qos == 1 && self.in_flight.contains(&pkid) {
            return self.refuse_publish(Refusal::PacketIdInUse, qos, pkid, bytes, out);
        }
        match self.purpose(&topic) {
            Ok(Purpose::Status) if payload.len() > MAX_STATUS => Err(Refusal::PacketTooLarge),
            Ok(Purpose::Status) => {
                self.wait(pkid, bytes, Some(Ok(())));
                self.answer_known(out);
                Ok(Step::Status(Bytes::copy_from_slice(&payload)))
            }
            Ok(purpose) => {
                let ticket = self.wait(pkid, bytes, None);
                Ok(Step::Submit(Message { ticket, purpose, payload }))
            }
            Err(refusal) => self.refuse_publish(refusal, qos, pkid, bytes, out),
        }
    }

    /// What a topic of this agent is for.
    fn purpose(&self, topic: &[u8]) -> Result<Purpose, Refusal> {
        match topic.strip_prefix(self.commands.topic_prefix()) {
            Some(b"batch") => Ok(Purpose::Batch),
            Some(b"describe") => Ok(Purpose::Describe),
            Some(b"status") => Ok(Purpose::Status),
            _ => Err(match std::str::from_utf8(topic).ok().and_then(Topic::parse) {
                Some(_) => Refusal::NotAuthorized,
                None => Refusal::TopicName,
            }),
        }
    }

    /// Refuses one message and goes on, where there is a PUBACK to say it with.
    fn refuse_publish(
        &mut self,
        refusal: Refusal,
        qos: u8,
        pkid: u16,
        bytes: usize,
        out: &mut BytesMut,
    ) -> Result<Step, Refusal> {
        if qos == 0 || self.answer.version == Version::V4 {
            return Err(refusal);
        }
        self.counters.refused(refusal);
        self.wait(pkid, bytes, Some(Err(refusal)));
        self.answer_known(out);
        Ok(Step::Nothing)
    }

    /// Puts a message in line for its answer.
    fn wait(&mut self, pkid: u16, bytes: usize, known: Option<Result<(), Refusal>>) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.pending_bytes += bytes;
        if pkid != 0 {
            self.in_flight.insert(pkid);
        }
        self.pending.push_back(Pending { ticket, pkid, bytes, known });
        ticket
    }

    fn next_in_line(&mut self, wanted: impl Fn(&Pending) -> bool) -> Option<Pending> {
        let next = self.pending.pop_front_if(|pending| wanted(pending))?;
        self.pending_bytes -= next.bytes;
        self.in_flight.remove(&next.pkid);
        Some(next)
    }

    /// Answers the messages at the head of the line whose answer is known.
    fn answer_known(&mut self, out: &mut BytesMut) {
        while let Some(Pending { pkid, known, .. }) = self.next_in_line(|pending| pending.known.is_some()) {
            match known {
                _ if pkid == 0 => (),
                Some(Err(refusal)) => self.answer.acknowledged_with(out, pkid, refusal.code(), refusal.text()),
                Some(Ok(())) | None => self.answer.acknowledged(out, pkid),
            }
        }
    }

    /// Takes what ingest says; answers go to `out`. An error ends the session at once.
    pub fn settle(&mut self, event: Event, out: &mut BytesMut) -> Result<(), Refusal> {
        match event {
            Event::Outcomes(outcomes) => outcomes.into_iter().try_for_each(|outcome| self.answer_one(outcome, out)),
            Event::Ask(command) => {
                if !self.commands.ask(command) {
                    self.counters.ask_dropped();
                }
                self.commands.flush(self.answer, &mut self.unacknowledged, out);
                Ok(())
            }
        }
    }

    fn answer_one(&mut self, outcome: Outcome, out: &mut BytesMut) -> Result<(), Refusal> {
        let Some(Pending { pkid, .. }) = self.next_in_line(|pending| pending.ticket == outcome.ticket) else {
            // Answers would go to the wrong messages from here on.
            tracing::error!(got = outcome.ticket, expected = ?self.pending.front(), "verdict out of order");
            return Err(Refusal::Commit);
        };
        match outcome.verdict {
            Verdict::Stored => {
                self.counters.stored();
                if pkid != 0 {
                    self.answer.acknowledged(out, pkid);
                }
            }
            Verdict::DeadLettered(reason) => {
                self.counters.dead_lettered();
                if pkid != 0 {
                    self.answer.acknowledged_with(out, pkid, DEAD_LETTERED, reason.as_str());
                }
            }
            Verdict::Unreadable(why) => self.refuse(Refusal::Unreadable, pkid, why, out)?,
            Verdict::Failed(Failure::AfterRefusal) => {
                self.refuse(Refusal::AfterRefusal, pkid, Refusal::AfterRefusal.text(), out)?;
            }
            Verdict::Failed(Failure::Quota) => self.refuse(Refusal::Quota, pkid, Refusal::Quota.text(), out)?,
            Verdict::Failed(Failure::Commit) => return Err(Refusal::Commit),
            Verdict::Failed(Failure::Stopping) => return Err(Refusal::ShuttingDown),
        }
        self.answer_known(out);
        Ok(())
    }

    /// Answers a refused batch, after which the session ends; 3.1.1 cannot say it and ends at once.
    fn refuse(&mut self, refusal: Refusal, pkid: u16, text: &str, out: &mut BytesMut) -> Result<(), Refusal> {
        if self.answer.version == Version::V4 {
            return Err(refusal);
        }
        self.counters.refused(refusal);
        if pkid != 0 {
            self.answer.acknowledged_with(out, pkid, refusal.code(), text);
        }
        self.end_with(refusal);
        Ok(())
    }

    fn subscribe(&mut self, filter: &str, qos: u8) -> u8 {
        let granted = qos.min(1);
        if filter == self.commands.topic() {
            self.commands.subscribe(granted);
            return granted;
        }
        match self.subscribe_live(filter, granted) {
            Ok(()) => granted,
            Err(refusal) => {
                self.counters.refused(refusal);
                match self.answer.version {
                    Version::V4 => 0x80,
                    Version::V5 => refusal.code(),
                }
            }
        }
    }

    fn subscribe_live(&mut self, filter: &str, qos: u8) -> Result<(), Refusal> {
        Subscriptions::check(Tenant::DEFAULT, filter)?;
        let live = self.live.as_ref().ok_or(Refusal::NotAuthorized)?;
        if self.subscriptions.is_none() {
            self.subscriptions = Some(Box::new(Subscriptions::new(live)?));
        }
        let added = self.subscriptions.as_mut().map_or(Ok(()), |subscriptions| subscriptions.add(filter, qos));
        self.forget_empty_subscriptions();
        added
    }

    fn unsubscribe(&mut self, filter: &str) -> u8 {
        let existed = if filter == self.commands.topic() {
            self.commands.unsubscribe()
        } else {
            self.subscriptions.as_mut().is_some_and(|subscriptions| subscriptions.remove(filter))
        };
        self.forget_empty_subscriptions();
        if existed { 0 } else { NO_SUBSCRIPTION }
    }

    fn forget_empty_subscriptions(&mut self) {
        if self.subscriptions.as_ref().is_some_and(|subscriptions| subscriptions.is_empty()) {
            self.subscriptions = None;
        }
    }

    /// Whether a live message may be written; `answers` bytes wait to be written.
    pub fn takes_live(&self, answers: usize) -> bool {
        let ids = |subscriptions: &Subscriptions| !subscriptions.at_qos_1() || self.unacknowledged.has_room();
        self.ending.is_none() && answers < MAX_LIVE && self.subscriptions.as_ref().is_some_and(|all| ids(all))
    }

    /// The next live message, never without a subscription. May be dropped at any time without losing one.
    pub async fn next_live(&mut self) -> router::Message {
        match &mut self.subscriptions {
            Some(subscriptions) => subscriptions.next().await,
            None => std::future::pending().await,
        }
    }

    /// Writes a live message, and those behind it that are there already.
    pub fn deliver(&mut self, message: router::Message, out: &mut BytesMut) {
        let mut next = Some(message);
        while let Some(message) = next.take() {
            if let Some(subscriptions) = &self.subscriptions {
                subscriptions.write(&message, self.answer, &mut self.unacknowledged, self.max_packet, out);
            }
            if self.takes_live(out.len()) {
                next = self.subscriptions.as_mut().and_then(|subscriptions| subscriptions.try_next());
            }
        }
    }
}

/// UNSUBACK reason: no subscription existed.
const NO_SUBSCRIPTION: u8 = 0x11;
/// PUBACK reason: payload format invalid. The batch is durable as a dead letter; do not send it again.
const DEAD_LETTERED: u8 = 0x99;

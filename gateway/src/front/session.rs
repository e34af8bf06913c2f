//! One session: what each packet of a client means, without a socket and without a clock.
//!
//! What it guarantees:
//! - a PUBACK is written only after the verdict on its message, and PUBACKs come in the order of the PUBLISHes;
//! - after a refused batch nothing later is acknowledged with success: the answers to what was read already
//!   are written, then the session ends, and the agent comes back with what was refused;
//! - an agent publishes and subscribes only under its own `weir/1/{tenant}/{agent}/`;
//! - what is in flight is bounded in messages and in bytes; a full session is not read on ([`Session::has_room`]).
//!
//! Retained messages and wills exist for the status topic only: the last status of an agent is kept in memory
//! ([`super::agents`]) and is not durable. Any other retain flag is ignored.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use weir_protocol::batch::MAX_PAYLOAD;
use weir_protocol::mqtt::{Purpose, Topic};
use weir_protocol::{AgentId, Tenant};

use super::answer::Answer;
use super::commands::Commands;
use super::counters::Counters;
use super::refusal::Refusal;
use super::wire::{Connect, Packet, Publish, Version, Will};
use crate::ingest::{Event, Failure, Message, Outcome, Verdict};

/// The longest status, in bytes; it is for people.
pub const MAX_STATUS: usize = 4096;
/// Answers that wait to be written, in bytes, before a client that does not read is not read either.
const MAX_ANSWERS: usize = 64 << 10;

/// What one connection may have in flight.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Messages.
    pub receive_maximum: u16,
    /// Bytes of packets.
    pub budget: usize,
}

/// The session of one connected agent.
#[derive(Debug)]
pub struct Session {
    answer: Answer,
    limits: Limits,
    own: Own,
    pending: VecDeque<Pending>,
    /// Bytes and QoS 1 messages of `pending`.
    pending_bytes: usize,
    pending_qos1: usize,
    next_ticket: u64,
    commands: Commands,
    ending: Option<Refusal>,
    paused: bool,
    counters: Arc<Counters>,
}

/// The topics that an agent may publish on.
#[derive(Debug)]
struct Own {
    batch: String,
    describe: String,
    status: String,
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
    pub fn new(answer: Answer, agent: AgentId, connect: &Connect, limits: Limits, counters: Arc<Counters>) -> Self {
        Self {
            answer,
            limits,
            own: Own {
                batch: topic(agent, Purpose::Batch),
                describe: topic(agent, Purpose::Describe),
                status: topic(agent, Purpose::Status),
            },
            pending: VecDeque::new(),
            pending_bytes: 0,
            pending_qos1: 0,
            next_ticket: 0,
            commands: Commands::new(topic(agent, Purpose::Command), connect.receive_maximum),
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
        match packet {
            Packet::Publish(publish) => return self.publish(publish, bytes, out),
            Packet::Subscribe { pkid, filters } => {
                let codes: Vec<u8> = filters.iter().map(|(filter, qos)| self.subscribe(filter, *qos)).collect();
                self.answer.subscribed(out, pkid, &codes);
                self.commands.flush(self.answer, out);
            }
            Packet::Unsubscribe { pkid, filters } => {
                let codes: Vec<u8> = filters.iter().map(|filter| self.unsubscribe(filter)).collect();
                self.answer.unsubscribed(out, pkid, &codes);
            }
            Packet::PubAck => {
                self.commands.acknowledged();
                self.commands.flush(self.answer, out);
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
        if qos == 1 && self.pending_qos1 >= usize::from(self.limits.receive_maximum) {
            return Err(Refusal::ReceiveMaximum);
        }
        self.counters.received(bytes);
        let purpose = if topic[..] == *self.own.batch.as_bytes() {
            Purpose::Batch
        } else if topic[..] == *self.own.describe.as_bytes() {
            Purpose::Describe
        } else if topic[..] == *self.own.status.as_bytes() {
            if payload.len() > MAX_STATUS {
                return Err(Refusal::PacketTooLarge);
            }
            self.wait(pkid, bytes, Some(Ok(())));
            self.answer_known(out);
            return Ok(Step::Status(Bytes::copy_from_slice(&payload)));
        } else {
            let parsed = std::str::from_utf8(&topic).ok().and_then(Topic::parse);
            let refusal = if parsed.is_some() { Refusal::NotAuthorized } else { Refusal::TopicName };
            if qos == 0 || self.answer.version == Version::V4 {
                return Err(refusal);
            }
            self.counters.refused(refusal);
            self.wait(pkid, bytes, Some(Err(refusal)));
            self.answer_known(out);
            return Ok(Step::Nothing);
        };
        let ticket = self.wait(pkid, bytes, None);
        Ok(Step::Submit(Message { ticket, purpose, payload }))
    }

    /// Puts a message in line for its answer.
    fn wait(&mut self, pkid: u16, bytes: usize, known: Option<Result<(), Refusal>>) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.pending_bytes += bytes;
        self.pending_qos1 += usize::from(pkid != 0);
        self.pending.push_back(Pending { ticket, pkid, bytes, known });
        ticket
    }

    fn next_in_line(&mut self, wanted: impl Fn(&Pending) -> bool) -> Option<Pending> {
        let next = self.pending.pop_front_if(|pending| wanted(pending))?;
        self.pending_bytes -= next.bytes;
        self.pending_qos1 -= usize::from(next.pkid != 0);
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
                self.commands.flush(self.answer, out);
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
        if filter != self.commands.topic() {
            self.counters.refused(Refusal::NotAuthorized);
            return match self.answer.version {
                Version::V4 => 0x80,
                Version::V5 => Refusal::NotAuthorized.code(),
            };
        }
        let granted = qos.min(1);
        self.commands.subscribe(Some(granted));
        granted
    }

    fn unsubscribe(&mut self, filter: &str) -> u8 {
        if filter != self.commands.topic() {
            return 0x11; // no subscription existed
        }
        self.commands.subscribe(None);
        0
    }
}

/// PUBACK reason: payload format invalid. The batch is durable as a dead letter; do not send it again.
const DEAD_LETTERED: u8 = 0x99;

//! What a client publishes, and what it is answered.
//!
//! What it guarantees:
//! - a PUBACK is written only after the verdict on its message, and PUBACKs come in the order of the PUBLISHes;
//! - after a refused batch nothing later is acknowledged with success: the answers to what was read already
//!   are written, then the session ends, and the agent comes back with what was refused;
//! - an agent publishes only under its own `weir/1/{tenant}/{agent}/`;
//! - what is in flight is bounded in messages and in bytes; a full session is not read on. Whatever else a client sends
//!   while a message is in flight counts with that message, because it may keep the same block of the read buffer alive.
//!
//! Retained messages and wills exist for the status topic only: the last status of an agent is kept in memory
//! ([`crate::front::agents`]) and is not durable. Any other retain flag is ignored.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hashbrown::HashSet;
use weir_protocol::batch::MAX_PAYLOAD;
use weir_protocol::mqtt::{Purpose, Topic};
use weir_protocol::{AgentId, Tenant};

use super::{Limits, Step};
use crate::front::admission::MAX_STATUS;
use crate::front::answer::Answer;
use crate::front::counters::Counters;
use crate::front::refusal::Refusal;
use crate::front::wire::{Publish, Version};
use crate::ingest::{Body, Failure, Message, Outcome, Verdict};

/// The most bytes that the places in line take: those of messages, and the events that answer them.
pub(crate) const fn most_in_line(limits: Limits) -> usize {
    2 * limits.receive_maximum as usize * (size_of::<Pending>() + size_of::<Outcome>() + 2 * size_of::<u16>())
}

/// What one client published and is not answered yet.
pub(super) struct Inbound {
    answer: Answer,
    limits: Limits,
    /// What begins every topic of the agent.
    prefix: String,
    pending: VecDeque<Pending>,
    /// The packet ids of `pending`.
    in_flight: HashSet<u16>,
    /// Bytes of `pending`.
    pending_bytes: usize,
    next_ticket: u64,
    ending: Option<Refusal>,
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

impl Inbound {
    /// Nothing published yet.
    pub(super) fn new(answer: Answer, agent: AgentId, limits: Limits, counters: Arc<Counters>) -> Self {
        Self {
            answer,
            limits,
            prefix: format!("weir/1/{}/{agent}/", Tenant::DEFAULT),
            pending: VecDeque::new(),
            in_flight: HashSet::new(),
            pending_bytes: 0,
            next_ticket: 0,
            ending: None,
            counters,
        }
    }

    /// Whether another packet may be taken in.
    pub(super) fn has_room(&self) -> bool {
        // A client of MQTT 5 that goes beyond the messages announced must be read to be caught; at QoS 0, and on
        // 3.1.1, nothing was announced, and it waits.
        let most = match self.answer.version {
            Version::V4 => usize::from(self.limits.receive_maximum),
            Version::V5 => 2 * usize::from(self.limits.receive_maximum),
        };
        self.ending.is_none() && self.pending.len() < most && self.pending_bytes < self.limits.budget
    }

    /// Bytes that it holds.
    pub(super) fn held(&self) -> usize {
        let line = self.pending.capacity() * size_of::<Pending>() + self.in_flight.capacity() * 2 * size_of::<u16>();
        self.pending_bytes + line
    }

    /// Gives back what it holds for traffic that there is not.
    pub(super) fn trim(&mut self) {
        self.pending.shrink_to_fit();
        self.in_flight.shrink_to_fit();
    }

    /// Takes no more packets, and ends with `refusal` once everything in flight is answered.
    pub(super) fn end_with(&mut self, refusal: Refusal) {
        self.ending.get_or_insert(refusal);
    }

    /// Whether it takes no more packets.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Why it is over, once it is: everything in flight is answered.
    pub(super) fn ended(&self) -> Option<Refusal> {
        self.ending.filter(|_| self.pending.is_empty())
    }

    /// Counts the bytes of another packet with the last message in flight.
    pub(super) fn count_with_last(&mut self, bytes: usize) {
        if let Some(last) = self.pending.back_mut() {
            last.bytes += bytes;
            self.pending_bytes += bytes;
        }
    }

    /// Takes a PUBLISH of `bytes` bytes; answers go to `out`.
    pub(super) fn publish(&mut self, publish: Publish, bytes: usize, out: &mut BytesMut) -> Result<Step, Refusal> {
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
                let body = if purpose == Purpose::Batch { Body::Batch } else { Body::Describe };
                Ok(Step::Submit(Message { ticket, body, payload }))
            }
            Err(refusal) => self.refuse_publish(refusal, qos, pkid, bytes, out),
        }
    }

    /// What a topic of this agent is for.
    fn purpose(&self, topic: &[u8]) -> Result<Purpose, Refusal> {
        match topic.strip_prefix(self.prefix.as_bytes()) {
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

    /// Takes the verdict of ingest on one message; answers go to `out`. An error ends the session at once.
    pub(super) fn settle(&mut self, outcome: Outcome, out: &mut BytesMut) -> Result<(), Refusal> {
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
}

/// PUBACK reason: payload format invalid. The batch is durable as a dead letter; do not send it again.
const DEAD_LETTERED: u8 = 0x99;

//! What a client publishes, and what it is answered.
//!
//! What it guarantees:
//! - a PUBACK or PUBREC is written only after the verdict on its message, and after a retained one is durable as such; they
//!   come in the order of the PUBLISHes ([`super::line`]);
//! - a message of QoS 2 goes to ingest with the sequence that its packet id has until PUBREL, so a repeat is known as one,
//!   over connections and kills if the session is durable ([`crate::sessions`]); PUBCOMP says that the id is free;
//! - after a refused batch nothing later is acknowledged with success: the answers to what was read already
//!   are written, then the session ends, and the client comes back with what was refused;
//! - what is in flight is bounded in messages, in packet ids and in bytes; a full session is not read on. Whatever else a
//!   client sends while a message is in flight counts with that message, because it may keep the same block of the read
//!   buffer alive.

use std::mem;
use std::sync::Arc;

use bytes::BytesMut;
use hashbrown::HashMap;
use weir_protocol::batch::MAX_PAYLOAD;
use weir_protocol::mqtt::MAX_ORDER;

use super::Limits;
use super::aliases::Aliases;
use super::line::{Line, Reply};
use super::work::{Then, Work};
use crate::front::counters::Counters;
use crate::front::destination::{Destination, Destinations, MAX_STATUS};
use crate::front::refusal::{Refusal, Refused};
use crate::ingest::{Body, Failure, Message, Outcome, Published, Verdict};
use crate::mqtt::packet::{Ack, Publish, QoS, Version};
use crate::mqtt::write::{AckKind, Writer};
use crate::sessions;

/// The most packet ids of QoS 2 that a client of MQTT 3.1.1 may have unreleased: nothing was announced to it.
const MOST_UNANNOUNCED: usize = 8192;

/// The most bytes that the places in line take: those of messages, the events that answer them, and their packet ids.
pub(in crate::front) const fn most_in_line(limits: Limits) -> usize {
    let line = 2 * limits.receive_maximum as usize * (size_of::<super::line::Place>() + size_of::<Outcome>());
    line + 2 * MOST_UNANNOUNCED * size_of::<(u16, Stage)>()
}

/// What one client published and is not answered yet.
pub(super) struct Inbound {
    writer: Writer,
    limits: Limits,
    destinations: Destinations,
    aliases: Aliases,
    line: Line,
    /// The packet ids that are not free.
    ids: HashMap<u16, Stage>,
    ending: Option<Refusal>,
    counters: Arc<Counters>,
}

/// How far the message with a packet id is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// QoS 1: PUBACK is to come.
    AtLeastOnce,
    /// QoS 2: PUBREC is to come.
    Arriving,
    /// QoS 2: PUBREC was sent, PUBREL is to come.
    Received,
}

/// A message that has to be retained before it is answered.
#[derive(Debug)]
pub(in crate::front) struct ToRetain {
    /// Its number, for [`super::Session::retained`].
    pub(in crate::front) ticket: u64,
    /// The message.
    pub(in crate::front) publish: Box<Publish>,
}

impl Inbound {
    /// Nothing published yet.
    pub(super) fn new(writer: Writer, destinations: Destinations, limits: Limits, counters: Arc<Counters>) -> Self {
        Self {
            writer,
            limits,
            destinations,
            aliases: Aliases::default(),
            line: Line::default(),
            ids: HashMap::new(),
            ending: None,
            counters,
        }
    }

    /// Whether another packet may be taken in.
    pub(super) fn has_room(&self) -> bool {
        // A client of MQTT 5 that goes beyond the messages announced must be read to be caught; at QoS 0, and on
        // 3.1.1, nothing was announced, and it waits.
        let most = match self.writer.version {
            Version::V4 => usize::from(self.limits.receive_maximum),
            Version::V5 => 2 * usize::from(self.limits.receive_maximum),
        };
        self.ending.is_none() && self.line.len() < most && self.line.bytes() < self.limits.budget
    }

    /// Bytes that it holds.
    pub(super) fn held(&self) -> usize {
        self.line.held() + self.ids.capacity() * 2 * size_of::<u16>() + self.aliases.held()
    }

    /// Gives back what it holds for traffic that there is not.
    pub(super) fn trim(&mut self) {
        self.line.trim();
        self.ids.shrink_to_fit();
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
        self.ending.filter(|_| self.line.len() == 0)
    }

    /// Counts the bytes of another packet with the last message in flight.
    pub(super) fn count_with_last(&mut self, bytes: usize) {
        self.line.count_with_last(bytes);
    }

    /// Takes a PUBLISH of `bytes` bytes; answers go to `out`, messages to `work`. What is to be retained and nothing else
    /// comes back.
    pub(super) fn publish(
        &mut self,
        mut publish: Box<Publish>,
        bytes: usize,
        (session, work): (&mut sessions::Session, &mut Work),
        out: &mut BytesMut,
    ) -> Result<Option<ToRetain>, Refused> {
        self.counters.received(bytes);
        if publish.payload.len() > MAX_PAYLOAD {
            return Err(Refusal::PacketTooLarge.into());
        }
        if let Err(refusal) = self.destinations.check_length(&publish.topic) {
            return self.refuse_publish(refusal, &publish, bytes, out);
        }
        publish.topic = self.aliases.resolve(publish.alias, mem::take(&mut publish.topic))?;
        if let Some(answered) = self.look_at_id(&publish, bytes, out)? {
            return Ok(answered);
        }
        let found = self.destinations.find(&publish.topic, &publish.properties);
        let destination = match found {
            Ok(Destination::Status) if publish.payload.len() > MAX_STATUS => Err(Refusal::PacketTooLarge)?,
            // An agent that is sent more than it takes would lose its connection.
            Ok(Destination::Order) if publish.payload.len() > MAX_ORDER => {
                return self.refuse_publish(Refusal::Quota, &publish, bytes, out);
            }
            // Else an agent would be its own operator.
            Ok(Destination::Decided) if !publish.payload.is_empty() => {
                return self.refuse_publish(Refusal::NotAuthorized, &publish, bytes, out);
            }
            Ok(destination) => destination,
            Err(refusal) => return self.refuse_publish(refusal, &publish, bytes, out),
        };
        // What agents send has identities of its own, and a status has no use for one.
        let identity = match (publish.qos, destination) {
            (QoS::ExactlyOnce, Destination::Store) => match session.begin(publish.id) {
                Ok(begun) => {
                    work.to_write |= begun.identity.is_some();
                    begun.identity
                }
                Err(sessions::Full) => return self.refuse_publish(Refusal::Quota, &publish, bytes, out),
            },
            (_, _) => None,
        };
        let ticket = self.wait(&publish, bytes, None);
        let is_to_retain = publish.retain && destination == Destination::Store;
        let body = match destination {
            Destination::Batch => Body::Batch,
            Destination::Describe => Body::Describe,
            Destination::Status | Destination::Order | Destination::Decided => {
                return Ok(Some(ToRetain { ticket, publish }));
            }
            Destination::Store => {
                let Publish { qos, retain, ref mut topic, ref mut properties, .. } = *publish;
                let (topic, properties) = match is_to_retain {
                    true => (topic.clone(), properties.clone()),
                    false => (mem::take(topic), mem::take(properties)),
                };
                Body::Published(Box::new(Published { topic, qos, retain, properties, identity }))
            }
        };
        // Moved where nothing else needs it: the bytes that a read brought are counted between threads.
        let payload = if is_to_retain { publish.payload.clone() } else { mem::take(&mut publish.payload) };
        work.messages.push(Message { ticket, body, payload });
        if is_to_retain && let Some(place) = self.line.waiting(ticket) {
            place.to_retain = Some(publish);
        }
        Ok(None)
    }

    /// Looks whether the packet id is free. If it is not, the message is answered, or what answers the first one answers it.
    fn look_at_id(
        &mut self,
        publish: &Publish,
        bytes: usize,
        out: &mut BytesMut,
    ) -> Result<Option<Option<ToRetain>>, Refused> {
        if publish.qos == QoS::AtMostOnce {
            return Ok(None);
        }
        let most = match self.writer.version {
            Version::V4 => MOST_UNANNOUNCED,
            Version::V5 => usize::from(self.limits.receive_maximum),
        };
        match (self.ids.get(&publish.id), publish.qos) {
            (None, _) if self.ids.len() >= most => Err(Refusal::ReceiveMaximum.into()),
            (None, _) => Ok(None),
            // [MQTT-4.3.3-10]: PUBREC again, and no second message.
            (Some(Stage::Arriving | Stage::Received), QoS::ExactlyOnce) => {
                self.line.push((publish.id, publish.qos), bytes, Some(Reply::Repeat));
                self.answer_known(out);
                Ok(Some(None))
            }
            // 3.1.1 lets a client send again on the same connection: one PUBACK answers both.
            (Some(Stage::AtLeastOnce), QoS::AtLeastOnce) if publish.dup && self.writer.version == Version::V4 => {
                self.line.count_with_last(bytes);
                Ok(Some(None))
            }
            (Some(_), _) => self.refuse_publish(Refusal::PacketIdInUse, publish, bytes, out).map(Some),
        }
    }

    /// Refuses one message and goes on, where there is a PUBACK or PUBREC to say it with.
    fn refuse_publish(
        &mut self,
        refusal: Refusal,
        publish: &Publish,
        bytes: usize,
        out: &mut BytesMut,
    ) -> Result<Option<ToRetain>, Refused> {
        if publish.qos == QoS::AtMostOnce || self.writer.version == Version::V4 {
            return Err(refusal.into());
        }
        self.counters.refused(refusal);
        self.line.push((publish.id, publish.qos), bytes, Some(refusal.into()));
        self.answer_known(out);
        Ok(None)
    }

    /// Puts a message in line for its answer.
    fn wait(&mut self, publish: &Publish, bytes: usize, reply: Option<Reply>) -> u64 {
        match publish.qos {
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce => self.ids.insert(publish.id, Stage::AtLeastOnce),
            QoS::ExactlyOnce => self.ids.insert(publish.id, Stage::Arriving),
        };
        self.line.push((publish.id, publish.qos), bytes, reply)
    }

    /// PUBREL: gives a packet id of QoS 2 free; PUBCOMP follows when that is durable.
    /// A client that came back (`is_resumed`) may release again what was released, because PUBCOMP got lost: 0x92 would be no
    /// error (section 3.7.2.1), but clients tell their users that the message failed.
    pub(super) fn release(&mut self, ack: Ack, is_resumed: bool, session: &mut sessions::Session, work: &mut Work) {
        let is_known = match self.ids.get(&ack.id) {
            Some(Stage::Received) => {
                self.ids.remove(&ack.id);
                session.release(ack.id);
                true
            }
            // PUBREL before PUBREC: nobody is to believe that the message arrived.
            Some(Stage::Arriving | Stage::AtLeastOnce) => false,
            None => session.release(ack.id) || is_resumed,
        };
        work.to_write |= is_known;
        work.then.push(Then::Released { id: ack.id, is_known });
    }

    /// Takes the verdict of ingest on one message; answers go to `out`. A stored message that is to be retained comes back.
    /// An error ends the session at once.
    pub(super) fn settle(&mut self, outcome: Outcome, out: &mut BytesMut) -> Result<Option<ToRetain>, Refusal> {
        let Outcome { ticket, verdict } = outcome;
        let Some(place) = self.line.waiting(ticket) else {
            // Answers would go to the wrong messages from here on.
            tracing::error!(ticket, "a verdict on a message that waits for none");
            return Err(Refusal::Commit);
        };
        let reply = match verdict {
            Verdict::Stored => {
                self.counters.stored();
                if let Some(publish) = place.to_retain.take() {
                    return Ok(Some(ToRetain { ticket, publish }));
                }
                Reply::Success
            }
            Verdict::DeadLettered(reason) => {
                self.counters.dead_lettered();
                Reply::DeadLettered(reason)
            }
            Verdict::Unreadable(why) => Reply::Refused(Refusal::Unreadable, why),
            Verdict::Failed(Failure::AfterRefusal) => Refusal::AfterRefusal.into(),
            Verdict::Failed(Failure::Quota) => Refusal::Quota.into(),
            Verdict::Failed(Failure::Commit) => return Err(Refusal::Commit),
            Verdict::Failed(Failure::Stopping) => return Err(Refusal::ShuttingDown),
        };
        place.reply(reply);
        if let Reply::Refused(refusal, _) = reply {
            // 3.1.1 cannot say it and ends at once.
            if self.writer.version == Version::V4 {
                return Err(refusal);
            }
            self.counters.refused(refusal);
            self.end_with(refusal);
        }
        self.answer_known(out);
        Ok(None)
    }

    /// Whether a message that is to be retained waits for its verdict.
    pub(super) fn is_to_retain(&self) -> bool {
        self.line.is_to_retain()
    }

    /// A stored message is retained too, or there is no room to retain it; answers go to `out`.
    pub(super) fn retained(&mut self, ticket: u64, result: Result<(), Refusal>, out: &mut BytesMut) {
        let Some(place) = self.line.waiting(ticket) else { return };
        let reply = match (result, place.qos) {
            // PUBREC with an error would give an id free whose message is stored.
            (Ok(()), _) | (Err(_), QoS::ExactlyOnce) => Reply::Success,
            (Err(refusal), _) => refusal.into(),
        };
        place.reply(reply);
        if let Err(refusal) = result {
            self.counters.refused(refusal);
        }
        self.answer_known(out);
    }

    /// Answers the messages at the head of the line whose answer is known.
    fn answer_known(&mut self, out: &mut BytesMut) {
        while let Some((place, reply)) = self.line.next() {
            let kind = match place.qos {
                QoS::AtMostOnce => continue,
                QoS::AtLeastOnce => AckKind::PubAck,
                QoS::ExactlyOnce => AckKind::PubRec,
            };
            self.answer(kind, place.id, reply, out);
        }
    }

    fn answer(&mut self, kind: AckKind, id: u16, reply: Reply, out: &mut BytesMut) {
        let is_received = self.ids.get(&id) == Some(&Stage::Received);
        match reply {
            Reply::Success => self.writer.acknowledge(out, kind, id),
            Reply::DeadLettered(reason) => self.writer.acknowledge_with(out, kind, id, DEAD_LETTERED, reason.as_str()),
            Reply::Refused(refusal, text) => self.writer.acknowledge_with(out, kind, id, refusal.code(), text),
            Reply::Repeat if is_received => return self.writer.acknowledge(out, kind, id),
            // The first one was refused, and so is this.
            Reply::Repeat => {
                let refusal = Refusal::AfterRefusal;
                return self.writer.acknowledge_with(out, kind, id, refusal.code(), refusal.text());
            }
        }
        match (kind, reply) {
            (_, Reply::Refused(Refusal::PacketIdInUse, _)) => (),
            (AckKind::PubRec, Reply::Success) => drop(self.ids.insert(id, Stage::Received)),
            // PUBREC with an error gives the id free, as PUBACK does (section 4.3.3).
            _ => drop(self.ids.remove(&id)),
        }
    }
}

/// PUBACK reason: payload format invalid. The batch is durable as a dead letter; do not send it again.
const DEAD_LETTERED: u8 = 0x99;

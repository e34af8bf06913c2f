//! The line of messages that wait for their answers.
//!
//! What it guarantees: answers leave in the order of the PUBLISHes, whatever is known first ([MQTT-4.6.0-2],
//! [MQTT-4.6.0-3]); a message leaves when ingest has decided on it and, if it is retained, that is durable too.

use std::collections::VecDeque;

use crate::front::refusal::Refusal;
use crate::ingest::Reason;
use crate::mqtt::packet::{Publish, QoS};

/// What a message is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// It is stored.
    Success,
    /// It is stored as a dead letter: do not send it again.
    DeadLettered(Reason),
    /// It is not stored; the text says more than the refusal does by itself.
    Refused(Refusal, &'static str),
    /// It is the repeat of one at QoS 2 in front of it, and is answered as that was.
    Repeat,
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal, refusal.text())
    }
}

/// A message that is not answered yet.
#[derive(Debug)]
pub(super) struct Place {
    /// 0 at QoS 0: nothing to answer.
    pub(super) id: u16,
    pub(super) qos: QoS,
    bytes: usize,
    /// Kept until ingest has stored it.
    pub(super) to_retain: Option<Box<Publish>>,
    reply: Option<Reply>,
}

/// The line; a message is known by its ticket.
#[derive(Debug, Default)]
pub(super) struct Line {
    places: VecDeque<Place>,
    /// The ticket of the first place.
    first: u64,
    bytes: usize,
}

impl Line {
    /// Puts a message at the end, with its answer if that is known; its ticket.
    pub(super) fn push(&mut self, (id, qos): (u16, QoS), bytes: usize, reply: Option<Reply>) -> u64 {
        self.bytes += bytes;
        self.places.push_back(Place { id, qos, bytes, to_retain: None, reply });
        self.first + self.places.len() as u64 - 1
    }

    /// The message with this ticket, if it waits for an answer.
    pub(super) fn waiting(&mut self, ticket: u64) -> Option<&mut Place> {
        let at = usize::try_from(ticket.checked_sub(self.first)?).ok()?;
        self.places.get_mut(at).filter(|place| place.reply.is_none())
    }

    /// Whether a message in line is to be retained once it is stored.
    pub(super) fn is_to_retain(&self) -> bool {
        self.places.iter().any(|place| place.to_retain.is_some())
    }

    /// Takes the first message off the line if its answer is known.
    pub(super) fn next(&mut self) -> Option<(Place, Reply)> {
        let reply = self.places.front()?.reply?;
        let place = self.places.pop_front()?;
        self.first += 1;
        self.bytes -= place.bytes;
        Some((place, reply))
    }

    /// Counts more bytes with the last message in line.
    pub(super) fn count_with_last(&mut self, bytes: usize) {
        if let Some(last) = self.places.back_mut() {
            last.bytes += bytes;
            self.bytes += bytes;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Bytes of the packets in line.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that it holds.
    pub(super) fn held(&self) -> usize {
        self.bytes + self.places.capacity() * size_of::<Place>()
    }

    pub(super) fn trim(&mut self) {
        self.places.shrink_to_fit();
    }
}

impl Place {
    pub(super) fn reply(&mut self, reply: Reply) {
        self.reply = Some(reply);
    }
}

//! The messages that one look at the log brought, and who gets which of them.
//!
//! What it guarantees: the turns that are kept take no more than their budget together, and always at least the
//! newest; what a subscriber has not taken until its turn goes is a gap for it. Large payloads are in that budget like
//! small ones: they are shared by all subscribers, where a place in the log instead would be read once for each.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::lanes::LANES;
use super::mailbox::{Mailboxes, Part};
use crate::delivery::Message;

/// What one look at the log brought. Rumqttd carries its number, nothing else.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// The messages that anybody wants, partition by partition in order; none where there turned out to be nothing.
    pub(super) messages: Vec<Option<Arc<Message>>>,
    /// The numbers of messages in `messages`, list after list; each list ascends.
    pub(super) lists: Vec<u16>,
    /// What goes through each lane.
    pub(super) deliveries: [Vec<Delivery>; LANES],
    /// Who goes through each lane, if something is missing in front of this turn for everybody.
    pub(super) gap: Option<[Mailboxes; LANES]>,
}

/// One list of messages for those who want the same.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) to: Mailboxes,
    pub(super) from: u32,
    pub(super) count: u32,
}

impl Turn {
    /// Whether a lane has something to do for it.
    pub(super) fn concerns(&self, lane: usize) -> bool {
        self.gap.is_some() || !self.deliveries[lane].is_empty()
    }

    /// Whether anybody gets anything.
    pub(super) fn is_empty(&self) -> bool {
        (0..LANES).all(|lane| !self.concerns(lane))
    }

    /// A message of a list.
    pub(super) fn message(&self, at: u32) -> Option<&Arc<Message>> {
        self.messages.get(usize::from(*self.lists.get(at as usize)?))?.as_ref()
    }

    /// Bytes that it takes.
    fn bytes(&self) -> usize {
        let messages: usize =
            self.messages.iter().flatten().map(|message| size_of::<Message>() + message.bytes()).sum();
        let deliveries: usize = self.deliveries.iter().map(|lane| lane.len() * size_of::<Delivery>()).sum();
        size_of::<Self>() + messages + self.lists.len() * size_of::<u16>() + deliveries
    }
}

impl Delivery {
    /// The part of one of its receivers.
    pub(super) fn part(&self, turn: &Arc<Turn>) -> Part {
        Part { turn: Arc::downgrade(turn), from: self.from, count: self.count }
    }
}

/// The last turns, as many as the budget takes.
#[derive(Debug)]
pub(super) struct Kept {
    budget: usize,
    turns: Mutex<Turns>,
}

#[derive(Debug, Default)]
struct Turns {
    /// The number of the oldest.
    first: u64,
    all: VecDeque<(usize, Arc<Turn>)>,
    bytes: usize,
}

impl Kept {
    /// Keeps turns of up to `budget` bytes.
    pub(super) fn new(budget: usize) -> Self {
        Self { budget, turns: Mutex::default() }
    }

    /// Keeps a turn, and lets go of the oldest for it; its number.
    pub(super) fn keep(&self, turn: Arc<Turn>) -> u64 {
        let mut turns = self.lock();
        let bytes = turn.bytes();
        turns.bytes += bytes;
        turns.all.push_back((bytes, turn));
        while turns.bytes > self.budget && turns.all.len() > 1 {
            if let Some((bytes, _)) = turns.all.pop_front() {
                turns.bytes -= bytes;
                turns.first += 1;
            }
        }
        turns.first + turns.all.len() as u64 - 1
    }

    /// The turn of this number, if it is still kept.
    pub(super) fn get(&self, number: u64) -> Option<Arc<Turn>> {
        let turns = self.lock();
        let at = usize::try_from(number.checked_sub(turns.first)?).ok()?;
        turns.all.get(at).map(|(_, turn)| Arc::clone(turn))
    }

    /// Lets go of all of them: nobody is left to take them.
    pub(super) fn clear(&self) {
        let mut turns = self.lock();
        turns.first += turns.all.len() as u64;
        turns.all = VecDeque::new();
        turns.bytes = 0;
    }

    fn lock(&self) -> MutexGuard<'_, Turns> {
        // Nothing in here panics half way through a change.
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use weir_protocol::Tenant;

    use super::*;
    use crate::delivery::Place;
    use crate::mqtt::packet::{Properties, QoS};
    use crate::topics::TopicId;

    fn turn(payload: usize) -> Arc<Turn> {
        let message = Message {
            place: Place { topic: TopicId::READINGS, partition: 0, offset: 0 },
            tenant: Tenant::DEFAULT,
            topic: Bytes::from_static(b"a"),
            payload: vec![0; payload].into(),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: Properties::default(),
            publisher: None,
            appended_ms: 0,
        };
        Arc::new(Turn { messages: vec![Some(Arc::new(message))], ..Turn::default() })
    }

    #[test]
    fn the_oldest_turns_go_when_the_budget_is_spent_and_the_newest_always_stays() {
        let kept = Kept::new(10_000);
        let numbers: Vec<_> = (0..20).map(|_| kept.keep(turn(2000))).collect();
        assert_eq!(numbers, (0..20).collect::<Vec<_>>());
        let left: Vec<_> = numbers.into_iter().filter(|number| kept.get(*number).is_some()).collect();
        assert_eq!(left, [16, 17, 18, 19]);
        assert!(kept.lock().bytes <= 10_000);
        let large = kept.keep(turn(1 << 20));
        assert!(kept.get(large).is_some() && kept.get(large - 1).is_none());
        kept.clear();
        assert!(kept.get(large).is_none());
        assert_eq!(kept.keep(turn(0)), large + 1, "a number is never given twice");
    }
}

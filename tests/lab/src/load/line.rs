//! How far one connection is: positions of its line that are acknowledged, sent and under way.
//!
//! What is not acknowledged is a range. A lost connection forgets what was under way and goes on at its beginning, so that
//! batches are formed again from it.

use std::collections::VecDeque;
use std::ops::Range;

use tokio::time::Instant;

/// A message under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cargo {
    /// Readings, by position.
    Readings(Range<u64>),
    /// The description of the device in this slot.
    Description(u64),
}

#[derive(Debug)]
struct Flight {
    id: u16,
    cargo: Cargo,
    sent: Instant,
    is_acknowledged: bool,
}

/// Where a connection stands.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// Every position below is acknowledged.
    pub(crate) acknowledged: u64,
    /// The next position to send.
    pub(crate) next: u64,
    /// Every position below was sent at least once.
    pub(crate) reached: u64,
    /// The device in every slot below is described, durably.
    pub(crate) described: u64,
    /// The next slot to describe.
    pub(crate) describe: u64,
    flights: VecDeque<Flight>,
    last_id: u16,
}

impl Line {
    /// A new connection: what was under way on the one before is not known to have come.
    pub(crate) fn connected(&mut self) {
        self.flights.clear();
        self.next = self.acknowledged;
        self.describe = self.described;
    }

    /// How many messages are under way.
    pub(crate) fn under_way(&self) -> usize {
        self.flights.len()
    }

    /// When the oldest message under way was sent.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.flights.front().map(|flight| flight.sent)
    }

    /// Notes that a message goes out; its packet id. Fewer are under way than there are ids.
    pub(crate) fn send(&mut self, cargo: Cargo, now: Instant) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.flights.iter().any(|flight| flight.id == self.last_id) {
                break;
            }
        }
        match &cargo {
            Cargo::Readings(positions) => {
                self.next = positions.end;
                self.reached = self.reached.max(positions.end);
            }
            Cargo::Description(slot) => self.describe = slot + 1,
        }
        self.flights.push_back(Flight { id: self.last_id, cargo, sent: now, is_acknowledged: false });
        self.last_id
    }

    /// A message is acknowledged: what it was. `None` if no such message is under way.
    pub(crate) fn acknowledge(&mut self, id: u16) -> Option<Cargo> {
        let flight = self.flights.iter_mut().find(|flight| flight.id == id && !flight.is_acknowledged)?;
        flight.is_acknowledged = true;
        let cargo = flight.cargo.clone();
        while let Some(first) = self.flights.pop_front_if(|first| first.is_acknowledged) {
            match first.cargo {
                Cargo::Readings(positions) => self.acknowledged = positions.end,
                Cargo::Description(slot) => self.described = slot + 1,
            }
        }
        Some(cargo)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(line: &mut Line, positions: Range<u64>) -> u16 {
        line.send(Cargo::Readings(positions), Instant::now())
    }

    #[test]
    fn after_a_lost_connection_everything_behind_the_first_gap_is_sent_again() {
        let mut line = Line::default();
        let ids = [0..3, 3..5, 5..9].map(|positions| send(&mut line, positions));
        assert_eq!(line.acknowledge(ids[0]), Some(Cargo::Readings(0..3)));
        assert_eq!(line.acknowledge(ids[2]), Some(Cargo::Readings(5..9)), "out of turn");
        assert_eq!((line.acknowledged, line.next, line.under_way()), (3, 9, 2));
        line.connected();
        assert_eq!((line.acknowledged, line.next, line.reached, line.under_way()), (3, 3, 9, 0));
    }

    #[test]
    fn an_answer_counts_once_and_only_for_what_is_under_way_on_its_connection() {
        let mut line = Line::default();
        let id = send(&mut line, 0..3);
        assert_eq!(line.acknowledge(id + 1), None);
        assert!(line.acknowledge(id).is_some());
        assert_eq!(line.acknowledge(id), None);
        let id = send(&mut line, 3..4);
        line.connected();
        assert_eq!(line.acknowledge(id), None, "of the connection before");
    }

    #[test]
    fn packet_ids_go_round_and_none_is_under_way_twice() {
        let mut line = Line { last_id: u16::MAX - 1, ..Line::default() };
        assert_eq!([send(&mut line, 0..1), send(&mut line, 1..2)], [u16::MAX, 1]);
        line.last_id = u16::MAX - 1;
        assert_eq!(send(&mut line, 2..3), 2, "the two in front of it are under way");
    }
}

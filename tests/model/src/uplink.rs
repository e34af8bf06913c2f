//! The connection from agent to gateway: batches in order, acknowledged in order, and at most one batch of the
//! connection before that the gateway still reads.

use crate::sequences::Set;

/// A batch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Batch {
    pub(crate) readings: Set,
    pub(crate) claims: Set,
    pub(crate) position: Option<Position>,
}

/// Everything of `[from, upto)` was at the agent once; `held` covers what it still has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Position {
    pub(crate) from: u8,
    pub(crate) upto: u8,
    pub(crate) held: Set,
}

/// A batch in flight and, once it was read, how long each log must be committed before it may be answered.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Flight {
    pub(crate) batch: Batch,
    pub(crate) needs: [u8; 3],
}

/// The connection.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Uplink {
    pub(crate) in_flight: Vec<Flight>,
    /// How many of them the gateway has read, and how many it has answered.
    pub(crate) read: usize,
    pub(crate) answered: usize,
    /// The gateway waits for a description before it reads on.
    pub(crate) waiting: bool,
    /// What is left of the connection before.
    pub(crate) late: Option<Batch>,
}

impl Uplink {
    /// Everything in flight together.
    pub(crate) fn carried(&self) -> Batch {
        let join = |all: Batch, flight: &Flight| Batch {
            readings: all.readings | flight.batch.readings,
            claims: all.claims | flight.batch.claims,
            position: all.position.or(flight.batch.position),
        };
        self.in_flight.iter().fold(Batch::default(), join)
    }

    pub(crate) fn send(&mut self, batch: Batch) {
        self.in_flight.push(Flight { batch, needs: [0; 3] });
    }

    /// The next batch that the gateway reads.
    pub(crate) fn unread(&self) -> Option<&Flight> {
        self.in_flight.get(self.read)
    }

    /// The next batch to answer.
    pub(crate) fn unanswered(&self) -> Option<&Flight> {
        if self.answered < self.read { self.in_flight.get(self.answered) } else { None }
    }

    /// The acknowledgement arrives.
    pub(crate) fn take_answered(&mut self) -> Batch {
        self.read -= 1;
        self.answered -= 1;
        self.in_flight.remove(0).batch
    }

    /// The connection breaks; `late`: the gateway still reads the next batch of it.
    pub(crate) fn broken(&mut self, late: bool) {
        let left = if late { self.unread().map(|flight| flight.batch) } else { None };
        *self = Self { late: left, ..Self::default() };
    }
}

impl Position {
    /// What it says is no longer there.
    pub(crate) fn unheld(&self) -> Set {
        Set::range(self.from..self.upto) - self.held
    }
}

impl Batch {
    /// Every sequence that it says anything about.
    pub(crate) fn touches(&self) -> Set {
        self.readings | self.claims | self.position.map_or(Set::EMPTY, |position| position.unheld())
    }
}

//! What is in flight on one connection, paired with packet ids.
//!
//! The event loop says which packet id a publish got when it sends it, in the order they were handed in.

use std::collections::{BTreeMap, VecDeque};

use weir_protocol::batch::Section;

use super::accounts::Positions;
use super::spool::Outgoing;

/// One publish that is not acknowledged yet.
#[derive(Debug)]
pub(super) enum Flight {
    /// Readings and claims; the payload is not kept, the spool has them.
    Batch(Outgoing),
    /// Where restarts stand.
    Positions(Positions),
    /// Claims that wait beside the log.
    Claims(Vec<Section<'static>>),
    /// A description or the status.
    Note(&'static str),
}

/// Batches of one kind.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    batches: usize,
    bytes: usize,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Flights {
    /// Handed in, without a packet id yet.
    waiting: VecDeque<Flight>,
    sent: BTreeMap<u16, Flight>,
    live: Sum,
    backlog: Sum,
    /// Positions and claims.
    accounts: usize,
}

impl Flights {
    /// A publish was handed in.
    pub(super) fn hand_in(&mut self, flight: Flight) {
        match &flight {
            Flight::Batch(batch) => {
                let sum = if batch.lane.backlog { &mut self.backlog } else { &mut self.live };
                sum.batches += 1;
                sum.bytes += batch.bytes;
            }
            Flight::Positions(_) | Flight::Claims(_) => self.accounts += 1,
            Flight::Note(_) => {}
        }
        self.waiting.push_back(flight);
    }

    /// The one handed in longest ago went out.
    pub(super) fn sent(&mut self, packet: u16) {
        if let Some(flight) = self.waiting.pop_front() {
            self.sent.insert(packet, flight);
        }
    }

    /// A packet id was acknowledged; `None` if nothing was in flight under it.
    pub(super) fn acked(&mut self, packet: u16) -> Option<Flight> {
        let flight = self.sent.remove(&packet)?;
        match &flight {
            Flight::Batch(batch) => {
                let sum = if batch.lane.backlog { &mut self.backlog } else { &mut self.live };
                sum.batches -= 1;
                sum.bytes -= batch.bytes;
            }
            Flight::Positions(_) | Flight::Claims(_) => self.accounts -= 1,
            Flight::Note(_) => {}
        }
        Some(flight)
    }

    /// The batch that was formed first.
    pub(super) fn oldest_batch(&self) -> Option<&Outgoing> {
        let batches = self.sent.values().chain(&self.waiting).filter_map(|flight| match flight {
            Flight::Batch(batch) => Some(batch),
            _ => None,
        });
        batches.min_by_key(|batch| batch.number)
    }

    /// How many publishes are in flight.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.sent.len()
    }

    /// How many of them are batches.
    pub(super) fn batches(&self) -> usize {
        self.live.batches + self.backlog.batches
    }

    /// How many of those are backlog, and their bytes.
    pub(super) fn backlog(&self) -> (usize, usize) {
        (self.backlog.batches, self.backlog.bytes)
    }

    /// How many are positions or claims.
    pub(super) fn accounts(&self) -> usize {
        self.accounts
    }

    /// Bytes of those batches.
    pub(super) fn batch_bytes(&self) -> usize {
        self.live.bytes + self.backlog.bytes
    }

    /// Whether nothing is in flight.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

//! One connection's way to the engine: what it hands in waits for room in the budgets and is decoded here.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{SendError, Sender as Inbox};

use weir_protocol::time::WallClock;

use super::super::budget::Budget;
use super::super::connection::{Entry, State};
use super::super::decode::{self, Work};
use super::super::{Event, Events, Failure, Message, Outcome, Sender, Verdict};
use super::Input;
use crate::topics::Stores;

/// One connection's way in.
pub struct Connection {
    pub(super) id: u64,
    pub(super) sender: Sender,
    pub(super) events: Events,
    pub(super) budget: Budget,
    pub(super) inbox: Inbox<Input>,
    pub(super) stores: Stores,
    pub(super) clock: Arc<dyn WallClock>,
}

impl Connection {
    /// Hands in messages in their order; those of one socket read in one call. Waits for room, which is the
    /// backpressure: do not read from the socket meanwhile.
    pub async fn submit(&self, messages: Vec<Message>) {
        self.hand_in(messages).await;
    }

    pub(super) async fn hand_in<P: Parcel>(&self, parcels: Vec<P>) {
        let mut parcels = VecDeque::from(parcels);
        while !parcels.is_empty() {
            let mut cost = 0;
            let fits = |parcel: &&P| {
                cost += self.budget.cost(parcel.bytes());
                cost <= self.budget.most()
            };
            // One parcel always fits: it costs at most all of the budget.
            let fitting = parcels.iter().take_while(fits).count();
            let now: Vec<_> = parcels.drain(..fitting).collect();
            self.hand_in_fitting(now).await;
        }
    }

    /// Hands in what fits the budget together.
    async fn hand_in_fitting<P: Parcel>(&self, parcels: Vec<P>) {
        let cost = parcels.iter().map(|parcel| self.budget.cost(parcel.bytes())).sum();
        if self.budget.take(cost).await.is_err() {
            self.refuse(parcels.iter().map(Parcel::ticket));
            return;
        }
        let arrival = self.clock.now();
        let entry = |parcel: P| Entry {
            ticket: parcel.ticket(),
            cost: self.budget.cost(parcel.bytes()),
            arrival,
            state: State::Waiting(parcel.open(&self.sender, &self.stores)),
        };
        let entries = parcels.into_iter().map(entry).collect();
        if let Err(SendError(Input::Messages(_, entries))) = self.inbox.send(Input::Messages(self.id, entries)) {
            self.refuse(entries.iter().map(|entry| entry.ticket));
        }
    }

    /// Says that ingest has stopped; it can no longer say so itself.
    fn refuse(&self, tickets: impl Iterator<Item = u64>) {
        let stopping = |ticket| Outcome { ticket, verdict: Verdict::Failed(Failure::Stopping) };
        let _ = self.events.send(Event::Outcomes(tickets.map(stopping).collect()));
    }
}

/// What a connection hands in.
pub(super) trait Parcel {
    fn ticket(&self) -> u64;
    /// The size of its payload.
    fn bytes(&self) -> usize;
    fn open(self, sender: &Sender, stores: &Stores) -> Work;
}

impl Parcel for Message {
    fn ticket(&self) -> u64 {
        self.ticket
    }

    fn bytes(&self) -> usize {
        self.payload.len()
    }

    fn open(self, sender: &Sender, stores: &Stores) -> Work {
        decode::decode(sender, stores, self.body, self.payload)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let _ = self.inbox.send(Input::Disconnect(self.id));
    }
}

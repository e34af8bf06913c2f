//! What goes out on a connection, and how much of it may.

use tokio::time::Instant;
use weir_protocol::batch::EnvelopeBuilder;

use super::{Outcome, Session};
use crate::counters::Event;
use crate::uplink::connection::NotTaken;
use crate::uplink::flight::Flight;
use crate::uplink::spool::LaneId;
use crate::uplink::status::Status;
use crate::uplink::{Drain, OpenClasses};

/// Publishes kept for descriptions and status.
const KEPT: usize = 2;
/// With so many bytes of batches in flight no further one is sent: what bounds memory, and a gateway that waits for a
/// description must have room to read it behind them.
const MAX_BATCH_BYTES: usize = 1 << 20;

/// What is published.
pub(super) enum What {
    Batch,
    Describe,
    Status,
    /// A command that was decided on, by its topic.
    Decided(String),
}

impl Session<'_> {
    /// Asks hours and budget what may go.
    pub(super) fn look_at_the_clock(&mut self) {
        let now = self.uplink.clock.now();
        let (open, may_tell) = (self.uplink.budget.open_classes(now), self.uplink.budget.may_tell(now));
        let is_over = self.gate_at.is_none_or(|at| at <= Instant::now());
        if is_over || (open, may_tell) != (self.open, self.may_tell) {
            self.gate_at = self.uplink.budget.until_change(now).map(|wait| Instant::now() + wait);
        }
        if may_tell != self.may_tell {
            let usage = self.uplink.budget.usage();
            tracing::info!(?usage, exempt_classes_only = !may_tell, "the day's bytes: what may be sent changes");
        }
        (self.open, self.may_tell) = (open, may_tell);
        let usage = self.uplink.budget.usage();
        self.uplink.health.change(|view| (view.budget, view.held_back) = (usage, open != OpenClasses::ALL));
    }

    /// Hands a publish to the connection, and counts it.
    pub(super) fn publish(&mut self, what: What, payload: Vec<u8>) -> Result<(), NotTaken> {
        let (topic, retain) = match &what {
            What::Batch => (&self.topics.batch, false),
            What::Describe => (&self.topics.describe, false),
            What::Status => (&self.topics.status, self.greeting.retain),
            What::Decided(topic) => (topic, true),
        };
        let bytes = topic.len() + payload.len();
        self.uplink.spend(|budget, now| budget.publish(bytes, now));
        self.connection.publish(topic, retain, payload)
    }

    /// Whether the gateway takes a packet with this payload.
    fn is_too_large(&self, payload: &[u8]) -> bool {
        // Fixed header, topic, packet id, no properties; the topics differ by a few bytes.
        let packet = 5 + 2 + self.topics.describe.len() + 2 + 1 + payload.len();
        self.greeting.max_packet.is_some_and(|most| packet > most as usize)
    }

    /// Puts in flight what may be.
    pub(super) fn send(&mut self) -> Result<(), Outcome> {
        let not_taken = |NotTaken| Outcome::Lost("the event loop takes nothing".to_owned());
        if self.may_tell && self.flights.len() < self.receive_max && self.status_at <= Instant::now() {
            self.send_status().map_err(not_taken)?;
        }
        self.collect_descriptions();
        while self.flights.len() < self.receive_max {
            let Some(payload) = self.descriptions.pop_front() else { break };
            if self.is_too_large(&payload) {
                self.too_large("a description", payload.len());
                continue;
            }
            self.put_in_flight(Flight::Note("describe"));
            self.publish(What::Describe, payload).map_err(not_taken)?;
        }
        if !self.descriptions.is_empty() {
            return Ok(());
        }
        while self.greeting.retain && self.flights.len() < self.receive_max {
            let Some(topic) = self.uplink.orders.take_decided() else { break };
            self.put_in_flight(Flight::Note("taking back a command"));
            self.publish(What::Decided(topic), Vec::new()).map_err(not_taken)?;
        }
        if self.may_tell {
            self.send_accounts().map_err(not_taken)?;
        }
        self.send_batches()
    }

    /// Fresh before old, urgent before other: the first lane that has a batch sends it, until nothing more may be sent.
    fn send_batches(&mut self) -> Result<(), Outcome> {
        let window = if self.spool.is_searching() { 1 } else { self.receive_max.saturating_sub(KEPT).max(1) };
        self.send_at = None;
        'next: while self.flights.batches() < window
            && self.flights.batch_bytes() < MAX_BATCH_BYTES
            && self.flights.len() < self.receive_max
        {
            // An acknowledgement comes first, if there is no place; the time is up again at once then.
            self.send_at = None;
            let open = self.open;
            for lane in self.spool.lanes().filter(|lane| open.has(lane.class)) {
                let Some(due_at) = self.form(lane, window)? else { continue };
                if due_at > Instant::now() {
                    self.send_at = Some(self.send_at.map_or(due_at, |at| at.min(due_at)));
                    continue;
                }
                self.due.remove(&lane);
                let Some(mut batch) = self.spool.take(lane) else { continue };
                let payload = core::mem::take(&mut batch.payload);
                if self.is_too_large(&payload) {
                    self.too_large("a batch", payload.len());
                    return Err(self.unreadable(&batch));
                }
                if lane.backlog {
                    self.pace.sent(batch.bytes);
                }
                self.put_in_flight(Flight::Batch(batch));
                let not_taken = |NotTaken| Outcome::Lost("the event loop takes nothing".to_owned());
                self.publish(What::Batch, payload).map_err(not_taken)?;
                // The budget may be used up by it.
                self.look_at_the_clock();
                continue 'next;
            }
            break;
        }
        Ok(())
    }

    /// Goes on with the batch of a lane; when it may be sent, if there is one and nothing has to come first.
    fn form(&mut self, lane: LaneId, window: usize) -> Result<Option<Instant>, Outcome> {
        let now = Instant::now();
        let draining = *self.uplink.drain.borrow() == Drain::Empty;
        // What a batch grows to beyond half of what the gateway takes is halved.
        let mut most = self.greeting.max_packet.map_or(usize::MAX, |bytes| bytes as usize / 2);
        if lane.backlog {
            let backlog = self.flights.backlog();
            let Some(ready_at) = self.pace.ready_at(backlog, self.flights.batches() - backlog.0, window) else {
                return Ok(None);
            };
            if ready_at > now && !draining {
                return Ok(self.spool.has_backlog(lane.class).then_some(ready_at));
            }
            most = most.min(self.pace.batch_bytes());
        }
        let unread = |error| Outcome::Lost(format!("the queue cannot be read: {error}"));
        let full = self.spool.fill(lane, most).map_err(unread)?;
        let damaged = self.spool.take_damaged();
        if damaged > 0 {
            self.uplink.counters.add(Event::QueueDamaged, damaged);
            self.accounts.damaged();
            tracing::error!(records = damaged, "damage in the queue: these readings are lost, unaccounted");
        }
        if !self.spool.is_forming(lane) {
            self.due.remove(&lane);
            return Ok(None);
        }
        // A backlog that is not full is at its end.
        if full || draining || lane.backlog {
            return Ok(Some(now));
        }
        let interval = self.uplink.options.batch_interval;
        Ok(Some(*self.due.entry(lane).or_insert(now + interval)))
    }

    fn too_large(&self, what: &str, bytes: usize) {
        self.uplink.counters.warn(Event::TooLarge, || {
            let most = self.greeting.max_packet.unwrap_or(u32::MAX);
            format!("{what} has {bytes} bytes and this broker takes packets of {most}: raise its maximum packet size")
        });
    }

    /// Positions, then claims: one batch of either at a time, so that they take no more than their place.
    fn send_accounts(&mut self) -> Result<(), NotTaken> {
        let is_empty = self.flights.batches() == 0 && !self.spool.is_forming_any() && self.uplink.queue.is_empty();
        self.accounts.plan(&self.uplink.queue, is_empty);
        if self.flights.accounts() > 0 || self.flights.len() >= self.receive_max {
            return Ok(());
        }
        let mut forming = EnvelopeBuilder::new();
        let positions = self.accounts.positions(&mut forming);
        let flight = if positions.is_empty() {
            let claims = self.accounts.claims(&self.uplink.queue);
            claims.iter().for_each(|claim| forming.push(claim));
            Flight::Claims(claims)
        } else {
            self.uplink.counters.add(Event::PositionsSent, positions.len() as u64);
            Flight::Positions(positions)
        };
        if forming.is_empty() {
            return Ok(());
        }
        self.put_in_flight(flight);
        let payload = forming.finish(self.uplink.options.compress);
        self.publish(What::Batch, payload)
    }

    fn put_in_flight(&mut self, flight: Flight) {
        if self.flights.is_empty() {
            self.progress_at = Instant::now();
        }
        self.flights.hand_in(flight);
    }

    fn send_status(&mut self) -> Result<(), NotTaken> {
        self.status_at = Instant::now() + self.uplink.options.status_interval;
        let now = self.uplink.clock.now().as_millis();
        let status = Status::running(self.uplink.options.agent, &self.uplink.queue, &self.uplink.counters, now);
        if self.is_too_large(status.as_bytes()) {
            self.too_large("the status", status.len());
            return Ok(());
        }
        self.put_in_flight(Flight::Note("status"));
        self.publish(What::Status, status.into_bytes())
    }

    /// All descriptions on a new connection, then those that are new.
    fn collect_descriptions(&mut self) {
        let state = self.uplink.queue.state();
        let state = state.lock();
        let revision = state.descriptions.revision();
        if self.described != Some(revision) {
            let seen = self.described.unwrap_or(0).min(revision);
            let new = if self.described.is_none() { usize::MAX } else { (revision - seen) as usize };
            let known = state.descriptions.payloads().count();
            let payloads = state.descriptions.payloads().skip(known.saturating_sub(new));
            self.descriptions.extend(payloads.map(<[u8]>::to_vec));
            self.described = Some(revision);
        }
    }
}

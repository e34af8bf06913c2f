//! One connection, from CONNACK to its end.
//!
//! Order on it: subscribe to commands, status, every description that is known, positions, claims, then batches; a
//! description that becomes known goes before the next batch.

use std::collections::{BTreeMap, VecDeque};

use tokio::time::{Instant, sleep_until};
use weir_protocol::batch::command::{self, AgentCommand};
use weir_protocol::batch::{EnvelopeBuilder, describe};

use super::accounts::Accounts;
use super::connection::{Connection, Event as Mqtt, NotTaken, Version};
use super::flight::{Flight, Flights};
use super::pace::Pace;
use super::spool::{LaneId, Outgoing, Spool, Unreadable};
use super::status::Status;
use super::{Drain, Topics, Uplink};
use crate::backoff::Backoff;
use crate::counters::Event;

/// Publishes kept for descriptions and status.
const KEPT: usize = 2;
/// With so many bytes of batches in flight no further one is sent: what bounds memory, and a gateway that waits for a
/// description must have room to read it behind them.
const MAX_BATCH_BYTES: usize = 1 << 20;
/// Descriptions that wait to be sent, beside those of the queue's state.
const MAX_ASKED: usize = 64;

/// How a connection ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Everything was shipped, and nothing more will come.
    Drained,
    /// Connect again at once.
    Again,
    /// Connect again after a pause.
    Lost(String),
}

/// What outlives a connection.
pub(super) struct Parts<'a> {
    pub(super) spool: &'a mut Spool,
    pub(super) backoff: &'a mut Backoff,
    pub(super) accounts: &'a mut Accounts,
    pub(super) pace: &'a mut Pace,
}

pub(super) struct Session<'a> {
    uplink: &'a mut Uplink,
    topics: &'a Topics,
    spool: &'a mut Spool,
    backoff: &'a mut Backoff,
    accounts: &'a mut Accounts,
    pace: &'a mut Pace,
    connection: Connection,
    flights: Flights,
    receive_max: usize,
    /// Descriptions to send, and up to which revision they were collected.
    descriptions: VecDeque<Vec<u8>>,
    described: Option<u64>,
    /// When something was last acknowledged, or first put in flight.
    progress_at: Instant,
    /// Until when the gateway may keep a batch waiting for a description that it asked for.
    patient_until: Instant,
    /// When the batch that a lane is forming must go.
    due: BTreeMap<LaneId, Instant>,
    /// When there is something to send, if only time must pass.
    send_at: Option<Instant>,
    status_at: Instant,
}

impl<'a> Session<'a> {
    pub(super) fn new(uplink: &'a mut Uplink, topics: &'a Topics, parts: Parts<'a>, connection: Connection) -> Self {
        let Parts { spool, backoff, accounts, pace } = parts;
        let now = Instant::now();
        Self {
            uplink,
            topics,
            spool,
            backoff,
            accounts,
            pace,
            connection,
            flights: Flights::default(),
            receive_max: 0,
            descriptions: VecDeque::new(),
            described: None,
            progress_at: now,
            patient_until: now,
            due: BTreeMap::new(),
            send_at: None,
            status_at: now,
        }
    }

    pub(super) async fn run(mut self) -> Outcome {
        match self.connection.events.recv().await {
            Some(Mqtt::Connected { receive_max }) => {
                self.receive_max = usize::from(receive_max.min(self.uplink.options.connection.window)).max(1);
            }
            Some(Mqtt::Closed(reason)) => return Outcome::Lost(reason),
            other => return Outcome::Lost(format!("got {other:?}, expected CONNACK")),
        }
        self.uplink.counters.add(Event::Connections, 1);
        tracing::info!(receive_max = self.receive_max, "connected");
        self.accounts.connected();
        self.pace.connected(&mut self.uplink.random);
        let wanted = std::iter::once(&self.topics.command).chain(self.uplink.orders.topics());
        if wanted.map(|topic| self.connection.subscribe(topic)).any(|subscribed| subscribed.is_err()) {
            return Outcome::Lost("the event loop takes nothing".to_owned());
        }
        loop {
            let filled = self.send();
            match filled {
                Ok(()) => {}
                Err(reason) => return Outcome::Lost(reason),
            }
            let draining = *self.uplink.drain.borrow() == Drain::Empty;
            if draining && self.has_said_everything() {
                return self.finish().await;
            }
            if *self.uplink.drain.borrow() == Drain::Leave {
                self.connection.disconnect().await;
                return Outcome::Drained;
            }
            let dead_at = self.progress_at.max(self.patient_until) + self.uplink.options.ack_timeout;
            let waiting = !self.flights.is_empty();
            // With everything in flight that may be, only an answer changes anything: no timer wakes for less.
            let may_send = self.flights.len() < self.receive_max;
            let send_at = self.send_at.filter(|_| may_send);
            tokio::select! {
                event = self.connection.events.recv() => {
                    if let Some(outcome) = self.on(event) {
                        return outcome;
                    }
                }
                // Nobody is left to tell once the intake ended, which is no event.
                Ok(()) = self.uplink.committed.changed() => {}
                Ok(()) = self.uplink.drain.changed() => {}
                // What is in flight is sent again, and is a repeat if it was stored.
                Ok(()) = self.uplink.renewed.changed() => {
                    self.connection.disconnect().await;
                    return Outcome::Again;
                }
                () = sleep_until(send_at.unwrap_or(dead_at)), if send_at.is_some() => {}
                () = sleep_until(dead_at), if waiting => {
                    let waited = self.uplink.options.ack_timeout.as_secs();
                    return Outcome::Lost(format!("nothing acknowledged for {waited} s"));
                }
                () = sleep_until(self.status_at), if may_send => {}
                () = sleep_until(self.accounts.due_at), if may_send => {}
            }
        }
    }

    /// Whether the gateway has everything, and was told so.
    fn has_said_everything(&self) -> bool {
        let in_flight = self.flights.batches() + self.flights.accounts();
        in_flight == 0 && !self.spool.is_forming_any() && !self.accounts.is_waiting() && self.uplink.queue.is_empty()
    }

    /// Puts in flight what may be.
    fn send(&mut self) -> Result<(), String> {
        let not_taken = |NotTaken| "the event loop takes nothing".to_owned();
        if self.flights.len() < self.receive_max && self.status_at <= Instant::now() {
            self.send_status().map_err(not_taken)?;
        }
        self.collect_descriptions();
        while self.flights.len() < self.receive_max {
            let Some(payload) = self.descriptions.pop_front() else { break };
            self.put_in_flight(Flight::Note("describe"));
            self.connection.publish(&self.topics.describe, false, payload).map_err(not_taken)?;
        }
        if !self.descriptions.is_empty() {
            return Ok(());
        }
        self.send_accounts().map_err(not_taken)?;
        self.send_batches()
    }

    /// Fresh before old, urgent before other: the first lane that has a batch sends it, until nothing more may be sent.
    fn send_batches(&mut self) -> Result<(), String> {
        let window = if self.spool.is_searching() { 1 } else { self.receive_max.saturating_sub(KEPT).max(1) };
        self.send_at = None;
        'next: while self.flights.batches() < window
            && self.flights.batch_bytes() < MAX_BATCH_BYTES
            && self.flights.len() < self.receive_max
        {
            // An acknowledgement comes first, if there is no place; the time is up again at once then.
            self.send_at = None;
            for lane in self.spool.lanes() {
                let Some(due_at) = self.form(lane, window)? else { continue };
                if due_at > Instant::now() {
                    self.send_at = Some(self.send_at.map_or(due_at, |at| at.min(due_at)));
                    continue;
                }
                self.due.remove(&lane);
                let Some(mut batch) = self.spool.take(lane) else { continue };
                if lane.backlog {
                    self.pace.sent(batch.bytes);
                }
                let payload = core::mem::take(&mut batch.payload);
                self.put_in_flight(Flight::Batch(batch));
                let published = self.connection.publish(&self.topics.batch, false, payload);
                published.map_err(|NotTaken| "the event loop takes nothing".to_owned())?;
                continue 'next;
            }
            break;
        }
        Ok(())
    }

    /// Goes on with the batch of a lane; when it may be sent, if there is one and nothing has to come first.
    fn form(&mut self, lane: LaneId, window: usize) -> Result<Option<Instant>, String> {
        let now = Instant::now();
        let draining = *self.uplink.drain.borrow() == Drain::Empty;
        let mut most = usize::MAX;
        if lane.backlog {
            let backlog = self.flights.backlog();
            let Some(ready_at) = self.pace.ready_at(backlog, self.flights.batches() - backlog.0, window) else {
                return Ok(None);
            };
            if ready_at > now && !draining {
                return Ok(self.spool.has_backlog(lane.class).then_some(ready_at));
            }
            most = self.pace.batch_bytes();
        }
        let full = self.spool.fill(lane, most).map_err(|error| format!("the queue cannot be read: {error}"))?;
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
        self.connection.publish(&self.topics.batch, false, forming.finish(self.uplink.options.compress))
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
        self.put_in_flight(Flight::Note("status"));
        self.connection.publish(&self.topics.status, true, status.into_bytes())
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

    /// Takes an event; an outcome ends the connection.
    fn on(&mut self, event: Option<Mqtt>) -> Option<Outcome> {
        match event {
            None => Some(Outcome::Lost("the event loop ended".to_owned())),
            Some(Mqtt::Closed(reason)) => {
                self.closed();
                Some(Outcome::Lost(reason))
            }
            Some(Mqtt::Connected { .. }) => Some(Outcome::Lost("a second CONNACK".to_owned())),
            Some(Mqtt::Sent(packet)) => {
                self.flights.sent(packet);
                None
            }
            Some(Mqtt::Message { topic, payload }) => {
                if topic == self.topics.command {
                    self.command(&payload);
                } else {
                    self.uplink.orders.take(&topic, payload);
                }
                None
            }
            Some(Mqtt::Acked { packet, reason }) => self.acked(packet, reason),
        }
    }

    /// MQTT 3.1.1 has no reasons: a batch that cannot be read shows as connections that close on it.
    fn closed(&mut self) {
        let Some(batch) = self.flights.oldest_batch() else { return };
        if self.uplink.options.connection.version == Version::V4 && self.spool.closed_on(batch) {
            self.uplink.counters.warn(Event::BatchesUnreadable, || {
                let units = batch.units;
                format!("connections close on one batch of {units}: halved; uplink.mqtt = \"5\" would say why")
            });
        }
    }

    fn acked(&mut self, packet: u16, reason: u8) -> Option<Outcome> {
        self.progress_at = Instant::now();
        let counters = &self.uplink.counters;
        match self.flights.acked(packet) {
            None => Some(Outcome::Lost(format!("PUBACK for {packet}, which is not in flight"))),
            Some(Flight::Note(what)) => {
                if reason >= 0x80 {
                    counters.warn(Event::NotesRefused, || format!("{what}: reason 0x{reason:02x}"));
                }
                None
            }
            Some(Flight::Batch(batch)) => self.batch_acked(&batch, reason),
            Some(Flight::Positions(positions)) => match reason {
                0..0x80 | 0x99 => {
                    self.accounts.told(positions);
                    None
                }
                0x83 => {
                    counters.warn(Event::PositionsRefused, || "the gateway cannot read positions".to_owned());
                    self.accounts.refused();
                    Some(Outcome::Again)
                }
                _ => Some(refused(reason)),
            },
            Some(Flight::Claims(claims)) => match reason {
                0..0x80 | 0x99 => {
                    counters.add(Event::ClaimsShipped, claims.len() as u64);
                    self.backoff.reset();
                    self.accounts.claimed(&self.uplink.queue, &claims);
                    self.uplink.shipped.notify_one();
                    None
                }
                0x83 => {
                    if self.accounts.unreadable(&self.uplink.queue, &claims) {
                        counters.warn(Event::ClaimsRefused, || format!("{:?}", claims[0]));
                    }
                    Some(Outcome::Again)
                }
                _ => Some(refused(reason)),
            },
        }
    }

    fn batch_acked(&mut self, batch: &Outgoing, reason: u8) -> Option<Outcome> {
        let counters = &self.uplink.counters;
        match reason {
            0x99 => counters.warn(Event::BatchesDeadLettered, || "the gateway dead-lettered a batch".to_owned()),
            0..0x80 => counters.add(Event::BatchesShipped, 1),
            0x83 => {
                counters.warn(Event::BatchesUnreadable, || format!("{} readings or claims", batch.units));
                return Some(match self.spool.unreadable(batch) {
                    Unreadable::Halved => Outcome::Again,
                    Unreadable::Again => refused(reason),
                    Unreadable::Reading(offset, unit) => {
                        counters.warn(Event::ReadingsRejected, || format!("reading {unit} of record {offset}"));
                        Outcome::Again
                    }
                    Unreadable::GivenUp(offset) => {
                        let what = || format!("the claim or end in record {offset}: what it names is unaccounted");
                        counters.warn(Event::ClaimsRefused, what);
                        self.accounts.damaged();
                        Outcome::Again
                    }
                });
            }
            _ => {
                counters.warn(Event::BatchesRefused, || format!("reason 0x{reason:02x}"));
                return Some(refused(reason));
            }
        }
        counters.add(Event::UnitsShipped, u64::from(batch.units));
        self.backoff.reset();
        if batch.lane.backlog {
            self.pace.acked(batch);
        }
        self.spool.shipped(batch);
        self.uplink.shipped.notify_one();
        None
    }

    fn command(&mut self, payload: &[u8]) {
        let counters = &self.uplink.counters;
        match command::decode(payload) {
            Err(error) => counters.warn(Event::BadCommands, || error.to_string()),
            Ok(AgentCommand::Describe { device, schema }) => {
                // Else a description that nobody has would end this connection just before the gateway goes on
                // without it, and the next one too.
                self.patient_until = Instant::now() + describe::WAIT;
                let state = self.uplink.queue.state();
                let description = state.lock().descriptions.get(device, schema).map(<[u8]>::to_vec);
                match description {
                    Some(payload) if self.descriptions.len() < MAX_ASKED => self.descriptions.push_back(payload),
                    Some(_) => counters.add(Event::BadCommands, 1),
                    None => counters.warn(Event::BadCommands, || format!("nobody described {schema} of {device}")),
                }
            }
        }
    }

    async fn finish(self) -> Outcome {
        let stopped = Status::stopped(self.uplink.options.agent);
        if self.connection.publish(&self.topics.status, true, stopped.into_bytes()).is_ok() {
            self.connection.disconnect().await;
        }
        Outcome::Drained
    }
}

fn refused(reason: u8) -> Outcome {
    Outcome::Lost(format!("the gateway refused a batch with reason 0x{reason:02x}"))
}

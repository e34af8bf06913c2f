//! What comes in on a connection: acknowledgements, and what the gateway asks for.

use tokio::time::Instant;
use weir_protocol::batch::command::{self, AgentCommand};
use weir_protocol::batch::describe;

use super::{Outcome, Session};
use crate::counters::Event;
use crate::mqtt::Message;
use crate::uplink::budget::Budget;
use crate::uplink::connection::Event as Mqtt;
use crate::uplink::flight::Flight;
use crate::uplink::health::{LastAcknowledged, UplinkState};
use crate::uplink::spool::{Outgoing, Unreadable};

/// Descriptions that wait to be sent, beside those of the queue's state.
const MAX_ASKED: usize = 64;
/// The reason of an acknowledgement of what nobody gets (MQTT 5, 3.4.2.1).
const NO_SUBSCRIBERS: u8 = 0x10;

impl Session<'_> {
    /// Takes an event; an outcome ends the connection.
    pub(super) fn on(&mut self, event: Option<Mqtt>) -> Option<Outcome> {
        match event {
            None => Some(Outcome::Lost("the event loop ended".to_owned())),
            Some(Mqtt::Closed(reason)) => {
                self.closed();
                Some(Outcome::Lost(reason))
            }
            Some(Mqtt::Connected(_) | Mqtt::RetainRefused) => Some(Outcome::Lost("a second CONNACK".to_owned())),
            Some(Mqtt::Subscribed(refused)) => {
                let code = refused.into_iter().flatten().next()?;
                let command = &self.topics.command;
                self.uplink.counters.warn(Event::NotesRefused, || {
                    format!("no subscription to {command} (0x{code:02x}): what the gateway asks for is not heard; allow it there")
                });
                None
            }
            Some(Mqtt::Pinged) => {
                self.uplink.spend(Budget::ping);
                None
            }
            Some(Mqtt::Sent(packet)) => {
                self.flights.sent(packet);
                None
            }
            Some(Mqtt::Message(Message { topic, payload, retained, .. })) => {
                let bytes = topic.len() + payload.len();
                self.uplink.spend(|budget, now| budget.publish(bytes, now));
                if topic == self.topics.command {
                    self.command(&payload);
                } else {
                    self.uplink.orders.take(&topic, payload, retained);
                }
                None
            }
            Some(Mqtt::Acked { packet, reason }) => self.acked(packet, reason),
            // The session is new with each connection, so the next one gets past it.
            Some(Mqtt::Stuck(_)) => None,
        }
    }

    /// MQTT 3.1.1 has no reasons, and other brokers give ones of their own: a batch that they do not take shows as
    /// connections that close on it.
    fn closed(&mut self) {
        let Some(batch) = self.flights.oldest_batch() else { return };
        if !self.greeting.broker.is_weir() && self.spool.closed_on(batch) {
            self.uplink.counters.warn(Event::BatchesUnreadable, || {
                let units = batch.units;
                format!("connections close on one batch of {units}: halved; the gateway's log may say why")
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
                    counters.warn(Event::NotesRefused, || format!("{what}: {}", self.said(reason)));
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
                _ => Some(self.refused(reason)),
            },
            Some(Flight::Claims(claims)) => match reason {
                0..0x80 | 0x99 => {
                    counters.add(Event::ClaimsShipped, claims.len() as u64);
                    self.gateways.worked();
                    self.progress.made();
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
                _ => Some(self.refused(reason)),
            },
        }
    }

    fn batch_acked(&mut self, batch: &Outgoing, reason: u8) -> Option<Outcome> {
        let counters = &self.uplink.counters;
        match reason {
            0x99 => counters.warn(Event::BatchesDeadLettered, || "the gateway dead-lettered a batch".to_owned()),
            0..0x80 => {
                counters.add(Event::BatchesShipped, 1);
                if reason == NO_SUBSCRIBERS {
                    let topic = &self.topics.batch;
                    counters.warn(Event::NoSubscribers, || format!("nobody at this broker is subscribed to {topic}"));
                }
            }
            0x83 => {
                counters.warn(Event::BatchesUnreadable, || format!("{} readings or claims", batch.units));
                return Some(self.unreadable(batch));
            }
            _ => {
                counters.warn(Event::BatchesRefused, || self.said(reason));
                return Some(self.refused(reason));
            }
        }
        counters.add(Event::UnitsShipped, u64::from(batch.units));
        let is_cured = self.gateways.worked();
        self.progress.made();
        if batch.lane.backlog {
            self.pace.acked(batch);
        }
        self.spool.shipped(batch);
        self.uplink.shipped.notify_one();
        self.show_acknowledged(batch, is_cured);
        None
    }

    /// The gateway cannot read or take a batch: how the connection ends.
    pub(super) fn unreadable(&mut self, batch: &Outgoing) -> Outcome {
        let counters = &self.uplink.counters;
        match self.spool.unreadable(batch) {
            Unreadable::Halved => Outcome::Again,
            Unreadable::Again => self.refused(0x83),
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
        }
    }

    fn show_acknowledged(&mut self, batch: &Outgoing, is_cured: bool) {
        if is_cured {
            self.uplink.show(self.gateways, UplinkState::Connected);
        }
        let at_ms = self.uplink.clock.now().as_millis();
        self.uplink.health.change(|view| {
            (view.last_error, view.silent_since) = (None, None);
            if let Some(((device, restart), sequence)) = batch.newest {
                view.last_acked = Some(LastAcknowledged { device, restart, sequence, at_ms });
            }
        });
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

    fn refused(&self, reason: u8) -> Outcome {
        Outcome::Lost(format!("the gateway refused a batch: {}", self.said(reason)))
    }

    /// A reason of MQTT 5 in words, as far as somebody can do something about it.
    fn said(&self, reason: u8) -> String {
        let all = self.topics.status.trim_end_matches("status");
        match reason {
            0x87 => format!(
                "reason 0x87, not authorized: allow this agent to publish {all}# and to subscribe to {all}command"
            ),
            0x90 => format!("reason 0x90: this broker takes no topics such as {all}batch"),
            0x97 => "reason 0x97: a quota of the gateway is used up".to_owned(),
            _ => format!("reason 0x{reason:02x}"),
        }
    }
}

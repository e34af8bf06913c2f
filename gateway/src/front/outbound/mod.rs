//! What a client gets without having sent it: live messages of its subscriptions, and requests to agents.
//!
//! What it guarantees: an agent subscribes to its own `command`, and every client to the live readings of its tenant
//! ([`deliveries`]); nothing is written beyond what the client takes unacknowledged, and nothing while [`MAX_LIVE`] bytes
//! wait to be written.

mod commands;
mod deliveries;

use std::sync::Arc;

use bytes::BytesMut;
use weir_protocol::batch::command::AgentCommand;
use weir_protocol::mqtt::{Purpose, Topic};
use weir_protocol::{AgentId, Tenant};

use super::answer::Answer;
use super::counters::Counters;
use super::refusal::Refusal;
use super::wire::{Connect, Version};
use crate::router::{Delivered, Live};
use commands::Commands;
use deliveries::{Subscriptions, Unacknowledged};

/// Live messages that wait to be written, in bytes, before the next one waits for its turn.
const MAX_LIVE: usize = 32 << 10;
/// The largest message that is delivered, topic and payload, in bytes.
pub(super) const MAX_MESSAGE: usize = 4096;
/// The most that all of this takes for one client, in bytes.
pub(super) const MOST: usize = commands::MOST + deliveries::MOST;

/// What goes to one client.
pub(super) struct Outbound {
    answer: Answer,
    /// The largest packet that the client takes, in bytes.
    max_packet: u32,
    commands: Commands,
    unacknowledged: Unacknowledged,
    /// Where live subscriptions are made, if they are served.
    live: Option<Live>,
    subscriptions: Option<Box<Subscriptions>>,
    counters: Arc<Counters>,
}

impl Outbound {
    /// Nothing subscribed yet.
    pub(super) fn new(
        answer: Answer,
        agent: AgentId,
        connect: &Connect,
        live: Option<Live>,
        counters: Arc<Counters>,
    ) -> Self {
        let command = Topic { tenant: Tenant::DEFAULT, agent, purpose: Purpose::Command };
        Self {
            answer,
            max_packet: connect.max_packet,
            commands: Commands::new(command.to_string()),
            unacknowledged: Unacknowledged::new(connect.receive_maximum),
            live,
            subscriptions: None,
            counters,
        }
    }

    /// Bytes that it holds.
    pub(super) fn held(&self) -> usize {
        self.commands.held()
    }

    /// SUBSCRIBE: filters and the QoS asked for.
    pub(super) fn subscribe(&mut self, pkid: u16, filters: &[(String, u8)], out: &mut BytesMut) {
        let codes: Vec<u8> = filters.iter().map(|(filter, qos)| self.add(filter, *qos)).collect();
        self.answer.subscribed(out, pkid, &codes);
        self.commands.flush(self.answer, &mut self.unacknowledged, out);
    }

    fn add(&mut self, filter: &str, qos: u8) -> u8 {
        let granted = qos.min(1);
        if filter == self.commands.topic() {
            self.commands.subscribe(granted);
            return granted;
        }
        match self.add_live(filter, granted) {
            Ok(()) => granted,
            Err(refusal) => {
                self.counters.refused(refusal);
                match self.answer.version {
                    Version::V4 => 0x80,
                    Version::V5 => refusal.code(),
                }
            }
        }
    }

    fn add_live(&mut self, filter: &str, qos: u8) -> Result<(), Refusal> {
        Subscriptions::check(Tenant::DEFAULT, filter)?;
        let live = self.live.as_ref().ok_or(Refusal::NotAuthorized)?;
        if self.subscriptions.is_none() {
            self.subscriptions = Some(Box::new(Subscriptions::new(live)?));
        }
        let added = self.subscriptions.as_mut().map_or(Ok(()), |subscriptions| subscriptions.add(filter, qos));
        self.forget_empty_subscriptions();
        added
    }

    /// UNSUBSCRIBE.
    pub(super) fn unsubscribe(&mut self, pkid: u16, filters: &[String], out: &mut BytesMut) {
        let codes: Vec<u8> = filters.iter().map(|filter| self.remove(filter)).collect();
        self.answer.unsubscribed(out, pkid, &codes);
    }

    fn remove(&mut self, filter: &str) -> u8 {
        let existed = if filter == self.commands.topic() {
            self.commands.unsubscribe()
        } else {
            self.subscriptions.as_mut().is_some_and(|subscriptions| subscriptions.remove(filter))
        };
        self.forget_empty_subscriptions();
        if existed { 0 } else { NO_SUBSCRIPTION }
    }

    fn forget_empty_subscriptions(&mut self) {
        if self.subscriptions.as_ref().is_some_and(|subscriptions| subscriptions.is_empty()) {
            self.subscriptions = None;
        }
    }

    /// PUBACK of the client.
    pub(super) fn acknowledged(&mut self, pkid: u16, out: &mut BytesMut) {
        self.unacknowledged.acknowledged(pkid);
        self.commands.flush(self.answer, &mut self.unacknowledged, out);
    }

    /// A request of the gateway to the agent.
    pub(super) fn ask(&mut self, command: AgentCommand, out: &mut BytesMut) {
        if !self.commands.ask(command) {
            self.counters.ask_dropped();
        }
        self.commands.flush(self.answer, &mut self.unacknowledged, out);
    }

    /// Whether a message may be written; `answers` bytes wait to be written.
    pub(super) fn takes(&self, answers: usize) -> bool {
        let ids = |subscriptions: &Subscriptions| !subscriptions.at_qos_1() || self.unacknowledged.has_room();
        answers < MAX_LIVE && self.subscriptions.as_ref().is_some_and(|all| ids(all))
    }

    /// The next message, never without a subscription. May be dropped at any time without losing one.
    pub(super) async fn next(&mut self) -> Delivered {
        match &mut self.subscriptions {
            Some(subscriptions) => subscriptions.next().await,
            None => std::future::pending().await,
        }
    }

    /// Writes a message, and those behind it that are there already.
    pub(super) fn deliver(&mut self, message: Delivered, out: &mut BytesMut) {
        let mut next = Some(message);
        while let Some(message) = next.take() {
            if let Some(subscriptions) = &self.subscriptions {
                subscriptions.write(&message, self.answer, &mut self.unacknowledged, self.max_packet, out);
            }
            if self.takes(out.len()) {
                next = self.subscriptions.as_mut().and_then(|subscriptions| subscriptions.try_next());
            }
        }
    }
}

/// UNSUBACK reason: no subscription existed.
const NO_SUBSCRIPTION: u8 = 0x11;

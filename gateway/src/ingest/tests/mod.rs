//! Tests that drive the engine step by step, on a filesystem that fails as they like.

mod binding;
mod checkpoints;
mod compacting;
mod damage;
mod ends;
mod evolution;
mod faults;
mod keeping;
mod log_content;
mod messages;
mod model;
mod payloads;
#[cfg(feature = "plant")]
mod plants;
mod positions;
mod processed;
mod property;
mod redrive;
mod rot;
mod routing;
mod rules;
mod schemas;
mod service;
mod settled;
mod turns;

use bytes::Bytes;
use weir_protocol::{AgentId, Tenant, Timestamp};
use weir_storage::FaultyFs;

use super::stepwise::{Gateway, Peer};
use super::{Body, Event, IngestOptions, Message, Outcome, Sender, StartError, Verdict};
use crate::record::dead_letter::Format;
use crate::topics::layout;
use log_content::LogContent;

/// When everything arrives: 2026-01-01.
const ARRIVAL: Timestamp = Timestamp(1_767_225_600_000_000);

impl Gateway {
    fn new() -> Self {
        Self::on(FaultyFs::new(1), IngestOptions::default())
    }

    fn with(options: IngestOptions) -> Self {
        Self::on(FaultyFs::new(1), options)
    }

    fn on(fs: FaultyFs, options: IngestOptions) -> Self {
        Self::started(fs, options, ARRIVAL.as_millis()).expect("opens")
    }

    /// Starts when the wall clock shows `wall_ms`.
    fn started(fs: FaultyFs, options: IngestOptions, wall_ms: i64) -> Result<Self, layout::LayoutError> {
        Self::start(fs, options, wall_ms).map_err(|error| match error {
            StartError::Layout(error) => error,
            other => panic!("{other}"),
        })
    }

    /// Cuts the power and starts again with what survived.
    fn power_cut(self, options: IngestOptions) -> Self {
        let survivor = self.fs.power_cut();
        drop(self);
        Self::on(survivor, options)
    }

    fn connect(&mut self, agent: &str) -> Peer {
        self.connect_as(Sender::from((Tenant::DEFAULT, AgentId::new(agent).unwrap())))
    }

    /// A connection on which dead letters of an agent are tried again.
    fn connect_retry(&mut self, agent: AgentId) -> Peer {
        self.connect_retry_as(Sender::from((Tenant::DEFAULT, agent)))
    }

    /// Tries a dead letter again.
    fn retry(&mut self, peer: &mut Peer, format: Format, original: Vec<u8>) {
        let work = super::decode::letter(&peer.sender, format, Bytes::from(original));
        let ticket = peer.ticket();
        self.submit_work(peer, ticket, ARRIVAL, work);
        self.engine.advance();
    }

    fn publish(&mut self, peer: &mut Peer, body: Body, payload: Vec<u8>) -> u64 {
        let ticket = self.hand_in(peer, body, payload);
        self.engine.advance();
        ticket
    }

    /// Hands it in; nothing is decided yet.
    fn hand_in(&mut self, peer: &mut Peer, body: Body, payload: Vec<u8>) -> u64 {
        let ticket = peer.ticket();
        self.submit(peer, ARRIVAL, Message { ticket, body, payload: Bytes::from(payload) });
        ticket
    }

    fn send(&mut self, peer: &mut Peer, batch: Vec<u8>) -> u64 {
        self.publish(peer, Body::Batch, batch)
    }

    fn describe(&mut self, peer: &mut Peer, payload: Vec<u8>) -> u64 {
        self.publish(peer, Body::Describe, payload)
    }

    /// Everything that a consumer sees.
    fn content(&self) -> LogContent {
        LogContent::read(&self.topics)
    }
}

impl Peer {
    /// The next ticket.
    fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket - 1
    }

    /// The outcomes among that.
    fn outcomes(&mut self) -> Vec<Outcome> {
        let outcomes = |event| match event {
            Event::Outcomes(outcomes) => outcomes,
            Event::Ask(_) => Vec::new(),
        };
        self.events().into_iter().flat_map(outcomes).collect()
    }

    /// The verdicts among that.
    fn verdicts(&mut self) -> Vec<Verdict> {
        self.outcomes().into_iter().map(|outcome| outcome.verdict).collect()
    }
}

//! What passes on the MQTT connection, for the ledger: manifests of batches, and what was answered.
//!
//! MQTT 5 and 3.1.1 are told apart by the CONNECT packet, as a server does it (MQTT 5 section 3.1.2.2). A
//! stream that is not MQTT is passed on unseen; what it does to the gateway is the gateway's business.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::BytesMut;
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5::{self, PubAckReason};
use weir_protocol::batch::{Envelope, Section, Span};
use weir_protocol::mqtt::{Purpose, Topic};

use crate::ledger::Ledger;

/// The largest packet that is looked at: a batch and its topic.
const MAX_PACKET: usize = weir_protocol::batch::MAX_PAYLOAD + 1024;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the agent to the gateway.
    Up,
    /// From the gateway to the agent.
    Down,
}

/// Watches one connection.
#[derive(Clone, Debug)]
pub struct Observer(Arc<Mutex<Watch>>);

#[derive(Debug)]
struct Watch {
    ledger: Ledger,
    version: Option<Version>,
    up: BytesMut,
    down: BytesMut,
    /// Batches without an answer, by packet id: at most 65,535.
    unanswered: HashMap<u16, Vec<Span>>,
    /// A batch came by.
    begun: bool,
    /// Something that is no MQTT came by.
    blind: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V4,
    V5,
}

/// A packet that matters.
enum Seen {
    Batch(u16, bytes::Bytes),
    /// A PUBACK, and whether it promises that the batch is accounted for on disk.
    Answer(u16, bool),
    Other,
}

impl Observer {
    /// Watches a new connection.
    pub fn new(ledger: Ledger) -> Self {
        let (up, down) = (BytesMut::new(), BytesMut::new());
        let watch = Watch { ledger, version: None, up, down, unanswered: HashMap::new(), begun: false, blind: false };
        Self(Arc::new(Mutex::new(watch)))
    }

    /// Takes bytes as they pass.
    pub fn see(&self, direction: Direction, bytes: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).see(direction, bytes);
    }
}

impl Watch {
    fn see(&mut self, direction: Direction, bytes: &[u8]) {
        if self.blind {
            return;
        }
        match direction {
            Direction::Up => self.up.extend_from_slice(bytes),
            Direction::Down => self.down.extend_from_slice(bytes),
        }
        if self.version.is_none() {
            self.version = version(&self.up);
        }
        let Some(version) = self.version else { return };
        loop {
            let stream = if direction == Direction::Up { &mut self.up } else { &mut self.down };
            match next(version, stream) {
                Ok(Some(seen)) => self.note(seen),
                Ok(None) => return,
                Err(()) => {
                    self.blind = true;
                    (self.up, self.down) = (BytesMut::new(), BytesMut::new());
                    return;
                }
            }
        }
    }

    fn note(&mut self, seen: Seen) {
        match seen {
            Seen::Batch(id, payload) => {
                if !std::mem::replace(&mut self.begun, true) {
                    self.ledger.begins();
                }
                let spans = self.batch(&payload);
                self.unanswered.insert(id, spans);
            }
            Seen::Answer(id, promises) => {
                let spans = self.unanswered.remove(&id).unwrap_or_default();
                if promises {
                    self.ledger.acknowledged(&spans);
                }
            }
            Seen::Other => {}
        }
    }
}

impl Watch {
    /// Writes down a batch; what it names, if that can be read.
    fn batch(&self, payload: &[u8]) -> Vec<Span> {
        let Ok(envelope) = Envelope::open(payload) else { return Vec::new() };
        let spans: Vec<_> = envelope.manifest().collect();
        self.ledger.published(&spans);
        let mut buffer = Vec::new();
        for section in envelope.sections(&mut buffer).into_iter().flat_map(|sections| sections.iter()) {
            if let Ok(Section::Readings(run)) = section
                && let Some(end) = run.end()
            {
                self.ledger.sent(Span { device: run.device, restart: run.restart, start: run.first, end });
            }
        }
        spans
    }
}

/// The protocol level of a CONNECT at the start of `stream`, once it is there.
fn version(stream: &[u8]) -> Option<Version> {
    // Fixed header: type, then a length of one to four bytes; then the name "MQTT" and the level.
    let length = stream.iter().skip(1).take(4).position(|b| b & 0x80 == 0)?;
    let level = *stream.get(1 + length + 1 + 6)?;
    Some(if level == 5 { Version::V5 } else { Version::V4 })
}

/// Success, or 0x99: dead-lettered, durably. Everything else from 0x80 on promises nothing.
fn promises(reason: PubAckReason) -> bool {
    use PubAckReason::{NoMatchingSubscribers, PayloadFormatInvalid, Success};
    matches!(reason, Success | NoMatchingSubscribers | PayloadFormatInvalid)
}

/// The next whole packet; `Err` if this is no MQTT.
fn next(version: Version, stream: &mut BytesMut) -> Result<Option<Seen>, ()> {
    let batch = |topic: &[u8], id: u16, payload: &bytes::Bytes| {
        let topic = std::str::from_utf8(topic).ok().and_then(Topic::parse);
        let is_batch = id != 0 && topic.is_some_and(|t| t.purpose == Purpose::Batch);
        if is_batch { Seen::Batch(id, payload.clone()) } else { Seen::Other }
    };
    match version {
        Version::V4 => match v4::Packet::read(stream, MAX_PACKET) {
            Ok(v4::Packet::Publish(p)) => Ok(Some(batch(p.topic.as_bytes(), p.pkid, &p.payload))),
            Ok(v4::Packet::PubAck(ack)) => Ok(Some(Seen::Answer(ack.pkid, true))),
            Ok(_) => Ok(Some(Seen::Other)),
            Err(rumqttc::mqttbytes::Error::InsufficientBytes(_)) => Ok(None),
            Err(_) => Err(()),
        },
        Version::V5 => match v5::Packet::read(stream, Some(MAX_PACKET as u32)) {
            Ok(v5::Packet::Publish(p)) => Ok(Some(batch(&p.topic, p.pkid, &p.payload))),
            Ok(v5::Packet::PubAck(ack)) => Ok(Some(Seen::Answer(ack.pkid, promises(ack.reason)))),
            Ok(_) => Ok(Some(Seen::Other)),
            Err(rumqttc::v5::mqttbytes::Error::InsufficientBytes(_)) => Ok(None),
            Err(_) => Err(()),
        },
    }
}

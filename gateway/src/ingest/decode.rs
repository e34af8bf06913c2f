//! From payload to work: everything about a message that needs no state, done on the caller's task.
//!
//! Guarantees: bounded by the payload and the limits of the envelope; what comes out names its identities
//! truthfully, because a batch whose manifest and body disagree is [`Work::Unreadable`]; every sequence is
//! below 2^63, which is what a record can hold.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use weir_protocol::batch::{
    Claim, Envelope, EnvelopeError, Held, LossKind, MAX_DETAIL, MAX_HELD, MAX_PAYLOAD, MAX_READINGS, Position,
    ReadingRun, Refusal, RestartEnd, Section, Span, Summary, describe,
};
use weir_protocol::items::Items;
use weir_protocol::{AgentId, Channel, DeviceId, Restart, SchemaHash, Sequence, Tenant, Timestamp};

use super::channels::Channels;
use super::{Body, Published, Sender};
use crate::record::Description;
use crate::record::dead_letter::Format;
use crate::record::reading::Summarised;
use crate::topics::{Stores, TopicId};

/// The most spans of one manifest.
pub const MAX_SPANS: usize = 1 << 16;
/// The most sections of one batch. Decoded they take some 200 bytes each, and four million fit into a body that
/// compresses to a few hundred bytes.
pub const MAX_SECTIONS: usize = 1 << 16;

/// Room for so many parts is made before they are read.
const MAX_EXPECTED: usize = 16;

/// What a message asks for.
#[derive(Debug)]
pub(crate) enum Work {
    /// Sections, in the order of the batch.
    Batch(Vec<Part>),
    /// A batch whose body cannot be read, with what its manifest names.
    Spans { payload: Bytes, spans: Vec<Span> },
    /// A description.
    Describe(Arc<Described>),
    /// A description that cannot be read.
    BadDescription(Bytes),
    /// A message of a client, for that topic.
    Message(TopicId, Box<Published>, Bytes),
    /// A device is to be bound to the sender.
    Move(DeviceId),
    /// Nothing is known about it.
    Unreadable(&'static str),
}

/// One section.
#[derive(Debug)]
pub(crate) enum Part {
    Run(Run),
    Claim(Claim),
    Missing(Missing),
    End(RestartEnd),
}

/// What a [`Position`] says that the agent accepted and no longer holds, or what a [`Summary`] stands for.
#[derive(Debug)]
pub(crate) struct Missing {
    pub(crate) device: DeviceId,
    pub(crate) restart: Restart,
    pub(crate) kind: LossKind,
    /// Ascending and not empty; at most [`MAX_HELD`] + 1 of them.
    pub(crate) ranges: Vec<Range<u64>>,
}

/// A run of readings, still encoded.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) device: DeviceId,
    pub(crate) restart: Restart,
    pub(crate) schema: SchemaHash,
    pub(crate) first: u64,
    pub(crate) end: u64,
    pub(crate) start: Timestamp,
    /// The whole section as it came.
    pub(crate) section: Bytes,
    /// Where in the section the readings start; they go to its end.
    pub(crate) items_at: usize,
    /// The payload that the section was compressed in, if the section is larger than a payload may be: who keeps the original keeps
    /// this one.
    payload: Option<Bytes>,
    /// What the agent's rules made of it.
    pub(crate) processed: Processed,
}

/// What the rules of an agent made of readings.
#[derive(Debug)]
pub(crate) enum Processed {
    /// Nothing that concerns the gateway.
    No,
    /// Each of them stands for others.
    Summary(Summarised),
    /// They are refused; with what was expected.
    Refused(Refusal, Box<str>),
}

/// A description, ready to be stored and used.
#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) device: DeviceId,
    pub(crate) schema: SchemaHash,
    pub(crate) channels: Arc<Channels>,
    /// The value of its record.
    pub(crate) value: Vec<u8>,
    /// As it came.
    pub(crate) payload: Bytes,
}

/// Decodes one message of `sender`.
pub(crate) fn decode(sender: &Sender, stores: &Stores, body: Body, payload: Bytes) -> Work {
    match (body, sender.agent()) {
        (Body::Batch, Some(_)) => batch(payload),
        (Body::Describe, Some(agent)) => match description((sender.tenant, agent), &payload) {
            Ok(described) => Work::Describe(Arc::new(described)),
            Err(_) => Work::BadDescription(payload),
        },
        (Body::Batch | Body::Describe, None) => Work::Unreadable("the client id is no name of an agent"),
        (Body::Published(published), _) => match stores.find(sender.tenant, &published.topic) {
            Some(topic) => Work::Message(topic, published, payload),
            None => Work::Unreadable("no filter of mqtt.store matches its topic"),
        },
    }
}

/// Decodes the original bytes of a dead letter of `sender` as they were decoded when they came.
pub(crate) fn letter(sender: &Sender, format: Format, original: Bytes) -> Work {
    match format {
        Format::Batch => decode(sender, &Stores::default(), Body::Batch, original),
        Format::Description => decode(sender, &Stores::default(), Body::Describe, original),
        Format::Section => match parts_of(&original, &original, 1) {
            Ok(parts) if parts.iter().all(Part::is_in_range) => Work::Batch(parts),
            _ => Work::Unreadable("a section that does not decode"),
        },
    }
}

fn batch(payload: Bytes) -> Work {
    let envelope = match Envelope::open(&payload) {
        Ok(envelope) => envelope,
        Err(EnvelopeError::Unreadable(why) | EnvelopeError::Body(why)) => return Work::Unreadable(why),
        Err(EnvelopeError::Version(_)) => return Work::Unreadable("version"),
    };
    let mut spans = 0;
    for span in envelope.manifest() {
        spans += 1;
        if spans > MAX_SPANS {
            return Work::Unreadable("more than 65536 spans");
        }
        if span.end > Sequence::END {
            return Work::Unreadable("a sequence of 2^63 or more");
        }
    }
    match body(&payload, &envelope, spans) {
        Ok(parts) if agrees(&parts, envelope.manifest()) => Work::Batch(parts),
        Ok(_) => Work::Unreadable("manifest and body name different identities"),
        Err(_) => Work::Spans { spans: envelope.manifest().collect(), payload },
    }
}

fn body(payload: &Bytes, envelope: &Envelope<'_>, spans: usize) -> Result<Vec<Part>, EnvelopeError> {
    let mut buffer = Vec::new();
    let sections = envelope.sections(&mut buffer)?.as_bytes();
    let plain = payload.as_ptr_range().contains(&sections.as_ptr()).then(|| payload.slice_ref(sections));
    let body = plain.unwrap_or_else(|| Bytes::from(buffer));

    parts_of(&body, payload, spans.min(MAX_EXPECTED))
}

/// The sections of a body that came in `payload`, some `expected` of them.
fn parts_of(body: &Bytes, payload: &Bytes, expected: usize) -> Result<Vec<Part>, EnvelopeError> {
    // Most batches are one run, and a vector that grows by itself starts with room for four.
    let mut parts = Vec::with_capacity(expected);
    let mut readings = 0;
    let mut new_run = |run: &ReadingRun<'_>, processed, encoded: &[u8]| {
        readings += u64::from(run.count);
        if readings > MAX_READINGS {
            return Err(EnvelopeError::Body("more than 65536 readings"));
        }
        Ok(Run {
            device: run.device,
            restart: run.restart,
            schema: run.schema,
            first: run.first.0,
            end: run.first.0.saturating_add(u64::from(run.count)),
            start: run.start,
            section: body.slice_ref(encoded),
            // Every section with a run ends with its readings.
            items_at: encoded.len() - run.readings.as_bytes().len(),
            payload: (encoded.len() > MAX_PAYLOAD).then(|| payload.clone()),
            processed,
        })
    };
    let mut sections = Items::<Section<'_>>::new(body).iter();
    loop {
        let before = sections.rest();
        let Some(section) = sections.next() else { return Ok(parts) };
        let section = section.map_err(|_| EnvelopeError::Body("section encoding"))?;
        let encoded = &before[..before.len() - sections.rest().len()];
        // A summary makes two.
        if parts.len() + 1 >= MAX_SECTIONS {
            return Err(EnvelopeError::Body("more than 65536 sections"));
        }
        let part = match section {
            Section::Readings(run) => Part::Run(new_run(&run, Processed::No, encoded)?),
            Section::SetAside(aside) if aside.expected.len() > MAX_DETAIL => {
                return Err(EnvelopeError::Body("more than 96 bytes of what was expected"));
            }
            Section::SetAside(aside) => {
                let refused = Processed::Refused(aside.refusal, aside.expected.into());
                Part::Run(new_run(&aside.run, refused, encoded)?)
            }
            Section::Summary(summary) => {
                let (summarised, reduced) = reduced(&summary)?;
                if summary.run.count > 0 {
                    parts.push(Part::Run(new_run(&summary.run, Processed::Summary(summarised), encoded)?));
                }
                Part::Missing(reduced)
            }
            Section::Claim(claim) => Part::Claim(claim),
            Section::End(end) if end.from < Sequence::END => Part::End(end),
            Section::End(_) => return Err(EnvelopeError::Body("a sequence of 2^63 or more")),
            Section::Position(position) => match missing(&position)? {
                Some(missing) => Part::Missing(missing),
                None => continue,
            },
        };
        parts.push(part);
    }
}

/// Whether the manifest names the identities of the body, neighbours joined, in the order of the body.
fn agrees(parts: &[Part], mut manifest: impl Iterator<Item = Span>) -> bool {
    let mut named = manifest.next();
    let mut names = |device: DeviceId, restart: Restart, range: Range<u64>| {
        let Some(span) = &mut named else { return false };
        if (span.device, span.restart, span.start.0) != (device, restart, range.start) || range.end > span.end.0 {
            return false;
        }
        span.start.0 = range.end;
        if span.start == span.end {
            named = manifest.next();
        }
        true
    };
    for part in parts {
        let (device, restart, range) = match part {
            Part::Run(run) => (run.device, run.restart, run.first..run.end),
            Part::Claim(claim) => (claim.device, claim.restart, claim.start.0..claim.end.0),
            Part::Missing(missing) if missing.kind == LossKind::Reduced => {
                let (device, restart) = (missing.device, missing.restart);
                if !missing.ranges.iter().all(|range| names(device, restart, range.clone())) {
                    return false;
                }
                continue;
            }
            Part::Missing(_) | Part::End(_) => continue,
        };
        if !names(device, restart, range) {
            return false;
        }
    }
    named.is_none()
}

/// The complement of what is held; `None` if the agent holds all that it accepted.
fn missing(position: &Position<'_>) -> Result<Option<Missing>, EnvelopeError> {
    if position.from > position.upto || position.upto > Sequence::END {
        return Err(EnvelopeError::Body("a position that ends before it begins, or at 2^63 or more"));
    }
    let mut ranges = Vec::new();
    let mut at = position.from.0;
    let mut last = Sequence(0);
    for (count, held) in position.held.iter().enumerate() {
        let held = held.map_err(|_| EnvelopeError::Body("held range encoding"))?;
        if count == MAX_HELD || held.start >= held.end || held.start < last {
            return Err(EnvelopeError::Body("held ranges: expected at most 256, ascending, none empty"));
        }
        let start = held.start.0.min(position.upto.0);
        if at < start {
            ranges.push(at..start);
        }
        at = at.max(held.end.0);
        last = held.end;
    }
    if at < position.upto.0 {
        ranges.push(at..position.upto.0);
    }
    let (device, restart, kind) = (position.device, position.restart, LossKind::Unaccounted);
    Ok((!ranges.is_empty()).then_some(Missing { device, restart, kind, ranges }))
}

/// What a summary stands for: the range that covers it, and the sequences themselves.
fn reduced(summary: &Summary<'_>) -> Result<(Summarised, Missing), EnvelopeError> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for held in summary.ranges {
        let Held { start, end } = held.map_err(|_| EnvelopeError::Body("summarised range encoding"))?;
        let behind = ranges.last().map_or(0, |last| last.end);
        if ranges.len() == MAX_HELD || start >= end || start.0 < behind || end > Sequence::END {
            return Err(EnvelopeError::Body("summarised ranges: expected 1 to 256, ascending, none empty, below 2^63"));
        }
        ranges.push(start.0..end.0);
    }
    let (Some(first), Some(last)) = (ranges.first(), ranges.last()) else {
        return Err(EnvelopeError::Body("a summary of nothing"));
    };
    let (device, restart) = (summary.run.device, summary.of);
    let summarised = Summarised { restart, start: Sequence(first.start), end: Sequence(last.end) };
    Ok((summarised, Missing { device, restart, kind: LossKind::Reduced, ranges }))
}

fn description((tenant, agent): (Tenant, AgentId), payload: &Bytes) -> Result<Described, EnvelopeError> {
    let description = describe::decode(payload)?;
    // All of them decoded once already.
    let channels: Vec<Channel<'_>> = description.channels.iter().filter_map(Result::ok).collect();
    let (device, schema) = (description.device, description.schema);
    let known = Arc::new(Channels::new(&channels));
    let mut value = Vec::new();
    Description { tenant, agent, device, schema, channels }.encode(&mut value);
    Ok(Described { device, schema, channels: known, value, payload: payload.clone() })
}

impl Part {
    /// Whether a record can hold its sequences.
    fn is_in_range(&self) -> bool {
        match self {
            Self::Run(run) => run.end <= Sequence::END.0,
            Self::Claim(claim) => claim.end <= Sequence::END,
            // What these name was checked when they were decoded.
            Self::Missing(_) | Self::End(_) => true,
        }
    }
}

impl Run {
    /// What is kept of it that it came in, as which format, and where in that a `position` of the section is.
    pub(crate) fn original(&self, position: usize) -> (Option<u64>, Format, &Bytes) {
        match &self.payload {
            Some(payload) => (None, Format::Batch, payload),
            None => (Some(position as u64), Format::Section, &self.section),
        }
    }

    /// The encoded readings.
    pub(crate) fn items<'a, T>(&'a self) -> Items<'a, T> {
        Items::new(&self.section[self.items_at..])
    }
}

//! What cannot be stored as readings: single ones that are invalid, and batches whose body cannot be read.

use std::ops::Range;

use weir_protocol::batch::{Refusal, Span};
use weir_protocol::{DeviceId, Restart, Sequence};

use super::super::Reason;
use super::super::buried::Remains;
use super::super::decode::Run;
use super::super::devices::{DeviceIndex, OverLimit};
use super::super::ledger::Ledger;
use super::super::moves::Effect;
use super::{Plan, Planner, Stop};
use crate::record::DeadLetter;
use crate::record::dead_letter::{DeadSpan, Format};
use crate::topics::{TopicId, murmur2};

/// The invalid readings of one run, by reason.
#[derive(Default)]
pub(super) struct Poison {
    found: Vec<Found>,
}

struct Found {
    reason: Reason,
    /// Where in the section the first of them starts.
    position: usize,
    ranges: Vec<Range<u64>>,
}

impl Poison {
    pub(super) fn of(reason: Reason, position: usize, range: Range<u64>) -> Self {
        Self { found: vec![Found { reason, position, ranges: vec![range] }] }
    }

    pub(super) fn add(&mut self, reason: Reason, position: usize, range: Range<u64>) {
        let Some(found) = self.found.iter_mut().find(|found| found.reason == reason) else {
            self.found.push(Found { reason, position, ranges: vec![range] });
            return;
        };
        match found.ranges.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => found.ranges.push(range),
        }
    }
}

/// Sequences on their way into one dead letter.
#[derive(Default)]
struct Grave {
    spans: Vec<DeadSpan>,
    /// The device of each span.
    places: Vec<DeviceIndex>,
}

impl Grave {
    /// Adds what of the range has no verdict yet that forbids a dead letter, and makes it pending.
    fn dig(&mut self, place: DeviceIndex, device: DeviceId, restart: Restart, ledger: &mut Ledger, range: Range<u64>) {
        let free: Vec<_> = ledger.not_dead(range).collect();
        for range in free {
            let lost = ledger.lost.overlaps(range.clone()).map(|part| (part, true));
            let mut parts: Vec<_> = lost.chain(ledger.lost.gaps(range.clone()).map(|part| (part, false))).collect();
            parts.sort_unstable_by_key(|(part, _)| part.start);
            for (Range { start, end }, heals) in parts {
                self.spans.push(DeadSpan { device, restart, start: Sequence(start), end: Sequence(end), heals });
                self.places.push(place);
            }
            ledger.pending.insert(range);
        }
    }
}

impl Planner<'_> {
    /// Keeps what the agent's rules refuse. The agent asked for a dead letter and gets one: it is told that all is stored.
    pub(super) fn set_aside(
        &mut self,
        place: DeviceIndex,
        run: &Run,
        refusal: Refusal,
        expected: &str,
    ) -> Result<(), Stop> {
        let ledger = self.devices.ledger_mut(place, run.restart).ok_or(OverLimit::Devices)?;
        let mut grave = Grave::default();
        grave.dig(place, run.device, run.restart, ledger, run.first..run.end);
        let buried: u64 = grave.spans.iter().map(|span| span.end.0 - span.start.0).sum();
        self.counters.repeats.add(run.end - run.first - buried);
        let (position, format, original) = run.original(run.items_at);
        let text = format!("{refusal}: expected {expected}");
        self.bury(grave, (refusal.into(), &text), position, format, original)
    }

    /// One dead letter for each reason, with the section that they came in.
    pub(super) fn bury_readings(&mut self, place: DeviceIndex, run: &Run, poison: Poison) -> Result<(), Stop> {
        for Found { reason, position, ranges } in poison.found {
            let ledger = self.devices.ledger_mut(place, run.restart).ok_or(OverLimit::Devices)?;
            let asked: u64 = ranges.iter().map(|range| range.end - range.start).sum();
            // Poison that is stored by now was cured by a later description: not a word about it.
            if !ranges.iter().all(|range| ledger.stored.contains_all(range.clone())) {
                self.poison.get_or_insert(reason);
            }
            let mut grave = Grave::default();
            for range in ranges {
                grave.dig(place, run.device, run.restart, ledger, range);
            }
            let buried: u64 = grave.spans.iter().map(|span| span.end.0 - span.start.0).sum();
            self.counters.repeats.add(asked - buried);
            let (position, format, original) = run.original(position);
            self.bury(grave, (reason, reason.as_str()), position, format, original)?;
        }
        Ok(())
    }

    /// One dead letter for a whole batch, with everything that its manifest names.
    pub(super) fn bury_spans(&mut self, spans: &[Span], payload: &[u8]) -> Result<(), Stop> {
        if self.scratch.places.is_empty() || self.scratch.places.iter().any(Option::is_some) {
            self.poison = Some(Reason::UnreadableBody);
        }
        let mut grave = Grave::default();
        let places = std::mem::take(&mut self.scratch.places);
        let mut foreign = Vec::new();
        for (place, span) in places.iter().zip(spans) {
            let Some(place) = place else {
                foreign.push(span);
                continue;
            };
            if let Some(ledger) = self.devices.ledger_mut(*place, span.restart) {
                grave.dig(*place, span.device, span.restart, ledger, span.start.0..span.end.0);
            }
        }
        self.scratch.places = places;
        self.bury_foreign_spans(&foreign, None, Format::Batch, payload)?;
        let reason = Reason::UnreadableBody;
        self.bury(grave, (reason, reason.as_str()), None, Format::Batch, payload)
    }

    /// Keeps a description that cannot be used, once.
    pub(crate) fn bury_description(mut self, reason: Reason, payload: &[u8]) -> Plan {
        self.poison = Some(reason);
        let remains = Remains::of(self.tenant, self.agent, payload);
        let key_hash = murmur2::hash(self.agent.as_bytes());
        let partition = self.routes.partition(TopicId::DEAD_LETTER, key_hash);
        let log = self.routes.at(TopicId::DEAD_LETTER, partition);
        if self.is_retry || self.devices.grave(partition).is_some_and(|grave| grave.buried.contains(remains)) {
            return self.finish(Ok(()));
        }
        let staged = self.append_letter(log, None, Vec::new(), reason.as_str(), None, Format::Description, payload);
        self.group.buried.push((log, partition, remains));
        self.finish(staged)
    }

    fn bury(
        &mut self,
        grave: Grave,
        (reason, text): (Reason, &str),
        position: Option<u64>,
        format: Format,
        original: &[u8],
    ) -> Result<(), Stop> {
        let (Some(place), Some(span)) = (grave.places.first(), grave.spans.first()) else {
            return Ok(());
        };
        let device = self.devices.get(*place).ok_or(OverLimit::Devices)?;
        let partition = self.routes.partition(TopicId::DEAD_LETTER, device.key_hash);
        let log = self.routes.at(TopicId::DEAD_LETTER, partition);
        let key = span.device;
        let spans = grave.spans.clone();
        let appended = self.append_letter(log, Some(key.as_bytes()), spans, text, position, format, original);
        for (place, span) in grave.places.iter().zip(grave.spans) {
            let range = span.start.0..span.end.0;
            if appended.is_ok() {
                let (restart, heals) = (span.restart, span.heals);
                self.note(log, *place, Effect::Dead { restart, range, heals, reason, partition });
            } else if let Some(ledger) = self.devices.ledger_mut(*place, span.restart) {
                ledger.pending.remove(range);
            }
        }
        appended
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one record")]
    pub(super) fn append_letter(
        &mut self,
        log: usize,
        key: Option<&[u8]>,
        spans: Vec<DeadSpan>,
        reason: &str,
        position: Option<u64>,
        format: Format,
        original: &[u8],
    ) -> Result<(), Stop> {
        let (tenant, agent) = (self.tenant, self.agent);
        DeadLetter { tenant, agent, spans, reason, position, format, original }.encode(&mut self.scratch.value);
        self.group.append(log, self.arrival.as_millis(), key, &self.scratch.value)?;
        self.touch(log);
        Ok(())
    }
}

//! Deciding one batch: which of its sequences become readings, dead letters and losses.
//!
//! Guarantees:
//! - nothing is decided against records that are not committed yet: a batch that touches any parks first,
//!   before anything of it is staged;
//! - a reading goes to exactly one topic, and a sequence becomes at most one reading, one dead letter and one
//!   loss; `heals` stands exactly on what has an earlier verdict;
//! - what a batch loses to a claim is never what it carries as a reading.
//!
//! Order within a batch: readings, then claims and positions, then ends, because a claim must see the batch's own readings.

mod binding;
mod message;
mod poison;
mod readings;

use std::ops::Range;

use weir_protocol::batch::{LossKind, RestartEnd, Span};
use weir_protocol::{AgentId, DeviceId, Restart, Tenant, Timestamp};
use weir_storage::RecordTooLarge;

use super::decode::{Described, Part};
use super::devices::{DeviceIndex, Devices, OverLimit, SchemaState};
use super::group::{Group, LogSet};
use super::ledger::End;
use super::moves::{Effect, Move};
use super::stats::Counters;
use super::{Reason, Verdict};
use crate::record::Loss;
use crate::record::loss::TAIL_UNKNOWN;
use crate::topics::TopicId;
use crate::topics::routes::Routes;

/// What is to be done with a message.
#[derive(Debug)]
pub(crate) enum Plan {
    /// Its records are in the group: the verdict holds once these logs are committed; at once if there are
    /// none.
    Staged(LogSet, Verdict),
    /// It touches records of a group that is not committed yet.
    Park,
    /// It is refused, and so is everything behind it on its connection.
    Refuse(Verdict),
    /// As [`Plan::Refuse`], because of a bound, perhaps for that device.
    OverLimit(OverLimit, Option<DeviceId>),
}

/// Decides one message of one connection.
pub(crate) struct Planner<'a> {
    pub(crate) devices: &'a mut Devices,
    pub(crate) group: &'a mut Group,
    pub(crate) counters: &'a Counters,
    pub(crate) scratch: &'a mut Scratch,
    pub(crate) routes: &'a Routes,
    /// Whose identities these are.
    pub(crate) tenant: Tenant,
    /// Who ships them.
    pub(crate) agent: AgentId,
    /// When the message arrived.
    pub(crate) arrival: Timestamp,
    /// Whether the message is a dead letter that is tried again.
    pub(crate) is_retry: bool,
    /// What it has touched so far.
    pub(crate) logs: LogSet,
    /// The first reason for which some of it is a dead letter.
    pub(crate) poison: Option<Reason>,
}

/// Memory that is used again for every message.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// The device of each part; none if it is bound to another agent.
    places: Vec<Option<DeviceIndex>>,
    value: Vec<u8>,
    key: Vec<u8>,
    /// What of a run is stored.
    streaks: Vec<readings::Streak>,
}

/// A bound that shows only while staging.
struct Stop(OverLimit);

impl From<OverLimit> for Stop {
    fn from(over: OverLimit) -> Self {
        Self(over)
    }
}

impl From<RecordTooLarge> for Stop {
    fn from(_: RecordTooLarge) -> Self {
        Self(OverLimit::Record)
    }
}

impl Planner<'_> {
    /// Decides a batch. Schemas that are not known by now are not waited for.
    pub(crate) fn batch(mut self, parts: &[Part]) -> Plan {
        match self.survey(parts) {
            Ok(true) => {}
            Ok(false) => return Plan::Park,
            Err((over, device)) => return Plan::OverLimit(over, Some(device)),
        }
        let staged = self.stage(parts);
        self.finish(staged)
    }

    /// Decides a batch whose body cannot be read.
    pub(crate) fn unreadable(mut self, spans: &[Span], payload: &[u8]) -> Plan {
        self.scratch.places.clear();
        for span in spans {
            if self.is_foreign(span.device) {
                self.scratch.places.push(None);
                continue;
            }
            match self.enter(span.device, span.restart, span.start.0..span.end.0) {
                Ok((_, true)) => return Plan::Park,
                Ok((place, false)) => self.scratch.places.push(Some(place)),
                Err(over) => return Plan::OverLimit(over, Some(span.device)),
            }
        }
        let staged = self.bury_spans(spans, payload);
        self.finish(staged)
    }

    /// Decides a description; a repeat of one that is pending waits for that group.
    pub(crate) fn describe(mut self, described: &Described) -> Plan {
        if self.is_foreign(described.device) {
            return self.bury_description(Reason::NotBound, &described.payload);
        }
        let place = match self.devices.enter(self.tenant, described.device) {
            Ok(place) => place,
            Err(over) => return Plan::OverLimit(over, Some(described.device)),
        };
        let has_room = self.devices.has_room_for_schema(place);
        let Some(device) = self.devices.get_mut(place) else { return Plan::OverLimit(OverLimit::Devices, None) };
        match device.schemas.get(described.schema) {
            Some(SchemaState::Known(_)) => return self.finish(Ok(())),
            Some(SchemaState::Pending) => return Plan::Park,
            // Whose device it is shows when that is committed.
            None if device.is_changing_owner => return Plan::Park,
            // Not a refusal, which would end the connection: the agent says it again on the next one.
            None if !has_room => return self.bury_description(Reason::TooManySchemas, &described.payload),
            None => {}
        }
        let log = self.routes.log(TopicId::DESCRIBE, device.key_hash);
        let key = Some(device.id.as_bytes());
        let appended = self.group.append(log, self.arrival.as_millis(), key, &described.value);
        if appended.is_ok() {
            device.schemas.insert(described.schema, SchemaState::Pending);
            device.is_changing_owner = device.owner != Some(self.agent);
            let agent = self.agent;
            self.touch(log);
            let identity = (self.tenant, described.device);
            let (schema, channels) = (described.schema, described.channels.routed(self.routes.rules(), identity));
            self.note(log, place, Effect::Described { schema, channels, agent });
        }
        self.finish(appended.map_err(Stop::from))
    }

    fn finish(self, staged: Result<(), Stop>) -> Plan {
        match (staged, self.poison) {
            // What was staged already is sound and will be committed; only the promise is withheld.
            (Err(Stop(over)), _) => Plan::OverLimit(over, None),
            (Ok(()), Some(reason)) => Plan::Staged(self.logs, Verdict::DeadLettered(reason)),
            (Ok(()), None) => Plan::Staged(self.logs, Verdict::Stored),
        }
    }

    /// Finds the device of every part; false if any of it is pending.
    fn survey(&mut self, parts: &[Part]) -> Result<bool, (OverLimit, DeviceId)> {
        self.scratch.places.clear();
        // What goes on from the part before it goes on from what is known if that does.
        let mut before = None;
        for part in parts {
            let (device, restart, range) = match part {
                Part::Run(run) => (run.device, run.restart, run.first..run.end),
                Part::Claim(claim) => (claim.device, claim.restart, claim.start.0..claim.end.0),
                Part::Missing(missing) => (missing.device, missing.restart, 0..0),
                Part::End(end) => (end.device, end.restart, 0..0),
            };
            if self.is_foreign(device) {
                self.scratch.places.push(None);
                continue;
            }
            let named = |over| (over, device);
            let from = match before {
                Some((of, first, end)) if (of, end) == ((device, restart), range.start) => first,
                _ => range.start,
            };
            before = Some(((device, restart), from, range.end));
            let entered = self.enter(device, restart, range.clone());
            let entered = entered.or_else(|_| self.enter(device, restart, from..range.end));
            let (place, mut pending) = entered.map_err(named)?;
            if let Part::Missing(missing) = part {
                for range in &missing.ranges {
                    pending |= self.enter(device, restart, range.clone()).map_err(named)?.1;
                }
            }
            let ending = matches!(part, Part::End(_))
                && self.devices.ledger_mut(place, restart).is_some_and(|ledger| ledger.end == End::Pending);
            if pending || ending {
                return Ok(false);
            }
            self.scratch.places.push(Some(place));
        }
        Ok(true)
    }

    fn is_foreign(&self, device: DeviceId) -> bool {
        self.devices.is_foreign(self.agent, self.tenant, device)
    }

    /// The device, and whether any of the range is pending.
    fn enter(
        &mut self,
        device: DeviceId,
        restart: Restart,
        range: Range<u64>,
    ) -> Result<(DeviceIndex, bool), OverLimit> {
        let place = self.devices.enter(self.tenant, device)?;
        let ledger = self.devices.ledger(place, restart, range.clone())?;
        Ok((place, ledger.pending.intersects(range)))
    }

    fn stage(&mut self, parts: &[Part]) -> Result<(), Stop> {
        let places = std::mem::take(&mut self.scratch.places);
        let staged = self.stage_at(&places, parts);
        self.scratch.places = places;
        staged
    }

    fn stage_at(&mut self, places: &[Option<DeviceIndex>], parts: &[Part]) -> Result<(), Stop> {
        for (place, part) in places.iter().zip(parts) {
            match (place, part) {
                (Some(place), Part::Run(run)) => self.run(*place, run)?,
                (None, Part::Run(run)) => self.bury_foreign(run)?,
                _ => {}
            }
        }
        for (place, part) in places.iter().zip(parts) {
            let Some(place) = place else {
                // A run is a dead letter by now.
                if !matches!(part, Part::Run(_)) {
                    self.ignore_foreign();
                }
                continue;
            };
            match part {
                Part::Run(_) => {}
                Part::Claim(claim) => {
                    let range = claim.start.0..claim.end.0;
                    self.lose(*place, (claim.device, claim.restart), claim.kind, &[range])?;
                }
                Part::Missing(missing) => {
                    let identity = (missing.device, missing.restart);
                    self.lose(*place, identity, missing.kind, &missing.ranges)?;
                }
                Part::End(end) => self.end(*place, end)?,
            }
        }
        Ok(())
    }

    /// What of the ranges is neither settled, dead-lettered, lost nor a reading of this batch is lost now, or left out.
    fn lose(
        &mut self,
        place: DeviceIndex,
        (device, restart): (DeviceId, Restart),
        kind: LossKind,
        claimed: &[Range<u64>],
    ) -> Result<(), Stop> {
        let ledger = self.devices.ledger_mut(place, restart).ok_or(OverLimit::Devices)?;
        let ranges: Vec<_> = claimed.iter().flat_map(|range| ledger.not_lost(range.clone())).collect();
        if ranges.is_empty() {
            return Ok(());
        }
        #[cfg(feature = "plant")]
        if self.devices.loses_loss_records && kind != LossKind::Reduced {
            let ledger = self.devices.ledger_mut(place, restart).ok_or(OverLimit::Devices)?;
            ranges.into_iter().for_each(|range| ledger.lose(range));
            return Ok(());
        }
        let log = self.append_loss(
            place,
            &Loss {
                tenant: self.tenant,
                agent: self.agent,
                device,
                restart,
                kind: kind.as_str(),
                ranges: ranges.clone(),
                from: None,
                of: None,
            },
        )?;
        let ledger = self.devices.ledger_mut(place, restart).ok_or(OverLimit::Devices)?;
        ranges.iter().for_each(|range| ledger.pending.insert(range.clone()));
        if kind == LossKind::Reduced {
            // In a set: many sequences at once, which take turns with readings.
            self.note(log, place, Effect::Settled { restart, ranges: ranges.into_iter().collect() });
            return Ok(());
        }
        ranges.into_iter().for_each(|range| self.note(log, place, Effect::Lost { restart, range }));
        Ok(())
    }

    /// A restart ends once, however often that is said.
    fn end(&mut self, place: DeviceIndex, end: &RestartEnd) -> Result<(), Stop> {
        let ledger = self.devices.ledger_mut(place, end.restart).ok_or(OverLimit::Devices)?;
        if ledger.end != End::Unknown {
            return Ok(());
        }
        ledger.end = End::Pending;
        let log = self.append_loss(
            place,
            &Loss {
                tenant: self.tenant,
                agent: self.agent,
                device: end.device,
                restart: end.restart,
                kind: TAIL_UNKNOWN,
                ranges: Vec::new(),
                from: Some(end.from),
                of: None,
            },
        )?;
        self.note(log, place, Effect::Ended { restart: end.restart });
        Ok(())
    }

    fn append_loss(&mut self, place: DeviceIndex, loss: &Loss<'_>) -> Result<usize, Stop> {
        let device = self.devices.get(place).ok_or(OverLimit::Devices)?;
        let log = self.routes.log(TopicId::LOSS, device.key_hash);
        loss.encode(&mut self.scratch.value);
        let key = Some(loss.device.as_bytes());
        self.group.append(log, self.arrival.as_millis(), key, &self.scratch.value)?;
        self.touch(log);
        Ok(log)
    }

    fn touch(&mut self, log: usize) {
        self.logs.insert(log);
    }

    fn note(&mut self, log: usize, device: DeviceIndex, effect: Effect) {
        self.group.moves.push(Move { log, device, effect });
    }
}

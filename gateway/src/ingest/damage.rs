//! Damage in the logs: what was recorded and cannot be read any more becomes loss, exactly once.
//!
//! A sequence whose record is damaged leaves the set that the record put it in. If no earlier verdict is left (of a
//! reading: a dead letter or a loss; of a dead letter: a loss), a loss of the kind `damage` is appended, and what
//! leaves and what comes is one commit; so readings + dead letters + losses - heals stays one for each sequence. If an
//! earlier verdict is left, that one counts again and nothing is appended. What the losses said is said once more: what was
//! left out by an agent's rules (`reduced`) with the kind that it had.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::mpsc::Sender;

use weir_protocol::batch::LossKind;
use weir_protocol::{AgentId, RangeSet, Restart, Timestamp};

use super::devices::{DeviceIndex, Devices};
use super::group::Group;
use super::keeper::Finding;
use super::ledger::Ledger;
use super::log_state::Device;
use super::moves::{Effect, Move, Origin};
use crate::record::Loss;
use crate::topics::routes::Routes;
use crate::topics::{Role, TopicId};

/// The agent in the records of what the gateway itself found.
pub(crate) const GATEWAY: AgentId = match AgentId::new("weir-gateway") {
    Ok(agent) => agent,
    Err(_) => panic!("a good name"),
};
/// Ranges in one record, so that one record stays small.
const RANGES_PER_RECORD: usize = 4096;

/// Damage that is not counted yet.
#[derive(Debug)]
pub(crate) struct Job {
    /// The log that the records were in.
    log: usize,
    left: VecDeque<(Device, Restart, RangeSet)>,
    arrival: Timestamp,
    /// The last group that some of it went into; 0 for none.
    group: u64,
    /// Dropped when all of it is committed, or failed: then it is found again.
    _done: Sender<()>,
}

impl Job {
    /// `arrival` is the time of its records.
    pub(crate) fn new(finding: Finding, arrival: Timestamp, done: Sender<()>) -> Self {
        let left = finding.identities.into_iter().map(|((device, restart), ranges)| (device, restart, ranges));
        Self { log: finding.log, left: left.collect(), arrival, group: 0, _done: done }
    }

    /// Whether all of it is committed or failed, given that groups up to this number are.
    pub(crate) fn is_over(&self, resolved: u64) -> bool {
        self.left.is_empty() && self.group <= resolved
    }

    /// That group will never be committed.
    pub(crate) fn forget(&mut self, group: u64) {
        if self.group == group {
            self.group = 0;
        }
    }

    /// Stages what fits into `group`; `take` takes sequences out for which nothing is appended. False if there is more
    /// that has to wait for a commit.
    pub(crate) fn stage(
        &mut self,
        devices: &mut Devices,
        group: &mut Group,
        (routes, most_bytes): (&Routes, usize),
        mut take: impl FnMut(&mut Devices, Move),
    ) -> bool {
        let (topic, partition) = routes.place(self.log);
        let of = Origin { log: self.log, topic, partition, role: routes.role(self.log) };
        while let Some((device, restart, ranges)) = self.left.front() {
            if group.bytes() >= most_bytes {
                return false;
            }
            let (device, restart) = (*device, *restart);
            let Some(place) = devices.place(device) else {
                self.left.pop_front();
                continue;
            };
            let Some(ledger) = devices.ledger_mut(place, restart) else {
                self.left.pop_front();
                continue;
            };
            if ranges.iter().any(|range| ledger.pending.intersects(range)) {
                return false;
            }
            let settled = settled(ledger, of, ranges);
            let (counted, uncounted) = split(ledger, of, ranges);
            for range in counted {
                let effect = Effect::Damaged { restart, of, range, counted: None };
                take(devices, Move { log: self.log, device: place, effect });
            }
            for (kind, ranges) in [(LossKind::Damage, uncounted), (LossKind::Reduced, settled)] {
                for ranges in ranges.chunks(RANGES_PER_RECORD) {
                    append(group, devices, (routes, self.arrival), (place, device, restart), (of, kind), ranges);
                    self.group = group.number;
                }
            }
            self.left.pop_front();
        }
        true
    }
}

/// What of the ranges is still in the set of that topic: with an earlier verdict, and without.
fn split(ledger: &Ledger, of: Origin, ranges: &RangeSet) -> (Vec<Range<u64>>, Vec<Range<u64>>) {
    let nothing = RangeSet::new();
    let share = ledger.shares.of(of.topic, &ledger.stored).filter(|share| !share.is_coarse);
    let (own, earlier) = match of.role {
        // What is known roughly cannot be told: it may lie in another topic, in good order.
        Role::Readings | Role::Messages => {
            (share.as_ref().map_or(&nothing, |share| &*share.ranges), [&ledger.dead, &ledger.lost])
        }
        Role::DeadLetter => (&ledger.dead, [&ledger.lost, &nothing]),
        Role::Loss | Role::Describe | Role::Internal => (&ledger.lost, [&nothing, &nothing]),
    };
    let gone: RangeSet = ranges.iter().flat_map(|range| own.overlaps(range)).collect();
    let uncounted: RangeSet =
        gone.iter().flat_map(|range| earlier[0].gaps(range)).flat_map(|range| earlier[1].gaps(range)).collect();
    let counted = gone.iter().flat_map(|range| uncounted.gaps(range)).collect();
    (counted, uncounted.iter().collect())
}

/// What of the ranges the losses said was left out, as far as that is known exactly.
fn settled(ledger: &Ledger, of: Origin, ranges: &RangeSet) -> Vec<Range<u64>> {
    let share = ledger.shares.of(of.topic, &ledger.stored).filter(|share| of.role == Role::Loss && !share.is_coarse);
    share.map_or(Vec::new(), |share| ranges.intersection(&share.ranges).iter().collect())
}

fn append(
    group: &mut Group,
    devices: &mut Devices,
    (routes, arrival): (&Routes, Timestamp),
    (place, (tenant, device), restart): (DeviceIndex, Device, Restart),
    (of, kind): (Origin, LossKind),
    ranges: &[Range<u64>],
) {
    let Some(key_hash) = devices.get(place).map(|device| device.key_hash) else { return };
    let log = routes.log(TopicId::LOSS, key_hash);
    let mut value = Vec::new();
    let (name, ranges_lost) = (kind.as_str(), ranges.to_vec());
    let topic = &*routes.definition(of.topic).name;
    Loss { tenant, agent: GATEWAY, device, restart, kind: name, ranges: ranges_lost, from: None, of: Some(topic) }
        .encode(&mut value);
    let appended = group.append(log, arrival.as_millis(), Some(device.as_bytes()), &value);
    if appended.is_err() {
        // Never so: the record is bounded above. What is not appended is found again.
        return;
    }
    for range in ranges {
        if let Some(ledger) = devices.ledger_mut(place, restart) {
            ledger.pending.insert(range.clone());
        }
        let effect = Effect::Damaged { restart, of, range: range.clone(), counted: Some(kind) };
        group.moves.push(Move { log, device: place, effect });
    }
}

//! The reconciliation: what was promised against what is in the log.
//!
//! Per restart, at rest, with nothing but the ledger's and the census's word:
//! 1. every sequence that anyone acknowledged is stored, dead-lettered or counted lost, and what the agent
//!    acknowledged is counted lost only if the device had evicted it before: a claim is no way out of a promise;
//! 2. no sequence has two readings, two dead letters or two covering losses;
//! 3. every reading is what the sensor handed out, and readings stand in the order of their sequences, but for those
//!    that had waited at the agent: these may be overtaken by what is fresh, and stay in their own order;
//! 4. a record heals exactly where the log holds an earlier verdict, and nothing heals what the rules of an agent left out;
//! 5. readings + dead letters + lost or left out - heals = next, and nothing is in flight. A restart whose ring was lost
//!    with its device has an unknown tail: its `next` is what anybody ever saw of it, and is reported apart.
//!
//! A device that the lab drives by itself sends what is valid and in order, so that none of it may be counted lost,
//! dead-lettered or overtaken. Messages that have no identity for the log may be there again if they were sent again.
//!
//! A damaged place in the log is a finding too: the sequences it covers are those that are promised and missing.
//!
//! A run that drops or damages on purpose says so ([`Ledger::allow`]); then loss of that kind is right, and the run
//! compares its extent by itself. Everything else is judged as ever.

mod report;

use std::collections::BTreeSet;
use std::fmt;

use weir_protocol::RangeSet;
use weir_protocol::batch::LossKind;

use crate::census::{Census, Stored};
use crate::ledger::{Facts, Ledger, RestartKey};

pub use report::{Report, Row};

/// Something that must not be, with the identities that show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whose; `None` for the log itself.
    pub key: Option<RestartKey>,
    /// What is wrong.
    pub what: &'static str,
    /// The sequences or the reading that show it.
    pub evidence: String,
    /// All sequences that it is about; none if it is about something else.
    pub sequences: RangeSet,
}

/// Ranges that are written out; more are counted.
const SHOWN: usize = 8;

/// Sequences in words: `3, 10..20 (11 in all)`.
#[derive(Debug)]
struct Sequences<'a>(&'a RangeSet);

impl fmt::Display for Sequences<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().take(SHOWN).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            match range.end - range.start {
                1 => write!(f, "{comma}{}", range.start)?,
                _ => write!(f, "{comma}{}..{}", range.start, range.end)?,
            }
        }
        let more = if self.0.range_count() > SHOWN { ", ..." } else { "" };
        write!(f, "{more} ({} in all)", self.0.len())
    }
}

/// Compares ledger and census. Call it at rest: nothing is sampled, sent or stored meanwhile.
pub fn reconcile(ledger: &Ledger, census: &Census) -> Report {
    let pages = ledger.pages();
    let allowed = ledger.allowed();
    let keys: BTreeSet<RestartKey> = pages.keys().chain(census.restarts.keys()).copied().collect();
    let (mut rows, mut findings) = (Vec::new(), Vec::new());
    for gap in census.gaps.iter().filter(|_| !allowed.contains(&LossKind::Damage)) {
        let evidence = format!("{}/{} offsets {}..{}", gap.topic, gap.partition, gap.offsets.start, gap.offsets.end);
        findings.push(Finding { key: None, what: "the log is damaged", evidence, sequences: RangeSet::new() });
    }
    for key in keys {
        let facts = pages.get(&key).cloned().unwrap_or_default();
        let stored = census.restarts.get(&key).cloned().unwrap_or_default();
        let restart = Restart { key, facts: &facts, stored: &stored, covered: stored.covered(), allowed: &allowed };
        restart.judge(&mut findings);
        rows.push(restart.row());
    }
    Report { rows, findings, over_kafka: None }
}

/// One restart in both books.
struct Restart<'a> {
    key: RestartKey,
    facts: &'a Facts,
    stored: &'a Stored,
    covered: RangeSet,
    allowed: &'a BTreeSet<LossKind>,
}

impl Restart<'_> {
    fn judge(&self, findings: &mut Vec<Finding>) {
        let mut find = |what, wrong: &RangeSet| {
            if !wrong.is_empty() {
                let (evidence, sequences) = (Sequences(wrong).to_string(), wrong.clone());
                findings.push(Finding { key: Some(self.key), what, evidence, sequences });
            }
        };
        let promised = self.facts.promised();
        find("acknowledged and lost", &minus(&promised, &self.covered));
        // What the lab itself knows of a device to its last reading.
        let is_known = self.facts.on_cable || self.facts.driven;
        if is_known {
            let kept = self.standing(&self.stored.lost);
            let broken = minus(&minus(&kept, &self.facts.evicted), &self.excused());
            find("acknowledged and counted lost although the device had not evicted it", &broken);
        }
        find("in the log twice", &self.stored.doubled);
        if self.facts.driven {
            find("in the log again although it was sent once", &minus(&self.stored.repeated, &self.facts.resent));
            find("dead-lettered although it is valid", &minus(&self.stored.dead, &self.stored.readings));
        }
        find("stored behind a later sequence of its lane", &self.stored.disordered);
        if is_known {
            let fresh = self.stored.overtaken.overlaps(self.facts.waited..u64::MAX).collect();
            find("overtaken although it had not waited", &fresh);
        }
        // Verdicts only ever rise from lost to dead-lettered to stored, so a record heals if and only if the
        // log holds a lower verdict on the same sequence.
        let mut lower = self.stored.lost.clone();
        find(
            "a dead letter over a loss that does not say that it heals",
            &self.unhealed(&self.stored.dead, &self.stored.healing_dead, &lower),
        );
        find("a dead letter that heals nothing", &minus(&self.stored.healing_dead, &lower));
        lower.union(&self.stored.dead);
        let unhealed = self.unhealed(&self.stored.readings, &self.stored.healing_readings, &lower);
        find("a reading over an earlier verdict that does not say that it heals", &unhealed);
        find("a reading that heals nothing", &minus(&self.stored.healing_readings, &lower));
        let left_out = self.stored.left_out();
        let beside: RangeSet =
            left_out.iter().flat_map(|r| self.stored.readings.overlaps(r).collect::<Vec<_>>()).collect();
        find("a reading beside the decision that left it out", &beside);
        find("sampled but nowhere: not stored, dead-lettered or counted lost", &self.missing());
        if is_known {
            let beyond: RangeSet = self.covered.iter().map(|r| r.start.max(self.facts.known_end())..r.end).collect();
            find("in the log but never sampled", &beyond);
        }
        if !self.stored.altered.is_empty() {
            let (evidence, sequences) = (self.stored.wrong.join("; "), self.stored.altered.clone());
            let what = "not what the sensor handed out";
            findings.push(Finding { key: Some(self.key), what, evidence, sequences });
        }
        let counted = self.stored.readings.len() + self.stored.dead.len() + self.stored.lost.len();
        if counted - self.stored.heals().min(counted) != self.covered.len() {
            let evidence =
                format!("{counted} records, {} heals, {} sequences", self.stored.heals(), self.covered.len());
            findings.push(Finding {
                key: Some(self.key),
                what: "readings + dead letters + lost - heals does not add up",
                evidence,
                sequences: RangeSet::new(),
            });
        }
    }

    /// What was lost in a way that the run allows, or left out by a rule, which is no loss.
    fn excused(&self) -> RangeSet {
        let kinds =
            self.allowed.iter().chain([&LossKind::Reduced]).filter_map(|kind| self.stored.kinds.get(kind.as_str()));
        kinds.flat_map(RangeSet::iter).collect()
    }

    /// Those of `lost` that are neither readings nor dead letters.
    fn standing(&self, lost: &RangeSet) -> RangeSet {
        minus(&minus(lost, &self.stored.readings), &self.stored.dead)
    }

    /// Those of `records` that stand on a `lower` verdict without saying so.
    fn unhealed(&self, records: &RangeSet, healing: &RangeSet, lower: &RangeSet) -> RangeSet {
        let over: RangeSet = lower.iter().flat_map(|r| records.overlaps(r).collect::<Vec<_>>()).collect();
        minus(&over, healing)
    }

    /// The end of what must be accounted for at rest.
    fn end(&self) -> u64 {
        if self.facts.on_cable && !self.facts.durable {
            // What a volatile ring still held when its device died is the unknown tail; below what the agent
            // accepted, everything counts. While the device lives it drains to its `next`.
            return match self.stored.tail_unknown_from {
                Some(_) => self.facts.agent_accepted,
                // Of what went before any of it was on the agent's disk nobody is left who knows.
                None if self.facts.gone && self.facts.agent_accepted == 0 => 0,
                None => self.facts.known_end(),
            };
        }
        self.facts.known_end()
    }

    fn missing(&self) -> RangeSet {
        self.covered.gaps(0..self.end()).collect()
    }

    fn row(&self) -> Row {
        Row {
            key: self.key,
            next: self.end().max(self.covered.end().unwrap_or(0)),
            stored: self.stored.readings.len(),
            dead: minus(&self.stored.dead, &self.stored.readings).len(),
            lost: self.standing(&minus(&self.stored.lost, self.stored.left_out())).len(),
            reduced: self.standing(self.stored.left_out()).len(),
            healed: self.stored.heals(),
            in_flight: self.missing().len(),
            tail_unknown: self.stored.tail_unknown_from.is_some(),
            kinds: self.stored.kinds.iter().map(|(kind, lost)| (kind.clone(), lost.len())).collect(),
        }
    }
}

/// The numbers of `set` that are not in `other`.
fn minus(set: &RangeSet, other: &RangeSet) -> RangeSet {
    set.iter().flat_map(|range| other.gaps(range).collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests;

//! What a world is judged by: the ledger of the lab against a census of the log, as after a run of real programs, and what
//! only a world without an outside can tell: that it comes to rest, and that consumers never see a log get shorter.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use anyhow::{Context, Result};
use weir_gateway::http::page;
use weir_gateway::topics::Topics;
use weir_lab::census::{Census, Page};
use weir_lab::ledger::{Ledger, RestartKey};
use weir_lab::reconcile::{Finding, Report, reconcile};
use weir_lab::truth::Truths;
use weir_protocol::batch::LossKind;
use weir_protocol::{DeviceId, Restart};

use crate::damage::{Spoilt, identity};

/// Records read at once.
const LIMIT: usize = 1000;

/// What consumers saw of the log, and what is wrong with it.
#[derive(Default)]
pub(crate) struct Judge {
    census: Census,
    /// What must not be, beside what the ledger says.
    wrong: Vec<String>,
    /// What flipped bits may have cost.
    spoilt: Spoilt,
    /// How many readings rings in RAM evicted, by their own word.
    evicted: BTreeMap<RestartKey, u64>,
}

/// What came of one world.
pub struct Judgement {
    /// The ledger's word.
    pub report: Report,
    /// What else is wrong.
    pub wrong: Vec<String>,
}

impl Judgement {
    /// Whether every promise was kept.
    pub fn holds(&self) -> bool {
        self.report.holds() && self.wrong.is_empty()
    }
}

impl Judge {
    /// Something is wrong.
    pub(crate) fn wrong(&mut self, what: String) {
        if self.wrong.len() < 20 {
            self.wrong.push(what);
        }
    }

    /// A bit flipped where these were.
    pub(crate) fn spoilt(&mut self, spoilt: Spoilt) {
        spoilt.into_iter().for_each(|(key, set)| self.spoilt.entry(key).or_default().union(&set));
    }

    /// How many readings the ring of a device evicted, where it is in RAM.
    pub(crate) fn evicted(&mut self, device: DeviceId, evicted: &BTreeMap<Restart, u64>) {
        self.evicted.extend(evicted.iter().map(|(restart, count)| ((device, *restart), *count)));
    }

    /// Whether any bit flipped.
    pub(crate) fn is_spoilt(&self) -> bool {
        !self.spoilt.is_empty()
    }

    /// The gateway started again: nothing that a consumer saw may be gone.
    pub(crate) fn restarted(&mut self, topics: &Topics) {
        for topic in topics.all() {
            for (number, partition) in topic.partitions().iter().enumerate() {
                let (seen, end) = (self.census.position(topic.name(), number as u32), partition.reader().end_offset());
                if end < seen {
                    self.wrong(format!(
                        "{}/{number}: consumers read up to {seen}, and now it ends at {end}",
                        topic.name()
                    ));
                }
            }
        }
    }

    /// Reads what came since the last time, as a consumer. Before anything may be removed.
    pub(crate) fn read(&mut self, topics: &Topics, handed_out: impl Fn(&DeviceId, Restart, u64) -> Option<i64>) {
        if let Err(error) = self.try_read(topics, &handed_out) {
            self.wrong(format!("the log cannot be read: {error:#}"));
        }
    }

    fn try_read(
        &mut self,
        topics: &Topics,
        handed_out: &impl Fn(&DeviceId, Restart, u64) -> Option<i64>,
    ) -> Result<()> {
        for topic in topics.all() {
            for (number, partition) in topic.partitions().iter().enumerate() {
                loop {
                    let from = self.census.position(topic.name(), number as u32);
                    if from >= partition.reader().end_offset() {
                        break;
                    }
                    let read = page::read(partition, number, from, LIMIT)?;
                    let page = Page::parse(&page::to_json(topic, partition, number, read)).context("not a page")?;
                    self.check_values(&page, handed_out);
                    self.census.take_page(topic.name(), number as u32, &page, &Truths::default())?;
                }
            }
        }
        Ok(())
    }

    /// Every reading is what its sensor handed out for that sequence.
    fn check_values(&mut self, page: &Page, handed_out: &impl Fn(&DeviceId, Restart, u64) -> Option<i64>) {
        for record in &page.records {
            let value = &record["value"];
            let (Some(got), Some(((device, restart), sequence))) = (value.get("value"), identity(value)) else {
                continue;
            };
            let expected = handed_out(&device, restart, sequence);
            if got.as_i64() != expected || got.is_null() {
                self.wrong(format!(
                    "{device} restart {} sequence {sequence} holds {got}; the sensor handed out {expected:?}",
                    restart.0
                ));
            }
        }
    }

    /// At rest; `may_drop`: the devices of agents whose queue dropped when it was full.
    pub(crate) fn conclude(mut self, ledger: &Ledger, may_drop: &BTreeSet<DeviceId>) -> Judgement {
        if !may_drop.is_empty() {
            ledger.allow(LossKind::Queue);
        }
        if !self.spoilt.is_empty() {
            [LossKind::Unaccounted, LossKind::Damage].into_iter().for_each(|kind| ledger.allow(kind));
        }
        let mut report = reconcile(ledger, &self.census);
        report.findings.retain(|finding| !self.is_told_of_rot(finding));
        for (key, facts) in ledger.pages() {
            let stored = self.census.restarts.get(&key).cloned().unwrap_or_default();
            let kind = |kind: LossKind| stored.kinds.get(kind.as_str()).cloned().unwrap_or_default();
            let (dropped, evicted) = (kind(LossKind::Queue), kind(LossKind::Ring));
            let (unaccounted, damaged) = (kind(LossKind::Unaccounted), kind(LossKind::Damage));
            if !dropped.is_empty() && !may_drop.contains(&key.0) {
                self.wrong(format!("{} restart {}: a queue that blocks dropped {dropped:?}", key.0, key.1.0));
            }
            let (gave_up, evicted_itself) = (facts.evicted.len(), self.evicted.get(&key).copied());
            if evicted_itself.is_some_and(|evicted| gave_up > evicted) {
                let what = format!("gave up {gave_up} unacknowledged readings, and evicted {evicted_itself:?}");
                self.wrong(format!("{} restart {}: {what}", key.0, key.1.0));
            }
            let spoilt = self.spoilt.get(&key).cloned().unwrap_or_default();
            let is_known =
                |from: &u64| stored.covered().gaps(*from..facts.agent_accepted).any(|gap| !spoilt.contains_all(gap));
            if let Some(from) = stored.tail_unknown_from.filter(is_known) {
                let what = format!("unknown from {from} on, and acknowledged up to {}", facts.agent_accepted);
                self.wrong(format!("{} restart {}: {what}", key.0, key.1.0));
            }
            for (what, lost, may_be) in [
                ("evicted", evicted, &facts.evicted),
                ("unaccounted", unaccounted, &spoilt),
                ("damaged", damaged, &spoilt),
            ] {
                let more: Vec<_> = lost.iter().flat_map(|lost| may_be.gaps(lost).collect::<Vec<_>>()).collect();
                if !more.is_empty() {
                    self.wrong(format!("{} restart {}: counted as {what}, and was not: {more:?}", key.0, key.1.0));
                }
            }
        }
        Judgement { report, wrong: self.wrong }
    }

    /// Whether it is about what rotted at an agent before its state covered it: of a restart of which the log says that its tail
    /// is unknown from there on, or all that the agent had of it, so that it is its unknown history.
    fn is_told_of_rot(&self, finding: &Finding) -> bool {
        let Some(key) = finding.key.filter(|_| !finding.sequences.is_empty()) else { return false };
        let (Some(stored), Some(spoilt)) = (self.census.restarts.get(&key), self.spoilt.get(&key)) else {
            return false;
        };
        let is_history = |range| {
            stored.kinds.get(LossKind::UnknownHistory.as_str()).is_some_and(|history| history.contains_all(range))
        };
        let is_tail = |start| stored.tail_unknown_from.is_some_and(|tail| start >= tail);
        let is_told = |range: Range<u64>| is_tail(range.start) || is_history(range);
        finding.sequences.iter().all(|range| spoilt.contains_all(range.clone()) && is_told(range))
    }
}

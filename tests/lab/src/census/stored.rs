//! What the log holds of one restart.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Context, Result};
use serde_json::Value as Json;
use weir_protocol::RangeSet;
use weir_protocol::batch::LossKind;

use super::lanes::{Lanes, Place};
use super::page::{number, span};
use crate::ledger::RestartKey;
use crate::load::values;
use crate::truth::{Truth, Truths};

/// The most faults of one kind that are listed; the others are counted with them.
const LISTED: usize = 20;

/// Verdicts of the log about the sequences of one restart.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// Sequences with a reading.
    pub readings: RangeSet,
    /// Sequences with a dead letter.
    pub dead: RangeSet,
    /// Sequences with a loss.
    pub lost: RangeSet,
    /// Readings that say that they heal an earlier verdict.
    pub healing_readings: RangeSet,
    /// Dead letters that say so.
    pub healing_dead: RangeSet,
    /// Sequences lost, by kind.
    pub kinds: BTreeMap<String, RangeSet>,
    /// The restart ended with an unknown tail from here on.
    pub tail_unknown_from: Option<u64>,
    /// Sequences with more than one reading, dead letter or loss.
    pub doubled: RangeSet,
    /// Sequences with more than one message of a client: the log has no identity to drop one that was sent again.
    pub repeated: RangeSet,
    /// Readings that are not what the sensor handed out.
    pub altered: RangeSet,
    /// The first of them, in words.
    pub wrong: Vec<String>,
    /// Sequences that stand behind a later one, as what waited may.
    pub overtaken: RangeSet,
    /// Sequences that stand behind a later one of their lane.
    pub disordered: RangeSet,
    lanes: Lanes,
}

impl Stored {
    /// Every sequence that has a verdict.
    pub fn covered(&self) -> RangeSet {
        let mut covered = self.readings.clone();
        covered.union(&self.dead);
        covered.union(&self.lost);
        covered
    }

    /// Sequences that the rules of an agent left out: they are among the lost ones, and a decision.
    pub fn left_out(&self) -> &RangeSet {
        self.kinds.get(LossKind::Reduced.as_str()).unwrap_or(const { &RangeSet::new() })
    }

    /// Records that replace an earlier verdict.
    pub fn heals(&self) -> u64 {
        self.healing_readings.len() + self.healing_dead.len()
    }

    pub(crate) fn reading(&mut self, key: &RestartKey, value: &Json, truths: &Truths) -> Result<()> {
        let sequence = number(&value["sequence"]).context("sequence")?;
        let heals = value["heals"].as_bool().context("no `heals`")?;
        let one = sequence..sequence + 1;
        if self.readings.contains(sequence) {
            self.doubled.insert(one.clone());
        }
        self.readings.insert(one.clone());
        if heals {
            self.healing_readings.insert(one);
        } else {
            match self.lanes.take(sequence) {
                Place::InOrder => {}
                Place::Overtaken => self.overtaken.insert(one),
                Place::Disordered => self.disordered.insert(one),
            }
        }
        self.compare(key, sequence, value, truths);
        Ok(())
    }

    /// A message of a driven device. One that came again stands where it stood first.
    pub(crate) fn message(&mut self, key: &RestartKey, said: &Json, truths: &Truths) -> Result<()> {
        let sequence = number(&said["sequence"]).context("sequence")?;
        let one = sequence..sequence + 1;
        if self.readings.contains(sequence) {
            self.repeated.insert(one);
        } else {
            self.readings.insert(one.clone());
            match self.lanes.take(sequence) {
                Place::InOrder => {}
                Place::Overtaken => self.overtaken.insert(one),
                Place::Disordered => self.disordered.insert(one),
            }
        }
        let value = serde_json::json!({ "channel": values::CHANNEL, "value": said["value"] });
        self.compare(key, sequence, &value, truths);
        Ok(())
    }

    fn compare(&mut self, key: &RestartKey, sequence: u64, value: &Json, truths: &Truths) {
        let Truth::Differs(expected) = truths.check(key, sequence, value) else { return };
        self.altered.insert(sequence..sequence + 1);
        if self.wrong.len() < LISTED {
            self.wrong.push(format!("sequence {sequence} holds {value}; the sensor handed out {expected}"));
        }
    }

    pub(crate) fn dead_letter(&mut self, span: Range<u64>, heals: bool) {
        self.doubled.extend_overlaps(&self.dead, &span);
        if heals {
            self.healing_dead.insert(span.clone());
        }
        self.dead.insert(span);
    }

    pub(crate) fn loss(&mut self, value: &Json) -> Result<()> {
        let kind = value["kind"].as_str().context("no `kind`")?;
        if kind == "tail-unknown" {
            self.tail_unknown_from = Some(number(&value["from"]).context("from")?);
            return Ok(());
        }
        for range in value["ranges"].as_array().context("no `ranges`")? {
            let range = span(range)?;
            self.doubled.extend_overlaps(&self.lost, &range);
            self.kinds.entry(kind.to_owned()).or_default().insert(range.clone());
            self.lost.insert(range);
        }
        Ok(())
    }
}

/// Adds the part of `range` that is in another set already.
trait ExtendOverlaps {
    fn extend_overlaps(&mut self, held: &RangeSet, range: &Range<u64>);
}

impl ExtendOverlaps for RangeSet {
    fn extend_overlaps(&mut self, held: &RangeSet, range: &Range<u64>) {
        for twice in held.overlaps(range.clone()) {
            self.insert(twice);
        }
    }
}

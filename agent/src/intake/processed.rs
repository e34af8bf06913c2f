//! Rules at work: plans for schemas, readings that wait for a description, windows that close.

use std::sync::Arc;
use std::time::Duration;

use rand::RngCore;
use weir_protocol::serial::Down;
use weir_protocol::serial::device_to_agent::Readings;
use weir_protocol::{DeviceId, Reading, Restart, SchemaHash, Sequence};

use super::stage::{Covered, Place};
use super::{Intake, LinkId};
use crate::counters::Event;
use crate::processing::{Plan, Planned, Verdict};
use crate::queue::{ClassId, Key, State};

/// How long readings wait for the description that rules need; then they pass as they are, so that nothing stalls.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most schemas that are waited for; readings of one more pass as they are.
const MAX_WAITING: usize = 256;
/// The most lines that are told when a description came; the others send again by themselves.
const MAX_TOLD: usize = 16;

/// Readings that wait for a description.
#[derive(Debug)]
pub(super) struct Waiting {
    since: Duration,
    lines: Vec<(LinkId, Key)>,
}

impl Covered {
    /// Notes the summaries among the records of a class, which begin at `start`, and that the gateway need not have what
    /// is in windows.
    pub(super) fn note_summaries(&self, class: ClassId, start: u64, state: &mut State) {
        if class == ClassId::DEFAULT {
            let shipped = &mut state.of_mut(class).shipped;
            self.held.iter().for_each(|at| shipped.insert(start + at..start + at + 1));
        }
        for (_, window, lane, issued) in self.summarised.iter().filter(|(of, ..)| *of == class) {
            state.held.summarised(window, *lane, *issued);
            state.restarts.accept((lane.0, issued.restart), Sequence(0), issued.next, false);
        }
    }
}

impl Intake {
    /// Says how long the agent runs; windows that are open for long enough close. When to come again, if at all.
    pub fn tick(&mut self, now: Duration) -> Option<Duration> {
        self.processor.set_time(now);
        let next = self.processor.windows.close_due(now);
        self.stage_summaries();
        next
    }

    /// Closes all windows: nothing more comes.
    pub fn close_windows(&mut self) {
        self.processor.windows.close_all();
        self.stage_summaries();
    }

    /// Stages the summaries of closed windows whose readings are durable, as far as there is room.
    fn stage_summaries(&mut self) {
        if self.processor.windows.is_empty() {
            return;
        }
        self.stage.set_time(self.clock.now().as_millis());
        for window in self.processor.windows.take_ready(self.durable) {
            let class = self.classes.get(&window.key.class).copied().unwrap_or(ClassId::DEFAULT);
            let random = Restart::from_agent(self.random.next_u64());
            let state = self.state.lock();
            let summarised = self.processor.summarise(window, &state.descriptions, random);
            drop(state);
            if self.stage.is_full() || !self.has_room(class, summarised.encoded.len()) {
                self.processor.windows.put_back(summarised.window);
                continue;
            }
            if summarised.is_blind {
                let device = summarised.lane.0;
                self.counters.warn(Event::SummaryLost, || {
                    format!(
                        "{device}: the channels of a window are not known any more; it is counted, without a summary"
                    )
                });
            }
            self.counters.add(Event::WindowsSummarised, 1);
            self.stage.summary(class, &summarised);
            self.processor.staged(&summarised);
        }
    }

    /// The plan for the readings of a frame; `Err` if they wait for the description of their channels.
    pub(super) fn plan(&mut self, link: LinkId, key: Key, frame: &Readings<'_>) -> Result<Option<Arc<Plan>>, ()> {
        let at = (key.0, frame.schema);
        let (planned, problems) = self.processor.plan(at.0, at.1, &mut self.state.lock().descriptions);
        for problem in problems {
            self.counters.warn(Event::RuleNotApplied, || problem);
        }
        match planned {
            Planned::Nothing => Ok(None),
            Planned::Ready(plan) => Ok(Some(plan)),
            Planned::Unknown if self.waits(link, key, frame.schema) => Err(()),
            Planned::Unknown => {
                self.counters.warn(Event::RuleNotApplied, || {
                    format!("{}: its channels are not described; readings pass as they are", key.0)
                });
                Ok(None)
            }
        }
    }

    fn waits(&mut self, link: LinkId, key: Key, schema: SchemaHash) -> bool {
        let now = self.processor.now();
        let at = (key.0, schema);
        if self.waiting.len() >= MAX_WAITING && !self.waiting.contains_key(&at) {
            return false;
        }
        let waiting = self.waiting.entry(at).or_insert(Waiting { since: now, lines: Vec::new() });
        if now.saturating_sub(waiting.since) >= PATIENCE {
            return false;
        }
        if waiting.lines.len() < MAX_TOLD && !waiting.lines.contains(&(link, key)) {
            waiting.lines.push((link, key));
        }
        true
    }

    /// A description came: those that waited for it go on.
    pub(super) fn described(&mut self, at: (DeviceId, SchemaHash)) {
        let Some(waiting) = self.waiting.remove(&at) else { return };
        for (link, key) in waiting.lines {
            let from = self.position(&key).map_or(Sequence(0), |position| position.accepted);
            self.reply(link, Down::Resend { restart: key.1, from });
        }
    }

    /// What becomes of a reading.
    pub(super) fn decide<'v>(
        &self,
        plan: Option<&Plan>,
        key: Key,
        sequence: Sequence,
        reading: &Reading<'v>,
    ) -> Verdict<'v> {
        match plan {
            Some(plan) => self.processor.decide(plan, key, sequence, reading),
            None => Verdict::Pass { value: reading.value, class: ClassId::DEFAULT },
        }
    }

    /// Stages a reading as it was decided.
    pub(super) fn stage_verdict(
        &mut self,
        (plan, raw): (Option<&Plan>, SchemaHash),
        key: Key,
        sequence: Sequence,
        (reading, bytes): (&Reading<'_>, usize),
        verdict: &Verdict<'_>,
    ) {
        if self.processor.is_tapped() {
            let state = self.state.lock();
            let known = &state.descriptions;
            self.processor.show(plan, (key, raw), sequence, reading, (verdict, known));
        }
        let schema = plan.map_or(raw, |plan| plan.schema);
        let (value, place) = match verdict {
            Verdict::Pass { value, class } => (*value, Place::Class(*class)),
            Verdict::Refuse { value, class, expected } => {
                self.counters.add(Event::ReadingsRefused, 1);
                (*value, Place::Aside(*class, Arc::clone(expected)))
            }
            Verdict::Drop | Verdict::Suppress => {
                self.counters.add(Event::ReadingsReduced, 1);
                return self.stage.reduce(key, sequence);
            }
            Verdict::Hold { value, group } => {
                self.counters.add(Event::ReadingsReduced, 1);
                (*value, Place::Window(group.key()))
            }
        };
        let channel = plan.map_or(reading.channel, |plan| plan.id_of(reading.channel));
        self.stage.reading(&place, key, schema, sequence, &Reading { channel, value, ..*reading }, bytes);
        if let Some(plan) = plan {
            self.processor.accept(plan, key, sequence, reading, (verdict, self.commit));
        }
    }
}

/// The class that a reading needs room in.
pub(super) fn class_of(verdict: &Verdict<'_>) -> ClassId {
    match verdict {
        Verdict::Pass { class, .. } | Verdict::Refuse { class, .. } => *class,
        Verdict::Drop | Verdict::Suppress | Verdict::Hold { .. } => ClassId::DEFAULT,
    }
}

//! Processing: what the rules of the settings make of readings before they are queued, for every device alike.
//!
//! Guarantees:
//! - Every reading that a device was acknowledged for is sent, set aside with a reason, or counted as reduced; what is
//!   in an open window is durable first. The steps of a rule always come in one order: drop, scale, offset and unit,
//!   range, deadband, window, name, class.
//! - What passes keeps its identity, and its channels are described as they are from then on.
//! - A summary names exactly the sequences that it stands for, and arrives with that or not at all.
//! - Plans, windows and what was sent last are bounded; what finds no room passes as it is.
//!
//! [`Processor`] decides and remembers, free of clock and disk; the intake stages what it decides, and calls it only once
//! for each sequence that is accepted. [`Held`] is what is durable of it.

mod accumulator;
pub(crate) mod held;
mod ids;
mod plan;
mod rules;
pub mod settings;
mod tap;
pub mod units;
mod windows;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use weir_protocol::batch::describe;
use weir_protocol::batch::{Held as HeldRange, RunBuilder, Section, Summary};
use weir_protocol::items::{self, Items};
use weir_protocol::name::Name;
use weir_protocol::{ChannelId, Clock, DeviceId, Reading, Restart, SchemaHash, Sequence, Timestamp, Value};

use crate::queue::{ClassId, Descriptions};
use accumulator::{Kept, number};
use held::{AllIssued, HeldKey, issue};
use plan::{Group, Steps, Width};
use windows::Windows;

pub use held::{Held, Issued};
pub(crate) use ids::ABOVE_RULES;
pub use rules::Rules;
pub use settings::{ProcessConfig, Take};
pub use tap::{Tap, Tapped, Then};
pub use windows::{MAX_CHANNELS, MAX_WINDOWS, Window, WindowId, WindowKey};

pub(crate) use plan::Plan;

/// The most plans that are kept; one more, and all are made anew.
const MAX_PLANS: usize = 1024;
/// The most channels of which the value that was sent last is known.
const MAX_SENT: usize = 16_384;

/// What was sent last of a channel.
#[derive(Debug)]
struct Sent {
    value: Kept,
    time: Timestamp,
    clock: Clock,
}

/// Decides what becomes of readings.
#[derive(Debug, Default)]
pub(crate) struct Processor {
    rules: Rules,
    plans: HashMap<(DeviceId, SchemaHash), Option<Arc<Plan>>>,
    sent: HashMap<(DeviceId, ChannelId), Sent>,
    pub(crate) windows: Windows,
    /// Ahead of the commit.
    issued: AllIssued,
    tap: Tap,
    now: Duration,
}

/// The plan for a schema of a device.
pub(crate) enum Planned {
    /// No rule names any of its channels.
    Nothing,
    /// Nobody knows the channels.
    Unknown,
    Ready(Arc<Plan>),
}

/// What becomes of a reading.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict<'v> {
    Pass { value: Value<'v>, class: ClassId },
    Refuse { value: Value<'v>, class: ClassId, expected: Arc<str> },
    Drop,
    Suppress,
    Hold { value: Value<'v>, group: Arc<Group> },
}

/// A summary that is ready to be staged, but for its restart.
pub(crate) struct Summarised {
    pub(crate) window: Window,
    pub(crate) lane: (DeviceId, Name),
    pub(crate) issued: Issued,
    /// The encoded section.
    pub(crate) encoded: Vec<u8>,
    /// Whether the channels of the summary were not known any more, so that it has no reading.
    pub(crate) is_blind: bool,
}

impl Processor {
    pub(crate) fn new(rules: Rules, tap: Tap) -> Self {
        Self { rules, tap, ..Self::default() }
    }

    /// Goes on from what is durable: at the start, and whenever something staged is void.
    pub(crate) fn go_back_to(&mut self, durable: &Held) {
        self.windows = Windows::of(durable.windows(), self.now);
        self.issued = durable.issued().clone();
        // What was sent last may not have been.
        self.sent.clear();
    }

    /// The time since the start of the agent.
    pub(crate) fn set_time(&mut self, now: Duration) {
        self.now = now;
    }

    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    /// Whether the agent issued this restart for summaries, durable or not.
    pub(crate) fn is_own(&self, device: DeviceId, restart: Restart) -> bool {
        self.issued.iter().any(|((of, _), issued)| *of == device && issued.restart == restart)
    }

    /// The plan for a schema; what it describes is added to `known`. `Err` are rules that cannot be applied.
    pub(crate) fn plan(
        &mut self,
        device: DeviceId,
        schema: SchemaHash,
        known: &mut Descriptions,
    ) -> (Planned, Vec<String>) {
        if let Some(plan) = self.plans.get(&(device, schema)) {
            return (plan.clone().map_or(Planned::Nothing, Planned::Ready), Vec::new());
        }
        let concerned = self.rules.concern(device);
        let description = known.get(device, schema).filter(|_| concerned).map(<[u8]>::to_vec);
        let (plan, problems) = match description.as_deref().map(describe::decode) {
            Some(Ok(description)) => match Plan::new(&self.rules, &description) {
                Some(mut plan) => match plan.describe(device, known) {
                    Ok(()) => {
                        let problems = std::mem::take(&mut plan.problems);
                        (Some(Arc::new(plan)), problems)
                    }
                    Err(why) => (None, vec![format!("{device}: {why}; its channels stay as they are")]),
                },
                None => (None, Vec::new()),
            },
            _ if concerned => return (Planned::Unknown, Vec::new()),
            _ => (None, Vec::new()),
        };
        if self.plans.len() >= MAX_PLANS {
            self.plans.clear();
        }
        self.plans.insert((device, schema), plan.clone());
        (plan.map_or(Planned::Nothing, Planned::Ready), problems)
    }

    /// What becomes of a reading. Changes nothing: see [`Self::accept`].
    pub(crate) fn decide<'v>(
        &self,
        plan: &Plan,
        (device, restart): (DeviceId, Restart),
        sequence: Sequence,
        reading: &Reading<'v>,
    ) -> Verdict<'v> {
        let Some(steps) = plan.channels.get(&reading.channel).filter(|steps| steps.kind == reading.value.kind()) else {
            // The gateway refuses it, and keeps it as it is.
            return Verdict::Pass { value: reading.value, class: ClassId::DEFAULT };
        };
        if steps.drop {
            return Verdict::Drop;
        }
        let (value, class) = (steps.convert(reading.value), steps.class);
        if let Some(bounds) = steps.range.as_ref().filter(|bounds| !bounds.hold(value)) {
            return Verdict::Refuse { value, class, expected: Arc::clone(&bounds.text) };
        }
        if self.is_quiet(steps, device, reading, value) {
            return Verdict::Suppress;
        }
        let is_finite = number(value).is_none_or(f64::is_finite);
        match &steps.window {
            Some(group) if is_finite => {
                let key = group.key().of(device, restart, plan.schema);
                let folded = Reading { channel: steps.id, ..*reading };
                match self.windows.has_room(&key, &folded, sequence.0) {
                    true => Verdict::Hold { value, group: Arc::clone(group) },
                    false => Verdict::Pass { value, class },
                }
            }
            _ => Verdict::Pass { value, class },
        }
    }

    /// Whether it differs too little from what was sent last.
    fn is_quiet(&self, steps: &Steps, device: DeviceId, reading: &Reading<'_>, value: Value<'_>) -> bool {
        let Some((width, heartbeat)) = steps.deadband else { return false };
        let Some(sent) = self.sent.get(&(device, reading.channel)) else { return false };
        // Between two clocks there is no distance, and time that goes back is another time.
        let age = (sent.clock == reading.clock).then(|| reading.time.since(sent.time)).filter(|age| *age >= 0);
        let is_old =
            |heartbeat: Duration| age.is_none_or(|age| u128::from(age.unsigned_abs()) >= heartbeat.as_micros());
        if heartbeat.is_some_and(is_old) {
            return false;
        }
        match (number(sent.value.value()), number(value)) {
            (Some(before), Some(now)) => {
                let least = match width {
                    Width::Absolute(width) => width,
                    Width::Percent(percent) => percent / 100.0 * before.abs(),
                };
                (now - before).abs() <= least
            }
            _ => sent.value.value() == value,
        }
    }

    /// Remembers that a reading was staged as it was decided; `commit` is the commit that makes it durable.
    pub(crate) fn accept(
        &mut self,
        plan: &Plan,
        (device, restart): (DeviceId, Restart),
        sequence: Sequence,
        reading: &Reading<'_>,
        (verdict, commit): (&Verdict<'_>, u64),
    ) {
        let value = match verdict {
            Verdict::Pass { value, .. } | Verdict::Hold { value, .. } => *value,
            Verdict::Refuse { .. } | Verdict::Drop | Verdict::Suppress => return,
        };
        let at = (device, reading.channel);
        let has_deadband = plan.channels.get(&reading.channel).is_some_and(|steps| steps.deadband.is_some());
        if has_deadband && (self.sent.len() < MAX_SENT || self.sent.contains_key(&at)) {
            self.sent.insert(at, Sent { value: Kept::of(value), time: reading.time, clock: reading.clock });
        }
        if let Verdict::Hold { value, group } = verdict {
            let key = group.key().of(device, restart, plan.schema);
            let channel = plan.id_of(reading.channel);
            let folded = Reading { channel, value: *value, ..*reading };
            let folded = self.windows.fold(key, sequence.0, &folded, (self.now, commit));
            debug_assert!(folded.is_ok(), "it was decided by the room there is");
        }
    }

    /// The summary of a closed window; `restart` is for a device that has none of the agent's own yet.
    pub(crate) fn summarise(&self, window: Window, known: &Descriptions, restart: Restart) -> Summarised {
        let key = window.key;
        let lane = (key.device, key.class);
        let Issued { restart, next } = self.issued.get(&lane).copied().unwrap_or(Issued { restart, next: Sequence(0) });
        let outputs = plan::outputs(known, key.device, key.schema, key.summary);
        let mut run = RunBuilder::new(key.device, restart, key.summary, next);
        for (channel, take, as_channel) in outputs.iter().flatten() {
            let Some(accumulator) = window.channels.get(channel) else { continue };
            let (time, clock) = accumulator.stamp();
            run.push(&Reading { channel: *as_channel, time, clock, value: accumulator.take(*take) });
        }
        let mut ranges = Vec::new();
        for range in window.ranges() {
            items::push(&mut ranges, &HeldRange { start: Sequence(range.start), end: Sequence(range.end) });
        }
        let mut encoded = Vec::new();
        let section = Summary { of: key.restart, ranges: Items::new(&ranges), run: run.run() };
        items::push(&mut encoded, &Section::Summary(section));
        let issued = Issued { restart, next: Sequence(next.0 + u64::from(run.count())) };
        Summarised { lane, issued, encoded, is_blind: outputs.is_none(), window }
    }

    /// A summary is staged.
    pub(crate) fn staged(&mut self, summarised: &Summarised) {
        issue(&mut self.issued, summarised.lane, summarised.issued);
        self.windows.release(&summarised.window);
    }

    /// Shows a reading to whoever listens.
    pub(crate) fn show(
        &self,
        plan: Option<&Plan>,
        (key, schema): ((DeviceId, Restart), SchemaHash),
        sequence: Sequence,
        reading: &Reading<'_>,
        (verdict, known): (&Verdict<'_>, &Descriptions),
    ) {
        let steps = plan.and_then(|plan| plan.channels.get(&reading.channel));
        let description = known.get(key.0, schema).and_then(|payload| describe::decode(payload).ok());
        let channels = description.iter().flat_map(|description| description.channels.iter().flatten());
        let name =
            channels.filter(|channel| channel.id == reading.channel).map(|channel| (channel.name, channel.unit)).next();
        let then = match verdict {
            Verdict::Pass { value, class } => {
                let after = steps.map(|steps| (&*steps.name, &*steps.unit)).or(name).unwrap_or_default();
                let (channel, unit) = (after.0.to_owned(), after.1.to_owned());
                Then::Passed { channel, unit, value: tap::json(*value), class: class.0 }
            }
            Verdict::Refuse { value, expected, .. } => {
                Then::Refused { value: tap::json(*value), expected: expected.to_string() }
            }
            Verdict::Drop => Then::Dropped,
            Verdict::Suppress => Then::Suppressed,
            Verdict::Hold { value, .. } => Then::Held { value: tap::json(*value) },
        };
        self.tap.show(Tapped::new(key, sequence, reading, name, (steps.and_then(|steps| steps.rule), then)));
    }

    /// Whether somebody looks on.
    pub(crate) fn is_tapped(&self) -> bool {
        self.tap.is_open()
    }
}

impl Group {
    /// What its held records say.
    pub(crate) fn key(&self) -> HeldKey {
        let every_us = i64::try_from(self.every.as_micros()).unwrap_or(i64::MAX);
        HeldKey { summary: self.summary, class: self.class, every_us }
    }
}

impl Steps {
    fn convert<'v>(&self, value: Value<'v>) -> Value<'v> {
        let Some((factor, shift)) = self.line else { return value };
        match value {
            Value::Float(value) => Value::Float((f64::from(value) * factor + shift) as f32),
            Value::Double(value) => Value::Double(value * factor + shift),
            Value::Integer(value) => Value::Double(value as f64 * factor + shift),
            Value::Boolean(_) | Value::Text(_) => value,
        }
    }
}

//! The rules as they apply to one schema of one device: what becomes of each channel, and how the gateway is told what the
//! channels are from then on.
//!
//! A channel to which its rule cannot be applied stays as it is, and that is said; a rule is never applied in part.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use weir_protocol::batch::describe::Description;
use weir_protocol::batch::{MAX_DETAIL, describe};
use weir_protocol::channel::MAX_CHANNELS;
use weir_protocol::name::Name;
use weir_protocol::{Channel, ChannelId, DeviceId, Items, SchemaHash, Value, ValueKind, items};

use super::ids::Ids;
use super::rules::{Rule, Rules};
use super::settings::Take;
use super::units;
use crate::queue::{ClassId, Descriptions};

/// What becomes of the readings of one schema of one device.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The schema of what comes out.
    pub schema: SchemaHash,
    /// Of each channel that was described.
    pub channels: BTreeMap<ChannelId, Steps>,
    /// What came out, described; empty if that is as it came in. Then the channels of summaries.
    described: Vec<(SchemaHash, Vec<u8>)>,
    /// Rules that cannot be applied, for people.
    pub problems: Vec<String>,
}

/// What becomes of the readings of one channel, in this order.
#[derive(Clone, Debug)]
pub(crate) struct Steps {
    /// The channel that it comes out as.
    pub id: ChannelId,
    /// The rule, counted from 1; none if no rule names the channel.
    pub rule: Option<u16>,
    /// The kind of the values that come in; others pass as they are.
    pub kind: ValueKind,
    pub drop: bool,
    /// Multiply, then add.
    pub line: Option<(f64, f64)>,
    pub range: Option<Bounds>,
    pub deadband: Option<(Width, Option<Duration>)>,
    pub window: Option<Arc<Group>>,
    pub class: ClassId,
    /// What it is called, and its unit, in the end.
    pub name: String,
    pub unit: String,
}

/// What a value may be.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    pub low: f64,
    pub high: f64,
    /// The same for people.
    pub text: Arc<str>,
}

/// How much a value must differ from the one that was sent last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Width {
    Absolute(f64),
    Percent(f64),
}

/// Channels whose windows close together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// The channels of their summaries.
    pub summary: SchemaHash,
    pub every: Duration,
    /// Where the summaries go.
    pub class: Name,
}

impl Plan {
    /// The plan for channels that a device described; none if no rule names one of them.
    pub(crate) fn new(rules: &Rules, description: &Description<'_>) -> Option<Self> {
        let device = description.device;
        let channels: Vec<Channel<'_>> = description.channels.iter().filter_map(Result::ok).collect();
        let named: Vec<_> = channels.iter().map(|channel| rules.find(device, channel.name)).collect();
        if named.iter().all(Option::is_none) {
            return None;
        }
        let mut problems = Vec::new();
        let mut taken: BTreeSet<&str> = channels.iter().map(|channel| channel.name).collect();
        let mut steps = Vec::with_capacity(channels.len());
        for (channel, rule) in channels.iter().zip(named) {
            let made = rule.map_or(Ok(Made::unchanged(channel)), |rule| Made::by(rule, channel, &mut taken));
            steps.push(made.unwrap_or_else(|why| {
                problems.push(format!("{device} {}: {why}; the channel stays as it is", channel.name));
                Made::unchanged(channel)
            }));
        }
        let mut ids = Ids::beside(channels.iter().map(|channel| channel.id));
        for (channel, made) in channels.iter().zip(&mut steps) {
            if (channel.unit, channel.kind) != (&*made.steps.unit, made.kind) {
                made.steps.id = ids.of(&made.steps.name, &made.steps.unit, made.kind);
            }
        }
        let mut encoded = Vec::new();
        steps.iter().for_each(|made| items::push(&mut encoded, &made.channel()));
        let schema = SchemaHash::of(Items::new(&encoded));
        let mut described = Vec::new();
        if schema != description.schema {
            described.push((schema, encoded));
        }
        group(&mut steps, &mut described, &mut ids);
        let channels = steps.into_iter().map(|made| (made.from, made.steps)).collect();
        Some(Self { schema, channels, described, problems })
    }

    /// The channel that one comes out as.
    pub(crate) fn id_of(&self, channel: ChannelId) -> ChannelId {
        self.channels.get(&channel).map_or(channel, |steps| steps.id)
    }

    /// Keeps what the gateway must know. `Err` says what is wrong with it.
    pub(crate) fn describe(&self, device: DeviceId, known: &mut Descriptions) -> Result<(), String> {
        for (schema, encoded) in &self.described {
            let channels = Items::new(encoded);
            known.insert(&Description { device, schema: *schema, channels }).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

/// One channel as it comes out.
struct Made {
    /// The channel that comes in.
    from: ChannelId,
    kind: ValueKind,
    resolution: f32,
    take: Vec<Take>,
    every: Option<(Duration, Name)>,
    steps: Steps,
}

impl Made {
    fn unchanged(channel: &Channel<'_>) -> Self {
        let steps = Steps {
            id: channel.id,
            rule: None,
            kind: channel.kind,
            drop: false,
            line: None,
            range: None,
            deadband: None,
            window: None,
            class: ClassId::DEFAULT,
            name: channel.name.to_owned(),
            unit: channel.unit.to_owned(),
        };
        let (from, kind, resolution) = (channel.id, channel.kind, channel.resolution);
        Self { from, kind, resolution, take: Vec::new(), every: None, steps }
    }

    fn by<'c>(rule: &'c Rule, channel: &Channel<'c>, taken: &mut BTreeSet<&'c str>) -> Result<Self, String> {
        let is_number = matches!(channel.kind, ValueKind::Float | ValueKind::Double | ValueKind::Integer);
        let mut made = Self::unchanged(channel);
        made.steps.rule = Some(rule.number);
        made.steps.class = rule.class.0;
        made.steps.drop = rule.drop;
        if is_number {
            made.convert(rule, channel)?;
            made.steps.range = rule.range.map(|(low, high)| Bounds::new(low, high, &made.steps.unit));
        }
        made.steps.deadband = rule.deadband.map(|width| (width, rule.heartbeat));
        if let Some((every, take)) = &rule.window {
            // Of what is no number there is no smallest and no mean.
            let makes_sense = |take: &&Take| is_number || matches!(take, Take::Last | Take::Count);
            made.take = take.iter().filter(makes_sense).copied().collect();
            if made.take.is_empty() {
                return Err(format!("rule {} takes of its windows only what numbers have", rule.number));
            }
            made.every = Some((*every, rule.class.1));
        }
        if let Some(name) = &rule.rename {
            if name != channel.name && !taken.insert(name) {
                return Err(format!("rule {} would give it the name {name}, which another channel has", rule.number));
            }
            made.steps.name.clone_from(name);
        }
        if made.steps.name.len() > super::settings::MAX_RENAME && !made.take.is_empty() {
            return Err(format!("rule {} would give its summaries names that are too long", rule.number));
        }
        Ok(made)
    }

    /// Scale, offset and unit.
    fn convert(&mut self, rule: &Rule, channel: &Channel<'_>) -> Result<(), String> {
        let from = rule.source_unit.as_deref().unwrap_or(channel.unit);
        let to = rule.unit.as_deref().unwrap_or(from);
        let conversion = units::conversion(from, to).map_err(|why| format!("rule {}: {why}", rule.number))?;
        let (scale, offset) = (rule.scale.unwrap_or(1.0), rule.offset.unwrap_or(0.0));
        let (factor, shift) = (scale * conversion.factor, offset * conversion.factor + conversion.shift);
        to.clone_into(&mut self.steps.unit);
        if (factor, shift) == (1.0, 0.0) {
            return Ok(());
        }
        self.steps.line = Some((factor, shift));
        self.resolution = (f64::from(channel.resolution) * factor.abs()) as f32;
        if channel.kind == ValueKind::Integer {
            self.kind = ValueKind::Double;
        }
        Ok(())
    }

    fn channel(&self) -> Channel<'_> {
        let Self { kind, resolution, steps, .. } = self;
        Channel { id: steps.id, name: &steps.name, unit: &steps.unit, kind: *kind, resolution: *resolution }
    }
}

impl Bounds {
    fn new(low: f64, high: f64, unit: &str) -> Self {
        let mut text = format!("{low} to {high} {unit}");
        while text.len() > MAX_DETAIL {
            text.pop();
        }
        Self { low, high, text: text.into() }
    }

    /// Whether a value lies within. What is no number always does.
    pub(crate) fn hold(&self, value: Value<'_>) -> bool {
        match value {
            // A bound is as precise as what is held against it, or the bound itself would lie outside.
            Value::Float(value) => (self.low as f32..=self.high as f32).contains(&value),
            Value::Double(value) => (self.low..=self.high).contains(&value),
            Value::Integer(value) => (self.low..=self.high).contains(&(value as f64)),
            Value::Boolean(_) | Value::Text(_) => true,
        }
    }
}

/// Puts channels whose windows are equally long, and go into one class, together; as many as one description can name.
fn group(steps: &mut [Made], described: &mut Vec<(SchemaHash, Vec<u8>)>, ids: &mut Ids) {
    let mut groups: BTreeMap<(Duration, Name), Vec<Vec<usize>>> = BTreeMap::new();
    for (at, made) in steps.iter().enumerate() {
        let Some(key) = made.every else { continue };
        let parts = groups.entry(key).or_default();
        let count = |part: &Vec<usize>| part.iter().map(|at| steps[*at].take.len()).sum::<usize>();
        match parts.last_mut().filter(|part| count(part) + made.take.len() <= MAX_CHANNELS) {
            Some(part) => part.push(at),
            None => parts.push(vec![at]),
        }
    }
    for ((every, class), part) in
        groups.into_iter().flat_map(|(key, parts)| parts.into_iter().map(move |part| (key, part)))
    {
        let mut encoded = Vec::new();
        let takes = part.iter().flat_map(|at| steps[*at].take.iter().map(move |take| (*at, *take)));
        for (at, take) in takes {
            let made = &steps[at];
            let name = format!("{}.{take}", made.steps.name);
            let (unit, kind, resolution) = match take {
                Take::Count => ("1", ValueKind::Integer, 1.0),
                Take::Mean if made.kind != ValueKind::Float => (&*made.steps.unit, ValueKind::Double, made.resolution),
                _ => (&*made.steps.unit, made.kind, made.resolution),
            };
            let id = ids.of(&name, unit, kind);
            items::push(&mut encoded, &Channel { id, name: &name, unit, kind, resolution });
        }
        let summary = SchemaHash::of(Items::new(&encoded));
        described.push((summary, encoded));
        let group = Arc::new(Group { summary, every, class });
        part.iter().for_each(|at| steps[*at].steps.window = Some(Arc::clone(&group)));
    }
}

/// What of a channel becomes which channel of a summary.
pub(crate) type Output = (ChannelId, Take, ChannelId);

/// What `summary` takes of the channels of `schema`, by the names: `<channel>.<take>`. None if one of them is not known.
pub(crate) fn outputs(
    known: &Descriptions,
    device: DeviceId,
    schema: SchemaHash,
    summary: SchemaHash,
) -> Option<Vec<Output>> {
    let decoded = |schema| describe::decode(known.get(device, schema)?).ok();
    let (from, to) = (decoded(schema)?, decoded(summary)?);
    let ids: BTreeMap<&str, ChannelId> =
        from.channels.iter().filter_map(Result::ok).map(|channel| (channel.name, channel.id)).collect();
    let output = |channel: Channel<'_>| {
        let (name, take) = channel.name.rsplit_once('.')?;
        let take = Take::ALL.into_iter().find(|known| known.as_str() == take)?;
        Some((*ids.get(name)?, take, channel.id))
    };
    to.channels.iter().filter_map(Result::ok).map(output).collect()
}

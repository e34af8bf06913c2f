//! The channels of one schema, as the hot path wants them.

use std::sync::Arc;

use weir_protocol::{Channel, ChannelId, DeviceId, Tenant, Value, ValueKind, reading::MAX_TEXT};

use super::Reason;
use crate::record::reading::ChannelFields;
use crate::schemas::evolution::{Broken, Register, Rule};
use crate::topics::TopicId;
use crate::topics::rules::Rules;

/// The channels of one schema of one device.
#[derive(Clone, Debug)]
pub(crate) struct Channels {
    /// Ascending by id.
    channels: Vec<KnownChannel>,
}

/// One channel, with what is decided about it once for all its readings.
#[derive(Clone, Debug)]
pub(crate) struct KnownChannel {
    id: ChannelId,
    kind: ValueKind,
    resolution: f32,
    /// The fields of its records that the description knows.
    pub(crate) fields: ChannelFields,
    /// Where its readings go.
    pub(crate) topic: TopicId,
    /// What the description breaks of what the channel was: its readings are dead letters.
    broken: Option<Rule>,
}

impl Channels {
    pub(crate) fn new(channels: &[Channel<'_>]) -> Self {
        let known = |channel: &Channel<'_>| KnownChannel {
            id: channel.id,
            kind: channel.kind,
            resolution: channel.resolution,
            fields: ChannelFields::new(channel.name, channel.unit),
            topic: TopicId::READINGS,
            broken: None,
        };
        let mut channels: Vec<_> = channels.iter().map(known).collect();
        channels.sort_unstable_by_key(|channel| channel.id);
        Self { channels }
    }

    /// The same, as the rules route the channels of this device.
    pub(crate) fn routed(self: &Arc<Self>, rules: &Rules, device: (Tenant, DeviceId)) -> Arc<Self> {
        if rules.is_empty() {
            return Arc::clone(self);
        }
        let mut routed = Self::clone(self);
        for channel in &mut routed.channels {
            let (name, unit) = channel.fields.names();
            channel.topic = rules.topic(device, name, unit);
        }
        Arc::new(routed)
    }

    /// The same as it is judged behind what `register` has of the device, which takes in what is fine; and what is not.
    pub(crate) fn judged<'a>(self: &'a Arc<Self>, register: &mut Register<'a>) -> (Arc<Self>, Vec<Broken<'a>>) {
        let broken = register.describe(self.iter());
        if broken.is_empty() {
            return (Arc::clone(self), broken);
        }
        let mut judged = Self::clone(self);
        for channel in &mut judged.channels {
            channel.broken = broken.iter().find(|broken| broken.id == channel.id).map(|broken| broken.rule);
        }
        (Arc::new(judged), broken)
    }

    /// Takes into `register` what was judged to be fine.
    pub(crate) fn register<'a>(&'a self, register: &mut Register<'a>) {
        let fine = self.channels.iter().filter(|channel| channel.broken.is_none());
        fine.for_each(|channel| register.take(&channel.described()));
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.channels.len()
    }

    /// The channels as they were described, ascending by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Channel<'_>> {
        self.channels.iter().map(KnownChannel::described)
    }

    /// Validates a value of a channel; the channel.
    ///
    /// A float that is not a finite number is refused: JSON cannot carry it and no average survives it. A
    /// sensor that has nothing to say should say so on a channel of its own.
    pub(crate) fn check(&self, id: ChannelId, value: Value<'_>) -> Result<&KnownChannel, Reason> {
        let found = self.channels.binary_search_by_key(&id, |channel| channel.id);
        let channel = found.ok().and_then(|at| self.channels.get(at)).ok_or(Reason::UnknownChannel)?;
        if let Some(rule) = channel.broken {
            return Err(rule.into());
        }
        if channel.kind != value.kind() {
            return Err(Reason::WrongKind);
        }
        match value {
            Value::Float(value) if !value.is_finite() => Err(Reason::NotFinite),
            Value::Double(value) if !value.is_finite() => Err(Reason::NotFinite),
            Value::Text(text) if text.len() > MAX_TEXT => Err(Reason::TextTooLong),
            _ => Ok(channel),
        }
    }
}

impl KnownChannel {
    /// As it was described.
    fn described(&self) -> Channel<'_> {
        let (name, unit) = self.fields.names();
        Channel { id: self.id, name, unit, kind: self.kind, resolution: self.resolution }
    }
}

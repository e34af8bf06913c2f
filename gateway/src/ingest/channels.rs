//! The channels of one schema, as the hot path wants them.

use weir_protocol::{Channel, ChannelId, Value, ValueKind, reading::MAX_TEXT};

use super::Reason;
use crate::record::reading::ChannelFields;

/// The channels of one schema of one device.
#[derive(Debug)]
pub(crate) struct Channels {
    /// Ascending by id.
    channels: Vec<KnownChannel>,
}

#[derive(Debug)]
struct KnownChannel {
    id: ChannelId,
    kind: ValueKind,
    resolution: f32,
    fields: ChannelFields,
}

impl Channels {
    pub(crate) fn new(channels: &[Channel<'_>]) -> Self {
        let known = |channel: &Channel<'_>| KnownChannel {
            id: channel.id,
            kind: channel.kind,
            resolution: channel.resolution,
            fields: ChannelFields::new(channel.name, channel.unit),
        };
        let mut channels: Vec<_> = channels.iter().map(known).collect();
        channels.sort_unstable_by_key(|channel| channel.id);
        Self { channels }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.channels.len()
    }

    /// The channels as they were described, ascending by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Channel<'_>> {
        self.channels.iter().map(|KnownChannel { id, kind, resolution, fields }| {
            let (name, unit) = fields.names();
            Channel { id: *id, name, unit, kind: *kind, resolution: *resolution }
        })
    }

    /// Validates a value of a channel; the fields of its record that the description knows.
    ///
    /// A float that is not a finite number is refused: JSON cannot carry it and no average survives it. A
    /// sensor that has nothing to say should say so on a channel of its own.
    pub(crate) fn check(&self, id: ChannelId, value: Value<'_>) -> Result<&ChannelFields, Reason> {
        let found = self.channels.binary_search_by_key(&id, |channel| channel.id);
        let channel = found.ok().and_then(|at| self.channels.get(at)).ok_or(Reason::UnknownChannel)?;
        if channel.kind != value.kind() {
            return Err(Reason::WrongKind);
        }
        match value {
            Value::Float(value) if !value.is_finite() => Err(Reason::NotFinite),
            Value::Double(value) if !value.is_finite() => Err(Reason::NotFinite),
            Value::Text(text) if text.len() > MAX_TEXT => Err(Reason::TextTooLong),
            _ => Ok(&channel.fields),
        }
    }
}

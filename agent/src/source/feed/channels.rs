//! The channels of a feed, learnt by name as samples come.
//!
//! A channel keeps its id, its unit and its kind for as long as the agent runs, and new ones go to the end: every
//! description says all that an older one said, so what was sampled under an older one may be sent under it. At
//! most [`MAX_CHANNELS`] are learnt.

use std::collections::HashMap;

use weir_protocol::channel::MAX_CHANNELS;
use weir_protocol::reading::MAX_TEXT;
use weir_protocol::{Channel, ChannelId, Items, SchemaHash, Value, ValueKind, items};

use super::{PutError, Sample};
use crate::source::number::EXACT;

/// The longest channel name and unit of a description, in bytes.
const MAX_NAME: usize = 64;
const MAX_UNIT: usize = 32;

/// What a channel means.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Meaning {
    /// Its name in descriptions.
    pub name: String,
    /// A UCUM code.
    pub unit: String,
    /// The kind of its values.
    pub kind: ValueKind,
}

/// The channels of one device.
pub(super) struct Channels {
    meanings: Vec<Meaning>,
    /// By the name that the source uses.
    ids: HashMap<String, ChannelId>,
    /// The id of the first channel.
    first: u16,
    /// Encoded as a description carries them.
    encoded: Vec<u8>,
    schema: SchemaHash,
}

impl Channels {
    /// None; the first one that is learnt gets the id `first`, and those that follow the next ones.
    pub(super) fn new(first: ChannelId) -> Self {
        let schema = SchemaHash::of(Items::new(&[]));
        Self { meanings: Vec::new(), ids: HashMap::new(), first: first.0, encoded: Vec::new(), schema }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.meanings.is_empty()
    }

    pub(super) fn schema(&self) -> SchemaHash {
        self.schema
    }

    pub(super) fn encoded(&self) -> Items<'_, Channel<'_>> {
        Items::new(&self.encoded)
    }

    pub(super) fn meaning(&self, channel: ChannelId) -> Option<&Meaning> {
        self.meanings.get(usize::from(channel.0.checked_sub(self.first)?))
    }

    /// The channel of a sample and its value as the channel carries it; learns the channel if it is new.
    pub(super) fn place<'a>(&mut self, sample: &Sample<'a>) -> Result<(ChannelId, Value<'a>), PutError> {
        if let Value::Text(text) = sample.value
            && text.len() > MAX_TEXT
        {
            return Err(PutError::TextTooLong { channel: sample.name.to_owned(), got: text.len() });
        }
        let id = self.learn(sample.name, sample.unit, sample.value.kind(), sample.resolution)?;
        let Some(meaning) = self.meaning(id) else { return Ok((id, sample.value)) };
        let value = converted(sample.value, meaning.kind).ok_or_else(|| PutError::Kind {
            channel: meaning.name.clone(),
            got: sample.value.kind(),
            expected: meaning.kind,
        })?;
        Ok((id, value))
    }

    /// The channel of that name.
    pub(super) fn learn(
        &mut self,
        name: &str,
        unit: &str,
        kind: ValueKind,
        resolution: f32,
    ) -> Result<ChannelId, PutError> {
        if let Some(id) = self.ids.get(name) {
            return match self.meaning(*id) {
                Some(known) if known.unit != unit => Err(PutError::Unit {
                    channel: known.name.clone(),
                    got: unit.to_owned(),
                    expected: known.unit.clone(),
                }),
                _ => Ok(*id),
            };
        }
        if self.meanings.len() == MAX_CHANNELS {
            return Err(PutError::TooManyChannels { channel: name.to_owned() });
        }
        if unit.is_empty() || unit.len() > MAX_UNIT || !unit.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(PutError::BadUnit { channel: name.to_owned(), got: unit.to_owned() });
        }
        let clean = clean(name);
        if clean.is_empty() || self.meanings.iter().any(|known| known.name == clean) {
            return Err(PutError::Name { channel: name.to_owned() });
        }
        let id = ChannelId(self.first.saturating_add(self.meanings.len() as u16));
        items::push(&mut self.encoded, &Channel { id, name: &clean, unit, kind, resolution });
        self.schema = SchemaHash::of(self.encoded());
        self.ids.insert(name.to_owned(), id);
        self.meanings.push(Meaning { name: clean, unit: unit.to_owned(), kind });
        Ok(id)
    }
}

/// A value as a channel of `kind` carries it, if that is the same value.
fn converted(value: Value<'_>, kind: ValueKind) -> Option<Value<'_>> {
    match (value, kind) {
        (value, kind) if value.kind() == kind => Some(value),
        (Value::Integer(value), ValueKind::Double) if value.unsigned_abs() <= EXACT => {
            Some(Value::Double(value as f64))
        }
        (Value::Double(value), ValueKind::Integer) if value.fract() == 0.0 && value.abs() <= EXACT as f64 => {
            Some(Value::Integer(value as i64))
        }
        (Value::Float(value), ValueKind::Double) => Some(Value::Double(f64::from(value))),
        _ => None,
    }
}

/// A name as descriptions carry it: what is no letter, digit, dot, dash or underscore becomes `_`; what is too long
/// ends with a hash of the whole name, so that two long names that begin alike stay two.
fn clean(name: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let clean: String = name.chars().map(allowed).take(MAX_NAME + 1).collect();
    if clean.len() <= MAX_NAME {
        return clean;
    }
    // FNV-1a, as schema hashes.
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("{}-{hash:08x}", &clean[..MAX_NAME - 9])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_too_long_for_a_description_is_cut_and_stays_its_own() {
        let (one, two) = (format!("{}a", "x".repeat(80)), format!("{}b", "x".repeat(80)));
        assert_eq!((clean(&one).len(), clean(&two).len()), (MAX_NAME, MAX_NAME));
        assert_ne!(clean(&one), clean(&two));
        assert_eq!(clean("Tank 1/level"), "Tank_1_level");
        assert_eq!(clean(&"x".repeat(MAX_NAME)), "x".repeat(MAX_NAME));
    }

    #[test]
    fn a_value_is_converted_only_where_it_stays_the_same() {
        assert_eq!(converted(Value::Integer(21), ValueKind::Double), Some(Value::Double(21.0)));
        assert_eq!(converted(Value::Integer((1 << 53) + 1), ValueKind::Double), None);
        assert_eq!(converted(Value::Double(-21.0), ValueKind::Integer), Some(Value::Integer(-21)));
        for not_whole in [21.5, 1e300, f64::NAN] {
            assert_eq!(converted(Value::Double(not_whole), ValueKind::Integer), None);
        }
        assert_eq!(converted(Value::Text("21"), ValueKind::Double), None);
    }
}

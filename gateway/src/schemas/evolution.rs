//! How the description of a channel may change: judged for each (tenant, device, channel id), in the order in which the
//! device's descriptions stand in `weir.describe`.
//!
//! What it guarantees: the verdict on a channel of a schema follows from that order alone, so it is the same after any
//! restart, whichever agent was quicker and whatever arrived in between; it falls once for each schema, and readings of
//! an earlier schema that come late are judged as they always were.
//!
//! | change of a channel | verdict |
//! |---|---|
//! | a new id | fine |
//! | an id that is not described any more | fine; one that comes back must go on from what it was |
//! | another name under the same id | fine: a record carries the name, so consumers and routes see one series end and another begin |
//! | another resolution | fine |
//! | integer to float or double, float to double | fine: every value fits into what consumers learn to expect |
//! | double to float or integer, float to integer | `kind-narrowed` |
//! | between numbers, booleans and texts | `kind-changed` |
//! | another unit | `unit-changed`: numbers would go on and mean something else |
//!
//! A change that is not fine is compared with the last description that was. Readings of that channel under that schema
//! become dead letters with the rule's name, and all other channels flow. What to do: give the channel a new id, or
//! describe it as it was, or take every change with `schemas.compatibility = "none"`, which judges nothing; set back to
//! `"strict"`, everything is judged as if it had never been away.

use std::collections::BTreeMap;
use std::fmt;

use weir_protocol::{Channel, ChannelId, ValueKind};

/// Whether changes are judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compatibility {
    /// By the table above.
    #[default]
    Strict,
    /// Every change is taken.
    None,
}

/// A rule that a change breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// The unit is another one.
    Unit,
    /// A number became a boolean or a text, or the other way round.
    Kind,
    /// The new kind does not hold every value of the old one.
    Narrowed,
}

impl Rule {
    /// Its name in dead letters, metrics and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unit => "unit-changed",
            Self::Kind => "kind-changed",
            Self::Narrowed => "kind-narrowed",
        }
    }
}

/// What a channel id has been so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known<'a> {
    /// A UCUM code.
    pub unit: &'a str,
    /// The widest kind so far.
    pub kind: ValueKind,
}

/// A channel that may not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken<'a> {
    /// The channel.
    pub id: ChannelId,
    /// What it breaks.
    pub rule: Rule,
    /// What it was.
    pub was: Known<'a>,
}

impl fmt::Display for Broken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Known { unit, kind } = self.was;
        write!(f, "{}: channel {} was {} in {unit:?}", self.rule.as_str(), self.id.0, name(kind))
    }
}

/// The channels of one device, as its descriptions so far have made them.
#[derive(Clone, Debug, Default)]
pub struct Register<'a> {
    channels: BTreeMap<ChannelId, Known<'a>>,
}

impl<'a> Register<'a> {
    /// Judges a channel by what its id has been; nothing changes.
    pub fn judge(&self, channel: &Channel<'_>) -> Option<Broken<'a>> {
        let was = *self.channels.get(&channel.id)?;
        let rule = if was.unit != channel.unit { Some(Rule::Unit) } else { kind_rule(was.kind, channel.kind) };
        rule.map(|rule| Broken { id: channel.id, rule, was })
    }

    /// Makes a channel that breaks nothing what its id has been.
    pub fn take(&mut self, channel: &Channel<'a>) {
        self.channels.insert(channel.id, Known { unit: channel.unit, kind: channel.kind });
    }

    /// Judges a description, and takes those of its channels that break nothing; the others.
    pub fn describe(&mut self, channels: impl IntoIterator<Item = Channel<'a>>) -> Vec<Broken<'a>> {
        let mut broken = Vec::new();
        for channel in channels {
            match self.judge(&channel) {
                Some(found) => broken.push(found),
                None => self.take(&channel),
            }
        }
        broken
    }
}

fn kind_rule(was: ValueKind, is: ValueKind) -> Option<Rule> {
    use ValueKind::{Boolean, Double, Float, Integer, Text};
    match (was, is) {
        (Integer, Integer | Float | Double) | (Float, Float | Double) => None,
        (Double, Double) | (Boolean, Boolean) | (Text, Text) => None,
        (Float | Double, Integer) | (Double, Float) => Some(Rule::Narrowed),
        (Boolean | Text, _) | (_, Boolean | Text) => Some(Rule::Kind),
    }
}

/// The name of a kind, as settings and descriptions have it.
pub const fn name(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Float => "float",
        ValueKind::Double => "double",
        ValueKind::Integer => "integer",
        ValueKind::Boolean => "boolean",
        ValueKind::Text => "text",
    }
}

#[cfg(test)]
mod tests {
    use ValueKind::{Boolean, Double, Float, Integer, Text};

    use super::*;

    fn channel(id: u16, unit: &'static str, kind: ValueKind) -> Channel<'static> {
        Channel { id: ChannelId(id), name: "t", unit, kind, resolution: 0.5 }
    }

    /// What becomes of a channel that was `was` and is `is`.
    fn change(was: (&'static str, ValueKind), is: (&'static str, ValueKind)) -> Option<Rule> {
        let mut register = Register::default();
        assert!(register.describe([channel(1, was.0, was.1)]).is_empty(), "a new channel is fine");
        register.describe([channel(1, is.0, is.1)]).first().map(|broken| broken.rule)
    }

    /// The table in the module's header.
    #[test]
    fn every_change_is_judged_by_the_table() {
        for kind in [Float, Double, Integer, Boolean, Text] {
            assert_eq!(change(("Cel", kind), ("Cel", kind)), None);
            assert_eq!(change(("Cel", kind), ("K", kind)), Some(Rule::Unit));
        }
        for (was, is) in [(Integer, Float), (Integer, Double), (Float, Double)] {
            assert_eq!(change(("Cel", was), ("Cel", is)), None);
            assert_eq!(change(("Cel", is), ("Cel", was)), Some(Rule::Narrowed));
            assert_eq!(change(("Cel", was), ("K", is)), Some(Rule::Unit), "the unit counts first");
        }
        for number in [Float, Double, Integer] {
            for other in [Boolean, Text] {
                assert_eq!(change(("1", number), ("1", other)), Some(Rule::Kind));
                assert_eq!(change(("1", other), ("1", number)), Some(Rule::Kind));
            }
        }
        assert_eq!(change(("1", Boolean), ("1", Text)), Some(Rule::Kind));
        assert_eq!(change(("1", Text), ("1", Boolean)), Some(Rule::Kind));
    }

    #[test]
    fn name_and_resolution_may_change() {
        let mut register = Register::default();
        register.describe([channel(1, "Cel", Float)]);
        let other = Channel { name: "temperature", resolution: 0.1, ..channel(1, "Cel", Float) };
        assert_eq!(register.describe([other]), []);
    }

    #[test]
    fn a_channel_that_comes_back_goes_on_from_what_it_was() {
        let mut register = Register::default();
        register.describe([channel(1, "Cel", Float), channel(2, "Pa", Double)]);
        register.describe([channel(2, "Pa", Double)]);
        let broken = register.describe([channel(1, "K", Float), channel(3, "m", Float)]);
        assert_eq!(broken.len(), 1, "the new channel is fine");
        assert_eq!(broken[0].to_string(), "unit-changed: channel 1 was float in \"Cel\"");
        assert!(register.describe([channel(1, "Cel", Double)]).is_empty());
    }

    #[test]
    fn what_was_refused_leaves_no_trace_and_what_was_widened_stays_wide() {
        let mut register = Register::default();
        register.describe([channel(1, "Cel", Integer)]);
        register.describe([channel(1, "K", Integer)]);
        assert!(register.describe([channel(1, "Cel", Double)]).is_empty(), "compared with the last that was fine");
        assert_eq!(register.describe([channel(1, "Cel", Integer)])[0].rule, Rule::Narrowed);
    }
}

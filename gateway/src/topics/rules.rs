//! Which topic a reading goes to: the first rule that matches it, else `readings`.
//!
//! Guarantees: the answer depends on nothing but tenant, device, channel name, unit and the rules, so a resend goes where
//! the first delivery went for as long as the rules are the same. Deciding takes time linear in the patterns: it is done
//! once for each channel of a description and remembered there.

use std::fmt;

use thiserror::Error;
use weir_protocol::{DeviceId, Tenant};

use super::TopicId;

/// The most rules.
pub const MAX_RULES: usize = 256;
/// The longest pattern, in bytes.
pub const MAX_PATTERN: usize = 256;

/// A text, or one with `*` in it, each of which stands for any bytes or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PatternError {
    /// It would match nothing.
    #[error("an empty pattern matches nothing; leave the key out, or write \"*\"")]
    Empty,
    /// Too long.
    #[error("got {0} bytes, expected at most {MAX_PATTERN}")]
    TooLong(usize),
    /// Something that looks as if it had a meaning, at this byte.
    #[error("`{0}` has no meaning in a pattern; only `*` has, for any characters or none")]
    Character(char, usize),
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError`] with what is wrong with it.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > MAX_PATTERN {
            return Err(PatternError::TooLong(text.len()));
        }
        // A UCUM unit holds brackets, as in `[degF]`; nothing of ours holds these.
        match text.char_indices().find(|(_, found)| matches!(found, '?' | '|' | '\\') || found.is_control()) {
            Some((at, found)) => Err(PatternError::Character(found, at)),
            None => Ok(Self(text.to_owned())),
        }
    }

    /// Whether `text` is one of those that it stands for.
    pub fn matches(&self, text: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else { return self.0 == text };
        let Some(mut text) = text.strip_prefix(first) else { return false };
        let (middle, last) = rest.rsplit_once('*').map_or(("", rest), |(middle, last)| (middle, last));
        for part in middle.split('*').filter(|part| !part.is_empty()) {
            // The first place is as good as any later one.
            let Some((_, behind)) = text.split_once(part) else { return false };
            text = behind;
        }
        text.ends_with(last)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What leads readings to a topic: all the patterns that it has must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// The name of the topic.
    pub topic: String,
    /// Of the tenant.
    pub tenant: Option<Pattern>,
    /// Of the device.
    pub device: Option<Pattern>,
    /// Of the channel's name.
    pub channel: Option<Pattern>,
    /// Of the channel's unit.
    pub unit: Option<Pattern>,
}

impl Route {
    fn matches(&self, tenant: Tenant, device: DeviceId, channel: &str, unit: &str) -> bool {
        let fits = |pattern: &Option<Pattern>, text: &str| pattern.as_ref().is_none_or(|pattern| pattern.matches(text));
        fits(&self.tenant, tenant.as_str())
            && fits(&self.device, device.as_str())
            && fits(&self.channel, channel)
            && fits(&self.unit, unit)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patterns =
            [("tenant", &self.tenant), ("device", &self.device), ("channel", &self.channel), ("unit", &self.unit)];
        let mut between = "";
        for (name, pattern) in patterns {
            if let Some(pattern) = pattern {
                write!(f, "{between}{name} = {pattern}")?;
                between = ", ";
            }
        }
        if between.is_empty() { f.write_str("everything") } else { Ok(()) }
    }
}

/// The rules in their order, each with the topic that it names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules(Vec<(Route, TopicId)>);

impl Rules {
    pub(crate) fn new(rules: Vec<(Route, TopicId)>) -> Self {
        Self(rules)
    }

    /// Whether everything goes to `readings`.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The topic of the readings of a channel.
    pub(crate) fn topic(&self, (tenant, device): (Tenant, DeviceId), channel: &str, unit: &str) -> TopicId {
        let found = self.0.iter().find(|(route, _)| route.matches(tenant, device, channel, unit));
        found.map_or(TopicId::READINGS, |(_, topic)| *topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::new(pattern).unwrap().matches(text)
    }

    #[test]
    fn a_star_stands_for_anything_or_nothing() {
        for (pattern, good, bad) in [
            ("pump-1", vec!["pump-1"], vec!["pump-12", "a-pump-1", ""]),
            ("*", vec!["", "x"], vec![]),
            ("pump-*", vec!["pump-", "pump-7"], vec!["pump", "a-pump-7"]),
            ("*-7", vec!["-7", "pump-7"], vec!["pump-70"]),
            ("a*b*c", vec!["abc", "a-b-b-c", "abcbc"], vec!["ac", "acb", "abcd"]),
            ("a**a", vec!["aa", "a-a"], vec!["a"]),
            ("aa*aa", vec!["aaaa"], vec!["aa", "aaa"]),
        ] {
            good.iter().for_each(|text| assert!(matches(pattern, text), "{pattern} {text}"));
            bad.iter().for_each(|text| assert!(!matches(pattern, text), "{pattern} {text}"));
        }
    }

    #[test]
    fn what_only_looks_like_a_pattern_is_refused() {
        assert_eq!(Pattern::new(""), Err(PatternError::Empty));
        assert_eq!(Pattern::new("pump-?"), Err(PatternError::Character('?', 5)));
        assert_eq!(Pattern::new(&"x".repeat(257)), Err(PatternError::TooLong(257)));
        assert!(Pattern::new("[degF]").is_ok(), "a unit");
    }

    #[test]
    fn the_first_rule_that_matches_wins_and_the_rest_goes_to_readings() {
        let pattern = |text| Some(Pattern::new(text).unwrap());
        let (own, other) = (TopicId::at(4), TopicId::at(5));
        let rules = Rules::new(vec![
            (Route { device: pattern("pump-*"), channel: pattern("vib*"), ..Route::default() }, own),
            (Route { unit: pattern("m/s2"), ..Route::default() }, other),
        ]);
        let device = |name| (Tenant::DEFAULT, DeviceId::new(name).unwrap());
        assert_eq!(rules.topic(device("pump-1"), "vibration", "m/s2"), own);
        assert_eq!(rules.topic(device("fan-1"), "vibration", "m/s2"), other);
        assert_eq!(rules.topic(device("pump-1"), "temperature", "Cel"), TopicId::READINGS);
    }
}

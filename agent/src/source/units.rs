//! Units by pattern: what a source does not say itself, the settings do.

use serde::Deserialize;
use weir_protocol::settings::{SettingsError, Source, Spanned};

/// The most rules of one source.
const MAX_RULES: usize = 256;
/// The longest unit that the gateway takes, in bytes.
const MAX_UNIT: usize = 32;

/// Channels that match a pattern are measured in a unit.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitRule {
    /// `*` stands for anything.
    pub channel: Spanned<String>,
    /// A UCUM code.
    pub unit: Spanned<String>,
}

/// The unit of `channel` by the first rule that matches; `1`, which is none, if none does.
pub(super) fn unit_of<'r>(rules: &'r [UnitRule], channel: &str) -> &'r str {
    let rule = rules.iter().find(|rule| matches(rule.channel.get_ref(), channel));
    rule.map_or("1", |rule| rule.unit.get_ref())
}

/// Checks the rules of one source.
pub(super) fn check(rules: &[UnitRule], source: &Source) -> Result<(), SettingsError> {
    if let Some(rule) = rules.get(MAX_RULES) {
        let message = format!("got {} rules for units, expected at most {MAX_RULES}", rules.len());
        return Err(source.error(rule.channel.span(), message));
    }
    for rule in rules {
        check_unit(&rule.unit, source)?;
    }
    Ok(())
}

/// Refuses what no description carries.
pub(super) fn check_unit(unit: &Spanned<String>, source: &Source) -> Result<(), SettingsError> {
    let text = unit.get_ref();
    if !text.is_empty() && text.len() <= MAX_UNIT && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    let message =
        format!("got {text:?}, expected a UCUM code of 1 to {MAX_UNIT} characters such as \"Cel\", or \"1\" for none");
    Err(source.error(unit.span(), message).with_help("ucum.org; degrees Celsius are \"Cel\", kilowatt hours \"kW.h\""))
}

/// Whether `text` is what `pattern` says, where `*` stands for any number of characters.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    // `split` gives one part at least.
    let Some(rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    // The first place that fits leaves most for those that follow.
    let fits = |rest: &str, part: &&str| rest.find(part).map(|at| at + part.len());
    let rest = parts.iter().try_fold(rest, |rest, part| fits(rest, part).map(|end| &rest[end..]));
    rest.is_some_and(|rest| rest.len() >= last.len() && rest.ends_with(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text) in [
            ("cpu.usage_idle", "cpu.usage_idle"),
            ("*", ""),
            ("*", "anything"),
            ("cpu.*", "cpu.usage_idle.cpu-cpu0"),
            ("*.temperature", "kitchen.temperature"),
            ("*.usage_*.cpu-*", "cpu.usage_idle.cpu-total"),
            ("a*b*a", "abba"),
            ("a*a", "aa"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("cpu", "cpu0"), ("*.x", "x"), ("a*a", "a"), ("", "x"), ("a*b*c", "acb"), ("*ab*b", "ab")]
        {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }
}

//! `[[process]]`: one rule of the settings, and what is wrong with it.

use core::cmp::Ordering;
use core::fmt;

use serde::Deserialize;
use weir_protocol::settings::{Period, SettingsError, Source, Spanned};

use super::units;
use crate::glob;

/// The most rules.
pub const MAX_RULES: usize = 1024;
/// The longest window.
const MAX_WINDOW: Period = Period::secs(24 * 3600);
/// The shortest window.
const MIN_WINDOW: Period = Period::millis(100);
/// The longest unit of a channel, in bytes.
const MAX_UNIT: usize = 32;
/// The longest name that a channel may get: a window adds `.count` to it.
pub(super) const MAX_RENAME: usize = 58;

/// What to do with the readings of some channels. The first rule that names a channel is the one that counts for it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessConfig {
    /// Of which devices; `*` and `?` match.
    #[serde(default = "everything")]
    pub device: Spanned<String>,
    /// Which channels, by the names that the device gave them; `*` and `?` match.
    #[serde(default = "everything")]
    pub channel: Spanned<String>,
    /// Leave them out: a decision, which is counted at the gateway as `reduced`.
    pub drop: Option<Spanned<bool>>,
    /// Multiply by this.
    pub scale: Option<Spanned<f64>>,
    /// Then add this.
    pub offset: Option<Spanned<f64>>,
    /// What the unit is so far, where the device says another or none.
    pub source_unit: Option<Spanned<String>>,
    /// Convert into this unit, a UCUM code.
    pub unit: Option<Spanned<String>>,
    /// What lies outside becomes a dead letter.
    pub range: Option<Spanned<[f64; 2]>>,
    /// Leave out what differs by no more than this from what was sent last.
    pub deadband: Option<Spanned<f64>>,
    /// The same, in percent of what was sent last.
    pub deadband_percent: Option<Spanned<f64>>,
    /// Send one all the same if the last one is this old.
    pub heartbeat: Option<Spanned<Period>>,
    /// Put summaries of this length in the place of readings.
    pub window: Option<Spanned<Period>>,
    /// What of a window is sent.
    pub take: Option<Spanned<Vec<Take>>>,
    /// What the channel is called from here on.
    pub rename: Option<Spanned<String>>,
    /// The class of the queue that it goes into.
    pub class: Option<Spanned<String>>,
}

/// What of a window is sent; `<channel>.<name>` is its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Take {
    /// The smallest value.
    Min,
    /// The largest value.
    Max,
    /// The arithmetic mean.
    Mean,
    /// The value that came last.
    Last,
    /// How many readings there were.
    Count,
}

impl Take {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Min, Self::Max, Self::Mean, Self::Last, Self::Count];

    /// As settings and channels spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Min => "min",
            Self::Max => "max",
            Self::Mean => "mean",
            Self::Last => "last",
            Self::Count => "count",
        }
    }
}

impl fmt::Display for Take {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

fn everything() -> Spanned<String> {
    Spanned::new(0..0, "*".to_owned())
}

/// Checks all rules. `is_class` says which classes the queue has.
pub fn check(rules: &[ProcessConfig], source: &Source, is_class: impl Fn(&str) -> bool) -> Result<(), SettingsError> {
    if let Some(one_more) = rules.get(MAX_RULES) {
        let message = format!("got {} rules, expected at most {MAX_RULES}", rules.len());
        return Err(source.error(one_more.channel.span(), message));
    }
    rules.iter().try_for_each(|rule| rule.check(source, &is_class))
}

/// What is lawful and surely not meant, for people: rules that never match, because an earlier one takes everything.
pub fn warnings(rules: &[ProcessConfig]) -> Vec<String> {
    let covers = |wide: &ProcessConfig, narrow: &ProcessConfig| {
        glob::covers(wide.device.get_ref(), narrow.device.get_ref())
            && glob::covers(wide.channel.get_ref(), narrow.channel.get_ref())
    };
    let covered = |(at, rule): (usize, &ProcessConfig)| {
        let earlier = rules[..at].iter().position(|earlier| covers(earlier, rule))?;
        Some(format!(
            "[[process]] rule {} ({}) never matches: rule {} ({}) takes everything that it names; put it in front",
            at + 1,
            rule.place(),
            earlier + 1,
            rules[earlier].place()
        ))
    };
    rules.iter().enumerate().filter_map(covered).collect()
}

impl ProcessConfig {
    fn place(&self) -> String {
        format!("device {:?}, channel {:?}", self.device.get_ref(), self.channel.get_ref())
    }

    fn check(&self, source: &Source, is_class: &impl Fn(&str) -> bool) -> Result<(), SettingsError> {
        let wrong =
            |at: core::ops::Range<usize>, message: String, help: &str| Err(source.error(at, message).with_help(help));
        for (name, pattern) in [("device", &self.device), ("channel", &self.channel)] {
            if pattern.get_ref().is_empty() {
                return wrong(pattern.span(), format!("got no {name}"), "\"*\" names all of them");
            }
        }
        for (name, number) in [("scale", &self.scale), ("offset", &self.offset)] {
            if let Some(number) = number.as_ref().filter(|number| !number.get_ref().is_finite()) {
                let message = format!("got {name} {}, expected a number", number.get_ref());
                return Err(source.error(number.span(), message));
            }
        }
        if let Some(scale) = self.scale.as_ref().filter(|scale| *scale.get_ref() == 0.0) {
            return wrong(
                scale.span(),
                "got scale 0, which leaves nothing".to_owned(),
                "use drop = true to leave a channel out",
            );
        }
        if let Some(unit) = &self.unit {
            units::check(unit.get_ref()).map_err(|message| source.error(unit.span(), message))?;
        }
        // Alone it is a label, and need not be known.
        if let Some(unit) = &self.source_unit
            && !(1..=MAX_UNIT).contains(&unit.get_ref().len())
        {
            let message = format!("got {:?}, expected 1 to {MAX_UNIT} bytes, a UCUM code", unit.get_ref());
            return Err(source.error(unit.span(), message));
        }
        if let (Some(from), Some(to)) = (&self.source_unit, &self.unit) {
            units::conversion(from.get_ref(), to.get_ref()).map_err(|message| source.error(to.span(), message))?;
        }
        if let Some(range) = &self.range {
            let [low, high] = *range.get_ref();
            // What is no number has no order, and is wrong, too.
            if low.partial_cmp(&high).is_none_or(Ordering::is_gt) {
                let message = format!("got {low} to {high}, expected the lower bound first");
                return wrong(range.span(), message, "write range = [lowest, highest]");
            }
        }
        self.check_deadband(source)?;
        self.check_window(source)?;
        self.check_rename(source)?;
        if let Some(class) = self.class.as_ref().filter(|class| !is_class(class.get_ref())) {
            let message = format!("the queue has no class {:?}", class.get_ref());
            return wrong(class.span(), message, "declare it: [[queue.class]] with its name and cap");
        }
        self.check_drop(source)
    }

    fn check_deadband(&self, source: &Source) -> Result<(), SettingsError> {
        if let (Some(_), Some(percent)) = (&self.deadband, &self.deadband_percent) {
            let error = source.error(percent.span(), "deadband and deadband_percent exclude each other");
            return Err(error.with_help("remove one"));
        }
        if let Some(width) = [&self.deadband, &self.deadband_percent].into_iter().flatten().next() {
            let got = *width.get_ref();
            if !(got >= 0.0 && got.is_finite()) {
                return Err(source.error(width.span(), format!("got {got}, expected 0 or more")));
            }
        } else if let Some(heartbeat) = &self.heartbeat {
            let error = source.error(heartbeat.span(), "a heartbeat is for a deadband, and there is none");
            return Err(error.with_help("set deadband, which leaves out what did not change"));
        }
        match &self.heartbeat {
            Some(heartbeat) if *heartbeat.get_ref() < Period::millis(1) => {
                Err(source.error(heartbeat.span(), format!("got {}, expected 1ms or more", heartbeat.get_ref())))
            }
            _ => Ok(()),
        }
    }

    fn check_window(&self, source: &Source) -> Result<(), SettingsError> {
        match (&self.window, &self.take) {
            (Some(window), None) => {
                let help = "set take = [\"mean\"], or more of min, max, mean, last, count";
                return Err(source.error(window.span(), "a window of which nothing is taken").with_help(help));
            }
            (None, Some(take)) => {
                let error = source.error(take.span(), "take is for a window, and there is none");
                return Err(error.with_help("set window = \"10s\""));
            }
            (None, None) => return Ok(()),
            (Some(window), Some(take)) => {
                let got = *window.get_ref();
                if !(MIN_WINDOW..=MAX_WINDOW).contains(&got) {
                    let message = format!("got {got}, expected {MIN_WINDOW} to {MAX_WINDOW}");
                    return Err(source.error(window.span(), message));
                }
                let all = take.get_ref();
                let twice = all.iter().enumerate().find(|(at, take)| all[..*at].contains(take));
                if let Some((_, twice)) = twice {
                    return Err(source.error(take.span(), format!("{twice} is there twice")).with_help("remove one"));
                }
                if all.is_empty() {
                    let error =
                        source.error(take.span(), "got nothing, expected one or more of min, max, mean, last, count");
                    return Err(error.with_help("use drop = true to leave a channel out"));
                }
            }
        }
        Ok(())
    }

    fn check_rename(&self, source: &Source) -> Result<(), SettingsError> {
        let Some(rename) = &self.rename else { return Ok(()) };
        let name = rename.get_ref();
        if name.is_empty() || name.len() > MAX_RENAME || name.chars().any(char::is_control) {
            let message = format!("got {name:?}, expected 1 to {MAX_RENAME} bytes of text");
            return Err(source.error(rename.span(), message));
        }
        if self.channel.get_ref().contains(['*', '?']) {
            let error = source.error(rename.span(), "one name cannot be that of all channels that the pattern fits");
            return Err(error.with_help("name one channel in `channel`"));
        }
        Ok(())
    }

    /// What is left out has no other step.
    fn check_drop(&self, source: &Source) -> Result<(), SettingsError> {
        let Some(drop) = self.drop.as_ref().filter(|drop| *drop.get_ref()) else { return Ok(()) };
        let has_more = self.scale.is_some()
            || self.offset.is_some()
            || self.source_unit.is_some()
            || self.unit.is_some()
            || self.range.is_some()
            || self.deadband.is_some()
            || self.deadband_percent.is_some()
            || self.window.is_some()
            || self.rename.is_some()
            || self.class.is_some();
        if has_more {
            let error = source.error(drop.span(), "what is dropped has no other step");
            return Err(error.with_help("remove drop or the other keys of this rule"));
        }
        Ok(())
    }
}

//! The rules of the settings, ready to be matched.

use std::time::Duration;

use weir_protocol::DeviceId;
use weir_protocol::name::Name;

use super::plan::Width;
use super::settings::{ProcessConfig, Take};
use crate::glob;
use crate::queue::{ClassId, DEFAULT_CLASS};

/// All rules, in the order of the settings.
#[derive(Clone, Debug, Default)]
pub struct Rules(Vec<Rule>);

/// One rule.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// Its place in the settings, from 1.
    pub number: u16,
    pub device: String,
    pub channel: String,
    pub drop: bool,
    pub scale: Option<f64>,
    pub offset: Option<f64>,
    pub source_unit: Option<String>,
    pub unit: Option<String>,
    pub range: Option<(f64, f64)>,
    pub deadband: Option<Width>,
    pub heartbeat: Option<Duration>,
    pub window: Option<(Duration, Vec<Take>)>,
    pub rename: Option<String>,
    pub class: (ClassId, Name),
}

impl Rules {
    /// The rules of checked settings. `class` says which class of the queue has a name.
    pub fn of(settings: &[ProcessConfig], class: impl Fn(&str) -> Option<ClassId>) -> Self {
        let rule = |(number, settings): (u16, &ProcessConfig)| {
            let named = |name: &str| Some((class(name)?, Name::new(name).ok()?));
            let absolute = settings.deadband.as_ref().map(|width| Width::Absolute(*width.get_ref()));
            let percent = settings.deadband_percent.as_ref().map(|width| Width::Percent(*width.get_ref()));
            Rule {
                number,
                device: settings.device.get_ref().clone(),
                channel: settings.channel.get_ref().clone(),
                drop: settings.drop.as_ref().is_some_and(|drop| *drop.get_ref()),
                scale: settings.scale.as_ref().map(|scale| *scale.get_ref()),
                offset: settings.offset.as_ref().map(|offset| *offset.get_ref()),
                source_unit: settings.source_unit.as_ref().map(|unit| unit.get_ref().clone()),
                unit: settings.unit.as_ref().map(|unit| unit.get_ref().clone()),
                range: settings.range.as_ref().map(|range| (range.get_ref()[0], range.get_ref()[1])),
                deadband: absolute.or(percent),
                heartbeat: settings.heartbeat.as_ref().map(|heartbeat| heartbeat.get_ref().0),
                window: settings.window.as_ref().zip(settings.take.as_ref()).map(|(window, take)| {
                    let mut take = take.get_ref().clone();
                    take.sort_unstable();
                    (window.get_ref().0, take)
                }),
                rename: settings.rename.as_ref().map(|name| name.get_ref().clone()),
                class: settings
                    .class
                    .as_ref()
                    .and_then(|class| named(class.get_ref()))
                    .unwrap_or((ClassId::DEFAULT, DEFAULT_CLASS)),
            }
        };
        Self((1..).zip(settings).map(rule).collect())
    }

    /// Whether a rule may name a channel of this device.
    pub(crate) fn concern(&self, device: DeviceId) -> bool {
        self.0.iter().any(|rule| glob::fits(&rule.device, device.as_str()))
    }

    /// The rule for a channel: the first that fits.
    pub(crate) fn find(&self, device: DeviceId, channel: &str) -> Option<&Rule> {
        let fits = |rule: &&Rule| glob::fits(&rule.device, device.as_str()) && glob::fits(&rule.channel, channel);
        self.0.iter().find(fits)
    }
}

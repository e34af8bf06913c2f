//! The table `topics`: the logs, which readings go to which of them, and what single topics have of their own.

use std::collections::BTreeSet;

use serde::Deserialize;
use weir_protocol::settings::{ByteSize, Period, SettingsError, Source, Spanned};

use super::store::Store;
use super::{unset, within};
use crate::topics::definition::{MAX_LOGS, MAX_PARTITIONS, MAX_ROUTED, check_name};
use crate::topics::layout::{Defined, Routing};
use crate::topics::rules::{self, MAX_RULES, Pattern, PatternError};
use crate::topics::{Format, Retention, Role, TopicId};

/// The table `topics`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Topics {
    /// Partitions of each topic that is not defined otherwise; fixed when the topic is made.
    pub partitions: Spanned<u32>,
    /// The size at which a partition goes on in a new segment file.
    pub segment: Spanned<ByteSize>,
    /// Size of the journal through which commits to several partitions go with one sync; 0: no journal.
    pub journal: Spanned<ByteSize>,
    /// Disk space that one partition may take; at its cap it pauses its senders. Not set: no cap.
    pub partition_cap: Option<Spanned<ByteSize>>,
    /// Disk space that one topic may take before its oldest segments are removed. Not set: no bound.
    pub retention_bytes: Option<Spanned<ByteSize>>,
    /// How long a segment is kept after it was closed. Not set: for ever.
    pub retention_age: Option<Spanned<Period>>,
    /// Which readings go to topics of their own; the first that matches wins.
    pub route: Vec<Route>,
    /// What topics have of their own.
    pub define: Vec<Define>,
}

/// A table `topics.route`: a pattern that is not set matches everything.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Where the readings go.
    pub topic: Spanned<String>,
    /// The tenant.
    pub tenant: Option<Spanned<String>>,
    /// The device.
    pub device: Option<Spanned<String>>,
    /// The channel's name.
    pub channel: Option<Spanned<String>>,
    /// The channel's unit.
    pub unit: Option<Spanned<String>>,
}

/// A table `topics.define`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Define {
    /// The topic.
    pub topic: Spanned<String>,
    /// Its partitions; fixed when it is made.
    pub partitions: Option<Spanned<u32>>,
    /// As `topics.retention_bytes`, for this topic.
    pub retention_bytes: Option<Spanned<ByteSize>>,
    /// As `topics.retention_age`, for this topic.
    pub retention_age: Option<Spanned<Period>>,
    /// Whether the last record of each channel is kept and earlier ones go; fixed when it is made.
    pub compact: Option<Spanned<bool>>,
    /// How its values are written; fixed when it is made.
    pub format: Option<Spanned<Format>>,
}

impl Default for Topics {
    fn default() -> Self {
        Self {
            partitions: unset(4),
            segment: unset(ByteSize::mib(256)),
            journal: unset(ByteSize::mib(64)),
            partition_cap: None,
            retention_bytes: None,
            retention_age: None,
            route: Vec::new(),
            define: Vec::new(),
        }
    }
}

impl Topics {
    /// What one partition of a topic may keep that has nothing of its own.
    pub fn retention(&self) -> Retention {
        let partitions = *self.partitions.get_ref();
        let bytes = self.retention_bytes.as_ref().map(|bytes| share(bytes, partitions));
        Retention { bytes, age: self.retention_age.as_ref().map(|age| age.get_ref().0) }
    }

    /// Which readings go to topics of their own, what those have of their own, and where messages go.
    pub fn routing(&self, stores: &[Store]) -> Routing {
        let defined = self.define.iter().map(|define| (define.topic.get_ref().clone(), define.build()));
        // Patterns were checked; one that were none would lead nothing anywhere.
        let routes = self.route.iter().filter_map(|route| route.build().ok());
        let stores = stores.iter().map(Store::build).collect();
        Routing { routes: routes.collect(), stores, defined: defined.collect() }
    }

    pub(super) fn check(&self, source: &Source, stores: &[Store]) -> Result<(), SettingsError> {
        within(source, "topics.partitions", &self.partitions, 1..=MAX_PARTITIONS)?;
        within(source, "topics.segment", &self.segment, ByteSize::mib(1)..=ByteSize::mib(1024))?;
        if self.journal.get_ref().0 != 0 {
            within(source, "topics.journal", &self.journal, ByteSize::mib(1)..=ByteSize::mib(4096))?;
        }
        if let Some(cap) = &self.partition_cap {
            within(source, "topics.partition_cap", cap, ByteSize::mib(1)..=ByteSize(1 << 50))?;
        }
        let own = (&self.retention_bytes, &self.retention_age);
        self.check_retention(source, "topics", own, *self.partitions.get_ref())?;
        self.route.iter().try_for_each(|route| route.check(source))?;
        let mut known = BTreeSet::new();
        for define in &self.define {
            define.check(source, self)?;
            define.check_messages(source, stores)?;
            if !known.insert(define.topic.get_ref()) {
                let message = format!("topics.define: `{}` is defined twice", define.topic.get_ref());
                return Err(source.error(define.topic.span(), message).with_help("put all of it into one table"));
            }
        }
        Store::check_all(stores, source, self)?;
        self.check_counts(source, stores)
    }

    /// All of it has to fit into what there may be. Topics that only the disk still knows are counted at the start.
    fn check_counts(&self, source: &Source, stores: &[Store]) -> Result<(), SettingsError> {
        let routes = self.route.iter().map(|route| &route.topic);
        let Some(last) = routes.clone().chain(stores.iter().map(|store| &store.filter)).next_back() else {
            return Ok(());
        };
        if self.route.len() > MAX_RULES {
            let message = format!("topics.route: got {} routes, expected at most {MAX_RULES}", self.route.len());
            return Err(source.error(last.span(), message));
        }
        let named = routes.chain(self.define.iter().map(|define| &define.topic)).map(|topic| topic.get_ref().as_str());
        let routed: BTreeSet<&str> =
            named.chain(stores.iter().map(Store::name)).filter(|name| check_name(name).is_ok()).collect();
        let routed: Vec<&str> = routed.into_iter().filter(|name| *name != TopicId::READINGS_NAME).collect();
        if routed.len() > MAX_ROUTED {
            let message = format!("topics: got {} of them, expected at most {MAX_ROUTED}", routed.len());
            return Err(source.error(last.span(), message));
        }
        let partitions = |name: &str| {
            let define = self.define.iter().find(|define| define.topic.get_ref() == name);
            define.and_then(|define| define.partitions.as_ref()).unwrap_or(&self.partitions).get_ref().to_owned()
                as usize
        };
        let own = *self.partitions.get_ref() as usize * TopicId::BUILT_IN.len();
        let logs = own + routed.iter().map(|name| partitions(name)).sum::<usize>();
        if logs > MAX_LOGS {
            let message = format!("topics: got {logs} partitions of all topics, expected at most {MAX_LOGS}");
            let help = "lower topics.partitions, or the partitions of single topics";
            return Err(source.error(last.span(), message).with_help(help));
        }
        Ok(())
    }

    fn check_retention(
        &self,
        source: &Source,
        table: &str,
        (bytes, age): (&Option<Spanned<ByteSize>>, &Option<Spanned<Period>>),
        partitions: u32,
    ) -> Result<(), SettingsError> {
        if let Some(age) = age {
            let allowed = Period::secs(60)..=Period::secs(100 * 366 * 86_400);
            within(source, &format!("{table}.retention_age"), age, allowed)?;
        }
        let Some(bytes) = bytes else { return Ok(()) };
        let segment = *self.segment.get_ref();
        // Only closed segments can go, and beside the one that is written there is one that a checkpoint must cover.
        let least = ByteSize(segment.0.saturating_mul(2).saturating_mul(u64::from(partitions)));
        if *bytes.get_ref() < least {
            let message = format!("{table}.retention_bytes: got {}, expected at least {least}", bytes.get_ref());
            let help =
                format!("that is two segments of {segment} for each of {partitions} partitions: lower topics.segment");
            return Err(source.error(bytes.span(), message).with_help(help));
        }
        match &self.partition_cap {
            Some(cap) if share(bytes, partitions) >= cap.get_ref().0 => {
                let message = format!(
                    "{table}.retention_bytes: {} a partition is not below topics.partition_cap = {}, where its senders wait",
                    ByteSize(share(bytes, partitions)),
                    cap.get_ref()
                );
                Err(source.error(bytes.span(), message).with_help("raise the cap, or leave it out"))
            }
            _ => Ok(()),
        }
    }
}

/// Bytes on disk that retention leaves to one partition.
fn share(bytes: &Spanned<ByteSize>, partitions: u32) -> u64 {
    bytes.get_ref().0 / u64::from(partitions.max(1))
}

impl Route {
    fn patterns(&self) -> [(&'static str, &Option<Spanned<String>>); 4] {
        [("tenant", &self.tenant), ("device", &self.device), ("channel", &self.channel), ("unit", &self.unit)]
    }

    fn check(&self, source: &Source) -> Result<(), SettingsError> {
        let name = self.topic.get_ref();
        if name != TopicId::READINGS_NAME {
            check_name(name)
                .map_err(|error| source.error(self.topic.span(), format!("topics.route.topic: {error}")))?;
        }
        for (key, pattern) in self.patterns() {
            let Some(pattern) = pattern else { continue };
            let Err(error) = Pattern::new(pattern.get_ref()) else { continue };
            let mut span = pattern.span();
            // The quote stands before the text. An escape before the place moves the caret to its left.
            if let PatternError::Character(found, at) = error {
                span = (span.start + 1 + at)..(span.start + 1 + at + found.len_utf8());
            }
            return Err(source.error(span, format!("topics.route.{key}: {error}")));
        }
        Ok(())
    }

    fn build(&self) -> Result<rules::Route, PatternError> {
        let pattern =
            |text: &Option<Spanned<String>>| text.as_ref().map(|text| Pattern::new(text.get_ref())).transpose();
        Ok(rules::Route {
            topic: self.topic.get_ref().clone(),
            tenant: pattern(&self.tenant)?,
            device: pattern(&self.device)?,
            channel: pattern(&self.channel)?,
            unit: pattern(&self.unit)?,
        })
    }
}

impl Define {
    fn check(&self, source: &Source, topics: &Topics) -> Result<(), SettingsError> {
        let name = self.topic.get_ref();
        let own = TopicId::BUILT_IN_NAMES.iter().zip(TopicId::BUILT_IN_ROLES).find(|(own, _)| **own == name);
        match own.map(|(_, role)| role) {
            None => {
                let bad = |error| source.error(self.topic.span(), format!("topics.define.topic: {error}"));
                check_name(name).map_err(bad)?;
            }
            Some(Role::Describe) => {
                let message = format!("topics.define: `{name}` keeps everything, readings refer to it for ever");
                return Err(source.error(self.topic.span(), message).with_help("leave this table out"));
            }
            Some(role) => {
                if let Some(partitions) = &self.partitions {
                    let message = format!("topics.define: the partitions of `{name}` are topics.partitions");
                    return Err(source.error(partitions.span(), message).with_help("leave this key out"));
                }
                let fixed = self.format.as_ref().map(Spanned::span).or(self.compact.as_ref().map(Spanned::span));
                if let (Some(span), true) = (fixed, role != Role::Readings) {
                    let message = format!("topics.define: `{name}` is always Avro and never compacted");
                    return Err(source.error(span, message).with_help("leave this key out"));
                }
            }
        }
        if let Some(partitions) = &self.partitions {
            within(source, "topics.define.partitions", partitions, 1..=MAX_PARTITIONS)?;
        }
        let partitions = *self.partitions.as_ref().unwrap_or(&topics.partitions).get_ref();
        let own = (&self.retention_bytes, &self.retention_age);
        topics.check_retention(source, "topics.define", own, partitions)
    }

    /// Messages are never compacted: the last one of a client is not all that it said.
    fn check_messages(&self, source: &Source, stores: &[Store]) -> Result<(), SettingsError> {
        let name = self.topic.get_ref();
        let is_raw = self.format.as_ref().is_some_and(|format| *format.get_ref() == Format::Raw);
        let holds_messages = is_raw || stores.iter().any(|store| store.name() == name);
        if let Some(format) = self.format.as_ref().filter(|_| is_raw && name == TopicId::READINGS_NAME) {
            let message = format!("topics.define: `{name}` holds readings, which are never raw");
            return Err(source.error(format.span(), message).with_help("leave this key out, or write \"json\""));
        }
        match &self.compact {
            Some(compact) if holds_messages && *compact.get_ref() => {
                let message = format!("topics.define: `{name}` holds messages and is never compacted");
                Err(source.error(compact.span(), message).with_help("leave this key out"))
            }
            _ => Ok(()),
        }
    }

    fn build(&self) -> Defined {
        Defined {
            partitions: self.partitions.as_ref().map(|partitions| *partitions.get_ref()),
            format: self.format.as_ref().map(|format| *format.get_ref()),
            compact: self.compact.as_ref().map(|compact| *compact.get_ref()),
            retention_bytes: self.retention_bytes.as_ref().map(|bytes| bytes.get_ref().0),
            retention_age: self.retention_age.as_ref().map(|age| age.get_ref().0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn refused(text: &str) -> String {
        Config::of(&Source::new("gateway.toml", text)).expect_err(text).to_string()
    }

    #[test]
    fn routes_and_definitions_are_read() {
        let text = "[[topics.route]]\ntopic = \"vibration\"\ndevice = \"pump-*\"\nunit = \"m/s2\"\n\
                    [[topics.define]]\ntopic = \"vibration\"\npartitions = 8\nretention_age = \"30d\"\nformat = \"json\"\n";
        let routing = Config::of(&Source::new("gateway.toml", text)).unwrap().topics.routing(&[]);
        assert_eq!(routing.routes[0].to_string(), "device = pump-*, unit = m/s2");
        let defined = &routing.defined["vibration"];
        assert_eq!((defined.partitions, defined.format, defined.compact), (Some(8), Some(Format::Json), None));
        assert_eq!(defined.retention_age, Some(Period::secs(30 * 86_400).0));
    }

    #[test]
    fn a_mistake_is_shown_at_its_place() {
        let route = "[[topics.route]]\ntopic = \"vibration\"\n";
        assert_eq!(
            refused(&format!("{route}device = \"pump-?\"\n")),
            "gateway.toml:3:16: topics.route.device: `?` has no meaning in a pattern; only `*` has, for any characters or \
             none\n  |\n3 | device = \"pump-?\"\n  |                ^"
        );
        for (text, why) in [
            (format!("{route}unit = \"\"\n"), "an empty pattern matches nothing"),
            ("[[topics.route]]\ntopic = \"weir.loss\"\n".into(), "`weir.loss` is taken"),
            ("[[topics.route]]\ntopic = \"a b\"\n".into(), "got ' ', expected letters"),
            ("[[topics.route]]\ntopic = \"journal\"\n".into(), "`journal` is taken"),
            (format!("{route}colour = \"red\"\n"), "unknown key `colour`"),
            ("[[topics.define]]\ntopic = \"v\"\npartitions = 65\n".into(), "got 65, expected 1 to 64"),
            ("[[topics.define]]\ntopic = \"v\"\nformat = \"xml\"\n".into(), "unknown variant `xml`"),
            ("[[topics.define]]\ntopic = \"readings\"\npartitions = 8\n".into(), "are topics.partitions"),
            ("[[topics.define]]\ntopic = \"weir.loss\"\ncompact = true\n".into(), "never compacted"),
            ("[[topics.define]]\ntopic = \"weir.describe\"\n".into(), "keeps everything"),
            ("[[topics.define]]\ntopic = \"v\"\n[[topics.define]]\ntopic = \"v\"\n".into(), "defined twice"),
            ("[[topics.define]]\ntopic = \"v\"\nretention_bytes = \"1 GiB\"\n".into(), "expected at least 2 GiB"),
        ] {
            assert!(refused(&text).contains(why), "{text}: {}", refused(&text));
        }
        let many: String = (0..MAX_ROUTED + 1).map(|at| format!("[[topics.route]]\ntopic = \"t{at}\"\n")).collect();
        assert!(refused(&many).contains("got 65 of them, expected at most 64"));
        let wide: String = (0..60).map(|at| format!("[[topics.route]]\ntopic = \"t{at}\"\n")).collect();
        assert!(refused(&format!("topics.partitions = 9\n{wide}")).contains("got 576 partitions"));
    }
}

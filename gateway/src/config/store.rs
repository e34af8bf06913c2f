//! The tables `mqtt.store`: which messages of MQTT clients are stored, and in which topic of the log.

use serde::Deserialize;
use weir_protocol::Tenant;
use weir_protocol::settings::{SettingsError, Source, Spanned};

use super::Topics;
use crate::mqtt::topic;
use crate::topics::definition::check_name;
use crate::topics::stores::{self, DEFAULT_TOPIC, MAX_FILTER, MAX_STORES};
use crate::topics::{Format, TopicId};

/// A table `mqtt.store`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// A filter of MQTT topic names.
    pub filter: Spanned<String>,
    /// The only tenant that it is for. Not set: for all of them.
    pub tenant: Option<Spanned<String>>,
    /// The topic of the log.
    pub topic: Option<Spanned<String>>,
}

impl Store {
    /// The name of its topic.
    pub(super) fn name(&self) -> &str {
        self.topic.as_ref().map_or(DEFAULT_TOPIC, |topic| topic.get_ref())
    }

    /// Checks each of `stores`, and that there are not too many.
    pub(super) fn check_all(stores: &[Self], source: &Source, topics: &Topics) -> Result<(), SettingsError> {
        if let Some(over) = stores.get(MAX_STORES) {
            let message = format!("mqtt.store: got {} of them, expected at most {MAX_STORES}", stores.len());
            return Err(source.error(over.filter.span(), message).with_help("let one filter stand for several"));
        }
        stores.iter().try_for_each(|store| store.check(source, topics))
    }

    fn check(&self, source: &Source, topics: &Topics) -> Result<(), SettingsError> {
        let filter = self.filter.get_ref();
        let bad = |why: String| source.error(self.filter.span(), format!("mqtt.store.filter: {why}"));
        if filter.len() > MAX_FILTER {
            return Err(bad(format!("got {} bytes, expected at most {MAX_FILTER}", filter.len())));
        }
        if !topic::is_filter(filter) || topic::is_shared(filter) {
            return Err(bad(format!("{filter:?} is no filter of topics")).with_help(
                "such as \"site/+/temperature\" or \"site/#\": `+` for one level, `#` at the end for all below",
            ));
        }
        if filter.split('/').next() == Some("weir") {
            return Err(bad(format!("{filter:?}: what begins with weir/ is the gateway's own"))
                .with_help("leave this table out: what agents send is stored in any case"));
        }
        if let Some(tenant) = &self.tenant {
            let known = Tenant::new(tenant.get_ref());
            known.map_err(|error| source.error(tenant.span(), format!("mqtt.store.tenant: {error}")))?;
        }
        let name = self.name();
        let span = self.topic.as_ref().map_or(self.filter.span(), Spanned::span);
        let bad = |why: String| source.error(span.clone(), format!("mqtt.store.topic: {why}"));
        check_name(name).map_err(|error| bad(error.to_string()))?;
        let is_routed = topics.route.iter().any(|route| route.topic.get_ref() == name);
        if name == TopicId::READINGS_NAME || is_routed {
            return Err(bad(format!("`{name}` is a topic of readings")).with_help("name another topic for messages"));
        }
        let Some(define) = topics.define.iter().find(|define| define.topic.get_ref() == name) else { return Ok(()) };
        if let Some(format) = define.format.as_ref().filter(|format| *format.get_ref() != Format::Raw) {
            let message = format!("topics.define: `{name}` holds messages as they came, which is format = \"raw\"");
            return Err(source.error(format.span(), message).with_help("leave this key out"));
        }
        Ok(())
    }

    pub(super) fn build(&self) -> stores::Store {
        stores::Store {
            filter: self.filter.get_ref().clone(),
            // It was checked.
            tenant: self.tenant.as_ref().and_then(|tenant| Tenant::new(tenant.get_ref()).ok()),
            topic: self.name().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn load(text: &str) -> Result<Config, SettingsError> {
        Config::of(&Source::new("gateway.toml", text))
    }

    #[test]
    fn stores_are_read() {
        let text = "[[mqtt.store]]\nfilter = \"site/+/alarm\"\ntopic = \"alarms\"\n[[mqtt.store]]\nfilter = \"#\"\n\
                    tenant = \"acme\"\n[[topics.define]]\ntopic = \"alarms\"\npartitions = 2\n";
        let config = load(text).unwrap();
        let routing = config.topics.routing(&config.mqtt.store);
        let told = |at: usize| (routing.stores[at].filter.as_str(), routing.stores[at].topic.as_str());
        assert_eq!((told(0), told(1)), (("site/+/alarm", "alarms"), ("#", "messages")));
        assert_eq!(routing.stores[1].tenant, Tenant::new("acme").ok());
        assert_eq!(routing.defined["alarms"].partitions, Some(2));
    }

    #[test]
    fn a_mistake_is_shown_at_its_place() {
        let store = |filter: &str| format!("[[mqtt.store]]\nfilter = \"{filter}\"\n");
        let (any, own) = (store("#"), store("#") + "topic = \"own\"\n");
        for (text, why) in [
            (store("a/#/b"), "is no filter of topics"),
            (store(""), "is no filter of topics"),
            (store("$share/g/a"), "is no filter of topics"),
            (store("weir/#"), "begins with weir/ is the gateway's own"),
            (store(&"a".repeat(1025)), "got 1025 bytes, expected at most 1024"),
            (any.clone() + "tenant = \"a b\"\n", "mqtt.store.tenant"),
            (any.clone() + "topic = \"weir.loss\"\n", "`weir.loss` is taken"),
            (any.clone() + "topic = \"readings\"\n", "`readings` is a topic of readings"),
            (own.clone() + "[[topics.route]]\ntopic = \"own\"\n", "`own` is a topic of readings"),
            (own.clone() + "[[topics.define]]\ntopic = \"own\"\nformat = \"json\"\n", "format = \"raw\""),
            (own.clone() + "[[topics.define]]\ntopic = \"own\"\ncompact = true\n", "never compacted"),
            (any.clone() + "colour = \"red\"\n", "unknown key `colour`"),
            (any.repeat(65), "got 65 of them, expected at most 64"),
        ] {
            let told = load(&text).expect_err(&text).to_string();
            assert!(told.contains(why), "{text}: {told}");
        }
        let wide: String = (0..60).map(|at| format!("{}topic = \"t{at}\"\n", store("#"))).collect();
        assert!(
            load(&format!("topics.partitions = 9\n{wide}")).unwrap_err().to_string().contains("got 576 partitions")
        );
    }
}

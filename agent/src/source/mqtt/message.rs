//! From a message to readings of devices: which subscription it belongs to, whose it is, what its channels are.

use weir_protocol::DeviceId;

use super::filter;
use super::payload::{Measured, Payload};
use super::settings::TopicConfig;
use super::template::Template;
use crate::source::name;

/// What the settings say of one subscription.
#[derive(Clone, Debug)]
pub(super) struct Subscription {
    filter: String,
    payload: Payload,
    device: Template,
    channel: Option<Template>,
    fields: Vec<String>,
    retained: bool,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Understood {
    /// Whose readings these are.
    pub device: DeviceId,
    /// Channels and values.
    pub values: Vec<(String, Measured)>,
}

impl Subscription {
    /// Of the settings.
    pub(super) fn of(config: &TopicConfig) -> Self {
        Self {
            filter: config.filter.get_ref().clone(),
            payload: config.payload,
            device: config.device.get_ref().clone(),
            channel: config.channel.as_ref().map(|channel| channel.get_ref().clone()),
            fields: config.fields.as_ref().map(|fields| fields.get_ref().clone()).unwrap_or_default(),
            retained: config.retained,
        }
    }

    /// Whether a message with this topic comes from it.
    pub(super) fn matches(&self, topic: &str) -> bool {
        filter::matches(&self.filter, topic)
    }

    /// Whether the broker's memory of a message is a reading.
    pub(super) fn takes_retained(&self) -> bool {
        self.retained
    }

    /// Reads a message.
    ///
    /// # Errors
    /// Why it says nothing.
    pub(super) fn read(&self, topic: &str, payload: &[u8]) -> Result<Understood, String> {
        let device = self.device.fill(topic).and_then(|name| name::device(&name));
        let device =
            device.ok_or_else(|| format!("device {:?} cannot be made of this topic", self.device.to_string()))?;
        let prefix = match &self.channel {
            Some(channel) => channel.fill(topic),
            // Of JSON the fields are names enough.
            None if self.payload == Payload::Json => Some(String::new()),
            None => Some(topic.trim_matches('/').replace('/', ".")),
        };
        let prefix = prefix.ok_or("the channel cannot be made of this topic")?;
        let values = self.payload.read(payload, &self.fields)?;
        let named = values.into_iter().map(|(field, value)| {
            let name = match (prefix.as_str(), field.as_str()) {
                (prefix, "") => prefix.to_owned(),
                ("", field) => field.to_owned(),
                (prefix, field) => format!("{prefix}.{field}"),
            };
            name::channel(&name).map(|name| (name, value)).ok_or_else(|| "a channel without a name".to_owned())
        });
        Ok(Understood { device, values: named.collect::<Result<_, _>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(payload: Payload, device: &str, channel: Option<&str>) -> Subscription {
        let template = |text| Template::parse(text).unwrap();
        Subscription {
            filter: "plant/+/#".to_owned(),
            payload,
            device: template(device),
            channel: channel.map(template),
            fields: Vec::new(),
            retained: false,
        }
    }

    #[test]
    fn a_number_is_named_by_its_topic() {
        let read = subscription(Payload::Number, "boiler", None).read("plant/1/flow", b"12.5").unwrap();
        assert_eq!(read.device.as_str(), "boiler");
        assert_eq!(read.values, [("plant.1.flow".to_owned(), Measured::Double(12.5))]);
        let read = subscription(Payload::Number, "line-{2}", Some("{3}")).read("plant/1/flow", b"12.5").unwrap();
        assert_eq!((read.device.as_str(), read.values[0].0.as_str()), ("line-1", "flow"));
    }

    #[test]
    fn fields_of_json_are_channels() {
        let message = br#"{"temperature":21,"battery":{"level":97}}"#;
        let names = |channel| {
            let read = subscription(Payload::Json, "{2}", channel).read("zigbee/kitchen", message).unwrap();
            read.values.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(names(None), ["battery.level", "temperature"]);
        assert_eq!(names(Some("climate")), ["climate.battery.level", "climate.temperature"]);
    }

    #[test]
    fn a_topic_that_names_no_device_says_nothing() {
        let error = subscription(Payload::Number, "{4}", None).read("plant/1", b"1").unwrap_err();
        assert!(error.contains("{4}"), "{error}");
        assert!(subscription(Payload::Number, "{1}", None).read("/x", b"1").is_err());
    }
}

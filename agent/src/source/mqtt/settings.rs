//! `[[mqtt]]`: a broker on the local network, and what its topics mean.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Deserialize;
use weir_protocol::name::Name;
use weir_protocol::settings::{ByteSize, Period, SettingsError, Source, Spanned};

use super::filter;
use super::payload::Payload;
use super::template::Template;
use crate::config::check::{together, unwritten, within};
use crate::config::{Address, Mqtt};
use crate::source::units::{self, UnitRule};

/// The most brokers.
pub const MAX_BROKERS: usize = 16;
/// The most subscriptions on one broker.
const MAX_TOPICS: usize = 256;
/// The most fields of one subscription.
const MAX_FIELDS: usize = 256;
/// The largest payload that may be allowed.
pub(super) const MOST_PAYLOAD: ByteSize = ByteSize::mib(16);
/// The most devices that may be allowed.
const MOST_DEVICES: u16 = 256;

/// One broker.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MqttConfig {
    /// What it is called here.
    pub name: Spanned<Name>,
    /// Host and port, and whether with TLS.
    pub address: Address,
    /// Which MQTT.
    #[serde(default = "version_5")]
    pub mqtt: Mqtt,
    /// The client id; not set: `weir-`, the agent and the name.
    pub client_id: Option<Spanned<String>>,
    /// How long the broker keeps what comes while the agent is away; 0: not at all.
    #[serde(default = "a_day")]
    pub session: Spanned<Period>,
    /// 1: a message is acknowledged once it is on disk here; 0: it may get lost.
    #[serde(default = "at_least_once")]
    pub qos: Spanned<u8>,
    /// The authority that the broker is recognised by, a PEM file.
    pub ca: Option<Spanned<PathBuf>>,
    /// The certificate that is shown, a PEM file.
    pub certificate: Option<Spanned<PathBuf>>,
    /// Its key, a PEM file.
    pub key: Option<Spanned<PathBuf>>,
    /// A user of the broker.
    pub username: Option<Spanned<String>>,
    /// A file whose first line is the password.
    pub password_file: Option<Spanned<PathBuf>>,
    /// Time between two pings.
    #[serde(default = "keep_alive")]
    pub keep_alive: Spanned<Period>,
    /// The largest payload that is read.
    #[serde(default = "max_payload")]
    pub max_payload: Spanned<ByteSize>,
    /// The most devices.
    #[serde(default = "max_devices")]
    pub max_devices: Spanned<u16>,
    /// Readings of each device kept in memory while the queue takes none.
    #[serde(default = "ring")]
    pub ring: Spanned<u32>,
    /// Subscriptions.
    pub topic: Spanned<Vec<TopicConfig>>,
    /// Units.
    #[serde(default)]
    pub unit: Vec<UnitRule>,
}

/// One subscription.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicConfig {
    /// The topics.
    pub filter: Spanned<String>,
    /// What they hold.
    pub payload: Payload,
    /// Whose readings they are.
    pub device: Spanned<Template>,
    /// What the channel is called; of JSON, what stands before the field.
    #[serde(default)]
    pub channel: Option<Spanned<Template>>,
    /// Of JSON: the fields that are read. Not set: every number and switch.
    #[serde(default)]
    pub fields: Option<Spanned<Vec<String>>>,
    /// Whether a retained message is a reading.
    #[serde(default)]
    pub retained: bool,
}

const fn version_5() -> Mqtt {
    Mqtt::V5
}

fn a_day() -> Spanned<Period> {
    unwritten(Period::secs(86_400))
}

fn at_least_once() -> Spanned<u8> {
    unwritten(1)
}

fn keep_alive() -> Spanned<Period> {
    unwritten(Period::secs(30))
}

fn max_payload() -> Spanned<ByteSize> {
    unwritten(ByteSize::kib(64))
}

fn max_devices() -> Spanned<u16> {
    unwritten(64)
}

fn ring() -> Spanned<u32> {
    unwritten(1024)
}

/// Checks all brokers.
pub fn check(brokers: &[MqttConfig], source: &Source) -> Result<(), SettingsError> {
    let mut names = BTreeSet::new();
    for (at, broker) in brokers.iter().enumerate() {
        if at == MAX_BROKERS {
            let message = format!("got {} brokers, expected at most {MAX_BROKERS}", brokers.len());
            return Err(source.error(broker.name.span(), message));
        }
        let name = broker.name.get_ref();
        if !names.insert(name.as_str()) {
            return Err(source.error(broker.name.span(), format!("{:?} is there twice", name.as_str())));
        }
        broker.check(source)?;
    }
    Ok(())
}

impl MqttConfig {
    fn check(&self, source: &Source) -> Result<(), SettingsError> {
        let refuse = |at: core::ops::Range<usize>, message: String| Err(source.error(at, message));
        if let Some(id) = self.client_id.as_ref().filter(|id| id.get_ref().is_empty() || id.get_ref().len() > 128) {
            return refuse(id.span(), "expected 1 to 128 bytes".to_owned());
        }
        if *self.qos.get_ref() > 1 {
            let message = format!("got {}, expected 0 or 1", self.qos.get_ref());
            return Err(source.error(self.qos.span(), message).with_help("1 is acknowledged after the disk has it"));
        }
        // MQTT counts both in seconds, and rumqttc refuses shorter pings.
        let session = self.session.get_ref();
        if session.0.as_secs() > u64::from(u32::MAX) {
            return refuse(self.session.span(), format!("got {session}, expected 0s to {}s", u32::MAX));
        }
        within(source, &self.keep_alive, Period::secs(5)..=Period::secs(65_535), "")?;
        within(source, &self.max_payload, ByteSize(1)..=MOST_PAYLOAD, "")?;
        within(source, &self.max_devices, 1..=MOST_DEVICES, "devices")?;
        within(source, &self.ring, 256..=1 << 20, "readings")?;
        self.check_credentials(source)?;
        let topics = self.topic.get_ref();
        if topics.is_empty() || topics.len() > MAX_TOPICS {
            let message = format!("got {} subscriptions, expected 1 to {MAX_TOPICS}", topics.len());
            return refuse(self.topic.span(), message);
        }
        topics.iter().try_for_each(|topic| topic.check(source))?;
        units::check(&self.unit, source)
    }

    fn check_credentials(&self, source: &Source) -> Result<(), SettingsError> {
        together(source, ("certificate", &self.certificate), ("key", &self.key))?;
        together(source, ("username", &self.username), ("password_file", &self.password_file))?;
        match self.ca.as_ref().or(self.certificate.as_ref()) {
            Some(at) if !self.address.tls => {
                let host = &self.address.host;
                Err(source
                    .error(at.span(), "this is for TLS, and the address is without")
                    .with_help(format!("set address = \"mqtts://{host}:8883\"")))
            }
            None if self.address.tls => Err(source
                .error(self.name.span(), "TLS needs the authority that this broker is recognised by")
                .with_help("set ca = \"/etc/weir/broker-ca.pem\"")),
            _ => Ok(()),
        }
    }
}

impl TopicConfig {
    fn check(&self, source: &Source) -> Result<(), SettingsError> {
        let filter = self.filter.get_ref();
        if let Some(fault) = filter::fault(filter) {
            return Err(source.error(self.filter.span(), format!("got {filter:?}")).with_help(fault));
        }
        if self.device.get_ref().to_string().is_empty() {
            return Err(source
                .error(self.device.span(), "got an empty name")
                .with_help("write a name, or a level of the topic such as \"{2}\""));
        }
        if let Some(channel) = self.channel.as_ref().filter(|channel| channel.get_ref().to_string().is_empty())
            && self.payload != Payload::Json
        {
            return Err(
                source.error(channel.span(), "got an empty name, which only fields of JSON may have before them")
            );
        }
        match &self.fields {
            Some(fields) if self.payload != Payload::Json => {
                Err(source.error(fields.span(), "`fields` is for payload = \"json\""))
            }
            Some(fields) if fields.get_ref().is_empty() || fields.get_ref().len() > MAX_FIELDS => {
                let message = format!("got {} fields, expected 1 to {MAX_FIELDS}", fields.get_ref().len());
                Err(source.error(fields.span(), message))
            }
            _ => Ok(()),
        }
    }
}

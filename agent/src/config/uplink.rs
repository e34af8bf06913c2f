//! The way to the gateway: where it is, who the agent is to it, and how much goes at once.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, de};
use weir_protocol::batch::MAX_PAYLOAD;
use weir_protocol::settings::{ByteSize, Period, SettingsError, Source, Spanned};

use super::address::Addresses;
use super::check::together;
use super::{Address, BudgetConfig, Proxy, at_least, unwritten};

/// The most gateways.
const MAX_GATEWAYS: usize = 8;

/// The least `backlog_rate`, in bytes a second: slower than this nothing is ever caught up.
const MIN_BACKLOG_RATE: u64 = 64;

/// The way to the gateway.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UplinkConfig {
    /// Where the gateways are, the preferred one first. Not set: on this machine, unless `gateway` says more.
    pub address: Option<Spanned<Addresses>>,
    /// Gateways with settings of their own, behind those of `address`.
    pub gateway: Vec<GatewayConfig>,
    /// The HTTP proxy that connections are made through.
    pub proxy: Option<Spanned<Proxy>>,
    /// The authority that the gateway is recognised by, a PEM file. Not set: that of the enrolment.
    pub ca: Option<Spanned<PathBuf>>,
    /// The certificate that is shown, a PEM file. Not set: that of the enrolment.
    pub certificate: Option<Spanned<PathBuf>>,
    /// Its key, a PEM file.
    pub key: Option<Spanned<PathBuf>>,
    /// A user of the gateway, where there is no certificate.
    pub username: Option<Spanned<String>>,
    /// A file whose first line is the password.
    pub password_file: Option<Spanned<PathBuf>>,
    /// Which MQTT.
    pub mqtt: Mqtt,
    /// The most publishes in flight.
    pub window: Spanned<u16>,
    /// A batch is sent at this size.
    pub batch_bytes: Spanned<ByteSize>,
    /// A batch is sent at this age.
    pub batch_interval: Period,
    /// Whether batches are compressed with zstd.
    pub compress: bool,
    /// Nothing acknowledged for this long although something is in flight: the connection is dropped.
    pub ack_timeout: Spanned<Period>,
    /// Nothing acknowledged for this long on connections that stood, although there was something to send: the next
    /// connection, and then the next gateway.
    pub progress_timeout: Spanned<Period>,
    /// So many failures in a row open the breaker of a gateway.
    pub breaker_failures: Spanned<u32>,
    /// How long after it was left the preferred gateway is tried again.
    pub return_after: Spanned<Period>,
    /// What may be sent in a day, and when.
    pub budget: BudgetConfig,
    /// Time between two pings.
    pub keep_alive: Spanned<Period>,
    /// Time between two status messages.
    pub status_interval: Spanned<Period>,
    /// Time between two rounds of positions.
    pub position_interval: Spanned<Period>,
    /// The most bytes a second of what waited longer. Not set: as fast as the link.
    pub backlog_rate: Option<Spanned<ByteSize>>,
    /// The longest wait before what waited longer goes, on each connection.
    pub backlog_delay: Period,
    /// The shortest wait between two connections.
    pub backoff_min: Spanned<Period>,
    /// The longest wait between two connections.
    pub backoff_max: Spanned<Period>,
}

/// A gateway with settings of its own. What it does not say it has from [`UplinkConfig`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayConfig {
    /// Where it is.
    pub address: Spanned<Address>,
    /// The authority that it is recognised by.
    pub ca: Option<Spanned<PathBuf>>,
    /// The certificate that it is shown.
    pub certificate: Option<Spanned<PathBuf>>,
    /// Its key.
    pub key: Option<Spanned<PathBuf>>,
    /// A user of it.
    pub username: Option<Spanned<String>>,
    /// A file whose first line is the password.
    pub password_file: Option<Spanned<PathBuf>>,
    /// Which MQTT it is spoken to with.
    pub mqtt: Option<Mqtt>,
    /// The HTTP proxy on the way to it.
    pub proxy: Option<Spanned<Proxy>>,
}

/// Which MQTT to speak: `"5"`, also without quotes, as a variable of the environment has it, or `"3.1.1"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mqtt {
    /// 3.1.1
    V3,
    /// 5
    V5,
}

impl<'de> Deserialize<'de> for Mqtt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Text(String),
            Number(i64),
        }
        let refused = |got: String| de::Error::custom(format!("got {got}, expected \"5\" or \"3.1.1\""));
        match Written::deserialize(deserializer) {
            Ok(Written::Number(5)) => Ok(Self::V5),
            Ok(Written::Text(text)) if text == "5" => Ok(Self::V5),
            Ok(Written::Text(text)) if text == "3.1.1" => Ok(Self::V3),
            Ok(Written::Number(number)) => Err(refused(number.to_string())),
            Ok(Written::Text(text)) => Err(refused(format!("{text:?}"))),
            Err(_) => Err(refused("something else".to_owned())),
        }
    }
}

impl Default for UplinkConfig {
    fn default() -> Self {
        Self {
            address: None,
            gateway: Vec::new(),
            proxy: None,
            ca: None,
            certificate: None,
            key: None,
            username: None,
            password_file: None,
            mqtt: Mqtt::V5,
            window: unwritten(16),
            batch_bytes: unwritten(ByteSize::kib(64)),
            batch_interval: Period::millis(200),
            compress: true,
            ack_timeout: unwritten(Period::secs(10)),
            progress_timeout: unwritten(Period::secs(60)),
            breaker_failures: unwritten(3),
            return_after: unwritten(Period::secs(600)),
            budget: BudgetConfig::default(),
            keep_alive: unwritten(Period::secs(30)),
            status_interval: unwritten(Period::secs(30)),
            position_interval: unwritten(Period::secs(60)),
            backlog_rate: None,
            backlog_delay: Period::secs(5),
            backoff_min: unwritten(Period::millis(500)),
            backoff_max: unwritten(Period::secs(30)),
        }
    }
}

impl UplinkConfig {
    pub(super) fn check(&self, source: &Source) -> Result<(), SettingsError> {
        let least = |period, least| at_least(source, period, least);
        least(&self.ack_timeout, Period::millis(100))?;
        least(&self.status_interval, Period::millis(100))?;
        least(&self.position_interval, Period::millis(100))?;
        least(&self.backoff_min, Period::millis(1))?;
        least(&self.backoff_max, *self.backoff_min.get_ref())?;
        // Below this rumqttc refuses.
        least(&self.keep_alive, Period::secs(5))?;
        least(&self.progress_timeout, Period::secs(1))?;
        least(&self.return_after, Period::secs(1))?;
        let failures = self.breaker_failures.get_ref();
        if !(1..=100).contains(failures) {
            return Err(source.error(self.breaker_failures.span(), format!("got {failures}, expected 1 to 100")));
        }
        self.check_gateways(source)?;
        let window = self.window.get_ref();
        // One batch and one description: the batch may be waiting for it.
        if !(2..=1024).contains(window) {
            return Err(source.error(self.window.span(), format!("got {window}, expected 2 to 1024")));
        }
        if let Some(rate) = self.backlog_rate.as_ref().filter(|rate| rate.get_ref().0 < MIN_BACKLOG_RATE) {
            let message = format!("got {}, expected {} or more", rate.get_ref(), ByteSize(MIN_BACKLOG_RATE));
            return Err(source.error(rate.span(), message));
        }
        let batch = self.batch_bytes.get_ref();
        // A batch grows past this by at most one record.
        let most = ByteSize(MAX_PAYLOAD as u64 / 2);
        if batch.0 == 0 || *batch > most {
            let message = format!("got {batch}, expected 1 B to {most}");
            return Err(source.error(self.batch_bytes.span(), message));
        }
        Ok(())
    }

    /// Every gateway with all that it has, in the order in which they are preferred.
    pub fn gateways(&self) -> Vec<GatewayConfig> {
        let addresses: Vec<_> = match &self.address {
            Some(set) => set.get_ref().0.iter().map(|address| Spanned::new(set.span(), address.clone())).collect(),
            None if self.gateway.is_empty() => vec![unwritten(Address::default())],
            None => Vec::new(),
        };
        let listed = addresses.into_iter().map(GatewayConfig::at);
        listed.chain(self.gateway.iter().cloned()).map(|gateway| gateway.or(self)).collect()
    }

    fn check_gateways(&self, source: &Source) -> Result<(), SettingsError> {
        self.check_pairs(source)?;
        let gateways = self.gateways();
        let span = || self.address.as_ref().map_or(0..0, Spanned::span);
        if gateways.is_empty() || gateways.len() > MAX_GATEWAYS {
            let message = format!("got {} gateways, expected 1 to {MAX_GATEWAYS}", gateways.len());
            return Err(source.error(gateways.last().map_or(span(), |last| last.address.span()), message));
        }
        for (at, gateway) in gateways.iter().enumerate() {
            gateway.check(source)?;
            let address = gateway.address.get_ref();
            if gateways[..at].iter().any(|other| other.address.get_ref() == address) {
                let message = format!("{address} is there twice");
                return Err(source.error(gateway.address.span(), message).with_help("remove one"));
            }
        }
        // One of a list may well be without TLS.
        let of_tls = self.ca.as_ref().or(self.certificate.as_ref());
        if let (Some(at), false) = (of_tls, gateways.iter().any(|gateway| gateway.address.get_ref().tls)) {
            let host = &gateways[0].address.get_ref().host;
            return Err(source
                .error(at.span(), "uplink.ca and uplink.certificate are for TLS, and uplink.address is without")
                .with_help(format!("set uplink.address = \"mqtts://{host}:8883\"")));
        }
        Ok(())
    }

    fn check_pairs(&self, source: &Source) -> Result<(), SettingsError> {
        together(source, ("uplink.certificate", &self.certificate), ("uplink.key", &self.key))?;
        together(source, ("uplink.username", &self.username), ("uplink.password_file", &self.password_file))
    }
}

impl GatewayConfig {
    fn at(address: Spanned<Address>) -> Self {
        let (ca, certificate, key, username, password_file) = (None, None, None, None, None);
        Self { address, ca, certificate, key, username, password_file, mqtt: None, proxy: None }
    }

    /// With what `uplink` says where this says nothing. Certificate and key, and user and password, go together.
    fn or(mut self, uplink: &UplinkConfig) -> Self {
        self.ca = self.ca.or_else(|| uplink.ca.clone());
        if self.certificate.is_none() && self.key.is_none() {
            (self.certificate, self.key) = (uplink.certificate.clone(), uplink.key.clone());
        }
        if self.username.is_none() && self.password_file.is_none() {
            (self.username, self.password_file) = (uplink.username.clone(), uplink.password_file.clone());
        }
        self.mqtt = self.mqtt.or(Some(uplink.mqtt));
        self.proxy = self.proxy.or_else(|| uplink.proxy.clone());
        self
    }

    fn check(&self, source: &Source) -> Result<(), SettingsError> {
        together(source, ("certificate", &self.certificate), ("key", &self.key))?;
        together(source, ("username", &self.username), ("password_file", &self.password_file))?;
        let address = self.address.get_ref();
        if self.proxy.is_some() && address.is_ipv6() && (address.tls || address.websocket.is_some()) {
            let message = "through a proxy the gateway needs a name or an address of IPv4";
            return Err(source.error(self.address.span(), message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mqtt_5_is_understood_with_and_without_quotes() {
        #[derive(Debug, Deserialize)]
        struct Settings {
            mqtt: Mqtt,
        }
        let read = |text: &str| Source::new("agent.toml", text).parse::<Settings>().map(|settings| settings.mqtt);
        assert_eq!(read("mqtt = 5").ok(), Some(Mqtt::V5));
        assert_eq!(read("mqtt = \"5\"").ok(), Some(Mqtt::V5));
        assert_eq!(read("mqtt = \"3.1.1\"").ok(), Some(Mqtt::V3));
        let error = read("mqtt = 4").expect_err("there is no such version").to_string();
        assert!(error.contains("got 4, expected \"5\" or \"3.1.1\""), "{error}");
    }
}

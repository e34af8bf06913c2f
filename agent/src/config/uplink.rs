//! The way to the gateway: where it is, who the agent is to it, and how much goes at once.

use std::path::PathBuf;

use serde::Deserialize;
use weir_protocol::batch::MAX_PAYLOAD;
use weir_protocol::settings::{ByteSize, Period, SettingsError, Source, Spanned};

use super::{Address, at_least, unwritten};

/// The least `backlog_rate`, in bytes a second: slower than this nothing is ever caught up.
const MIN_BACKLOG_RATE: u64 = 64;

/// The way to the gateway.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UplinkConfig {
    /// Host and port, and whether with TLS.
    pub address: Address,
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

/// Which MQTT to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Mqtt {
    /// 3.1.1
    #[serde(rename = "3.1.1")]
    V3,
    /// 5
    #[serde(rename = "5")]
    V5,
}

impl Default for UplinkConfig {
    fn default() -> Self {
        Self {
            address: Address::default(),
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
        self.check_credentials(source)?;
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

    fn check_credentials(&self, source: &Source) -> Result<(), SettingsError> {
        let alone = |at: std::ops::Range<usize>, which: &str, other: &str| {
            Err(source.error(at, format!("{which} comes together with {other}")).with_help(format!("set {other}, too")))
        };
        match (&self.certificate, &self.key) {
            (Some(certificate), None) => return alone(certificate.span(), "uplink.certificate", "uplink.key"),
            (None, Some(key)) => return alone(key.span(), "uplink.key", "uplink.certificate"),
            _ => (),
        }
        match (&self.username, &self.password_file) {
            (Some(username), None) => return alone(username.span(), "uplink.username", "uplink.password_file"),
            (None, Some(file)) => return alone(file.span(), "uplink.password_file", "uplink.username"),
            _ => (),
        }
        let of_tls = self.ca.as_ref().or(self.certificate.as_ref());
        match of_tls.filter(|_| !self.address.tls) {
            Some(at) => Err(source
                .error(at.span(), "uplink.ca and uplink.certificate are for TLS, and uplink.address is without")
                .with_help(format!("set uplink.address = \"mqtts://{}:8883\"", self.address.host))),
            None => Ok(()),
        }
    }
}

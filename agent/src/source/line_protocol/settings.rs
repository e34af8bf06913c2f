//! `[line_protocol]`: a port for senders of InfluxDB line protocol, such as Telegraf.

use std::path::PathBuf;

use serde::Deserialize;
use weir_protocol::DeviceId;
use weir_protocol::settings::{ByteSize, Period, SettingsError, Source, Spanned};

use crate::config::check::{together, unwritten, within};
use crate::http::Address;
use crate::source::units::{self, UnitRule};

/// The largest body that may be allowed.
const MOST_BODY: ByteSize = ByteSize::mib(32);
/// The most connections that may be allowed.
const MOST_CONNECTIONS: u16 = 256;
/// The most devices that may be allowed.
const MOST_DEVICES: u16 = 256;

/// The port.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LineProtocolConfig {
    /// Where it listens.
    pub listen: Spanned<Address>,
    /// Whether another address than that of this machine is meant so, without TLS or a token.
    pub insecure: bool,
    /// The certificate of the port, a PEM file.
    pub certificate: Option<Spanned<PathBuf>>,
    /// Its key, a PEM file.
    pub key: Option<Spanned<PathBuf>>,
    /// A file whose first line senders must show.
    pub token_file: Option<PathBuf>,
    /// The tag that names the device.
    pub device_tag: String,
    /// The device of lines without that tag.
    pub device: Option<DeviceId>,
    /// Whether senders have synchronised clocks of their own: what they say of the time then holds whatever the clock
    /// of this machine is worth.
    pub trust_time: bool,
    /// The tags that belong to the name of a channel; not set: all.
    pub tags: Option<Vec<String>>,
    /// The most devices.
    pub max_devices: Spanned<u16>,
    /// The largest body, unpacked.
    pub body: Spanned<ByteSize>,
    /// The most connections at a time.
    pub connections: Spanned<u16>,
    /// Readings of each device kept in memory while the queue takes none.
    pub ring: Spanned<u32>,
    /// How long a push may wait for room and for the disk.
    pub wait: Spanned<Period>,
    /// Units.
    pub unit: Vec<UnitRule>,
}

impl Default for LineProtocolConfig {
    fn default() -> Self {
        Self {
            listen: unwritten(Address::Tcp(([127, 0, 0, 1], 8086).into())),
            insecure: false,
            certificate: None,
            key: None,
            token_file: None,
            device_tag: "host".to_owned(),
            device: None,
            trust_time: false,
            tags: None,
            max_devices: unwritten(32),
            body: unwritten(ByteSize::mib(2)),
            connections: unwritten(8),
            ring: unwritten(4096),
            // Telegraf hangs up after 5 s.
            wait: unwritten(Period::secs(4)),
            unit: Vec::new(),
        }
    }
}

impl LineProtocolConfig {
    /// Checks what one key alone cannot say.
    pub fn check(&self, source: &Source) -> Result<(), SettingsError> {
        let listen = self.listen.get_ref();
        together(source, ("certificate", &self.certificate), ("key", &self.key))?;
        if !listen.is_local() && !self.insecure {
            let missing = match (&self.certificate, &self.token_file) {
                (None, _) => "this port has no TLS",
                (Some(_), None) => "nobody has to show a token",
                (Some(_), Some(_)) => "",
            };
            if !missing.is_empty() {
                let message = format!("{listen} can be reached from other machines, and {missing}");
                let help = "set certificate, key and token_file, or listen on 127.0.0.1, or write insecure = true";
                return Err(source.error(self.listen.span(), message).with_help(help));
            }
        }
        within(source, &self.body, ByteSize::kib(1)..=MOST_BODY, "")?;
        within(source, &self.connections, 1..=MOST_CONNECTIONS, "connections")?;
        within(source, &self.max_devices, 1..=MOST_DEVICES, "devices")?;
        within(source, &self.ring, 256..=1 << 20, "readings")?;
        within(source, &self.wait, Period::millis(10)..=Period::secs(60), "")?;
        units::check(&self.unit, source)
    }
}

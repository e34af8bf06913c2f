//! What a person may set, with every default.
//!
//! Loading changes nothing on disk. A mistake is one message with file, line, column and caret
//! ([`weir_protocol::settings`]). Each key can be overridden by a variable: `mqtt.listen` by
//! `WEIR_GATEWAY_MQTT__LISTEN`. The table of keys is in `gateway/README.md`; `deploy/gateway.toml` is a
//! complete sample.

mod access;
mod groups;
mod kafka;
mod sessions;
mod store;
mod subscriptions;
mod tls;
mod topics;

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use crate::front::destination::MAX_TOPIC;
use crate::schemas::evolution::Compatibility;
use serde::Deserialize;
use weir_protocol::settings::{ByteSize, Period, SettingsError, Source, Spanned};

pub use access::Access;
pub use groups::Groups;
pub use kafka::{HostPort, Kafka};
pub use store::Store;
pub use tls::{Ca, Tls};
pub use topics::{Define, Route, Topics};

/// Where the settings file is if nobody says otherwise; it may be missing, then all keys have their defaults.
pub const DEFAULT_PATH: &str = "/etc/weir/gateway.toml";
/// What the names of overriding variables start with.
pub const ENV_PREFIX: &str = "WEIR_GATEWAY_";

/// Everything that can be set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where it was read from, to read it again; `None` of one that was made in memory.
    #[serde(skip)]
    pub origin: Option<Origin>,
    /// The directory of the topic logs; made at the first start.
    pub data: PathBuf,
    /// Allows listening on other than loopback addresses without TLS and authentication.
    pub insecure: bool,
    /// How long a stop may take before what is in flight is dropped, unacknowledged.
    pub drain: Spanned<Period>,
    /// The certificate of the gateway, and whose clients it believes.
    pub tls: Tls,
    /// Who may come, and which topics clients may use.
    pub access: Access,
    /// The gateway's own authority.
    pub ca: Ca,
    /// The MQTT port.
    pub mqtt: Mqtt,
    /// The HTTP port.
    pub http: Http,
    /// The Kafka port.
    pub kafka: Kafka,
    /// Groups of consumers.
    pub groups: Groups,
    /// The topic logs.
    pub topics: Topics,
    /// How what devices measure may change.
    pub schemas: Schemas,
    /// Bounds of what is remembered.
    pub limits: Limits,
}

/// Where settings come from.
#[derive(Clone, Debug)]
pub struct Origin {
    path: Option<PathBuf>,
    variables: Vec<(String, String)>,
}

/// The table `mqtt`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mqtt {
    /// Where to listen.
    pub listen: Spanned<SocketAddr>,
    /// Where to listen with TLS; 8883 is the usual port. Not set: nowhere.
    pub tls_listen: Option<Spanned<SocketAddr>>,
    /// The most sessions at a time; one more is refused.
    pub connections: Spanned<u32>,
    /// The most sockets that have not said CONNECT; one more sends the oldest of them away.
    pub lobby: Spanned<u32>,
    /// The most of them from one address.
    pub lobby_per_address: Spanned<u32>,
    /// How long a new connection may take to say CONNECT.
    pub connect_timeout: Spanned<Period>,
    /// How many QoS 1 messages one connection may have unacknowledged.
    pub receive_maximum: Spanned<u16>,
    /// How many payload bytes one connection may have in flight before it is no longer read.
    pub connection_budget: Spanned<ByteSize>,
    /// What the read buffers of all connections may take together; beyond it they wait.
    pub buffers: Spanned<ByteSize>,
    /// The most sessions that outlive their connection; one more is refused.
    pub sessions: Spanned<u32>,
    /// What one of them may take with its subscriptions and its will.
    pub session_bytes: Spanned<ByteSize>,
    /// What all of them may take.
    pub sessions_bytes: Spanned<ByteSize>,
    /// The longest that a session outlives its connection. Not set: as long as the client wants.
    pub session_expiry: Option<Spanned<Period>>,
    /// The most retained messages; one more is refused.
    pub retained: Spanned<u32>,
    /// What they may take.
    pub retained_bytes: Spanned<ByteSize>,
    /// What messages may take that some live subscriber has yet to get; beyond it the oldest go.
    pub live_buffer: Spanned<ByteSize>,
    /// CONNECTs of one address, a second; more are refused. 0: any number.
    pub connects_per_address: Spanned<u32>,
    /// CONNECTs of one client, a second; more are refused. 0: any number.
    pub connects_per_client: Spanned<u32>,
    /// Messages of one client, a second; beyond it the client is not read. 0: any number.
    pub publishes_per_client: Spanned<u32>,
    /// Bytes of them, a second; beyond it the client is not read. 0: any number.
    pub publish_bytes_per_client: Spanned<ByteSize>,
    /// Which messages are stored, and where; the first that matches wins.
    pub store: Vec<Store>,
    /// The most subscriptions of one client.
    pub subscriptions: Spanned<u32>,
    /// Reads of the log at a time for sessions that catch up.
    pub catch_ups: Spanned<u32>,
    /// The most levels of a topic, and of a filter.
    pub topic_levels: Spanned<u32>,
    /// The longest topic, in bytes.
    pub topic_bytes: Spanned<u32>,
    /// The most that a message may carry beside topic and payload, in bytes.
    pub property_bytes: Spanned<u32>,
}

/// The table `http`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Where to listen.
    pub listen: Spanned<SocketAddr>,
    /// Whether that port speaks TLS.
    pub tls: Spanned<bool>,
    /// The most connections that have sent a request; one more is answered 503.
    pub connections: Spanned<u32>,
    /// The most of them from one address.
    pub connections_per_address: Spanned<u32>,
    /// The most sockets that have not sent a request; one more sends the oldest of them away.
    pub lobby: Spanned<u32>,
    /// The most of them from one address.
    pub lobby_per_address: Spanned<u32>,
    /// How long a request may take to send its headers.
    pub header_timeout: Spanned<Period>,
    /// Origins of the pages that may open MQTT over WebSocket; none: those that this address serves. `*`: all.
    pub websocket_origins: Vec<Spanned<String>>,
    /// Whether `/metrics` is shown without a token.
    pub open_metrics: Spanned<bool>,
}

/// The table `schemas`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Schemas {
    /// Whether changes of channels are judged.
    pub compatibility: Compatibility,
}

/// The table `limits`: what is over a bound is refused, never forgotten.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Devices in all.
    pub devices: Spanned<u32>,
    /// Restarts of one device.
    pub restarts_per_device: Spanned<u32>,
    /// Restarts of all devices together.
    pub restarts: Spanned<u32>,
    /// What is stored, dead-lettered and lost of one restart, in units of 16 bytes: see [`weir_protocol::RangeSet::cost`].
    pub ranges_per_restart: Spanned<u32>,
    /// Schemas of one device.
    pub schemas_per_device: Spanned<u32>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            origin: None,
            data: PathBuf::from("/var/lib/weir/gateway"),
            insecure: false,
            drain: unset(Period::secs(10)),
            tls: Tls::default(),
            access: Access::default(),
            ca: Ca::default(),
            mqtt: Mqtt::default(),
            http: Http::default(),
            kafka: Kafka::default(),
            groups: Groups::default(),
            topics: Topics::default(),
            schemas: Schemas::default(),
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            devices: unset(1_000_000),
            restarts_per_device: unset(4096),
            restarts: unset(4_000_000),
            ranges_per_restart: unset(65_536),
            schemas_per_device: unset(256),
        }
    }
}

impl Default for Mqtt {
    fn default() -> Self {
        Self {
            listen: unset(SocketAddr::from((Ipv4Addr::LOCALHOST, 1883))),
            tls_listen: None,
            connections: unset(10_000),
            lobby: unset(2000),
            lobby_per_address: unset(500),
            connect_timeout: unset(Period::secs(10)),
            receive_maximum: unset(100),
            connection_budget: unset(ByteSize::mib(4)),
            buffers: unset(ByteSize::mib(128)),
            sessions: unset(100_000),
            session_bytes: unset(ByteSize(256 << 10)),
            sessions_bytes: unset(ByteSize::mib(512)),
            session_expiry: None,
            retained: unset(100_000),
            retained_bytes: unset(ByteSize::mib(64)),
            live_buffer: unset(ByteSize::mib(64)),
            connects_per_address: unset(2000),
            connects_per_client: unset(10),
            publishes_per_client: unset(200_000),
            publish_bytes_per_client: unset(ByteSize::mib(256)),
            store: Vec::new(),
            subscriptions: unset(256),
            catch_ups: unset(4),
            topic_levels: unset(32),
            topic_bytes: unset(1024),
            property_bytes: unset(4096),
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: unset(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))),
            tls: unset(false),
            connections: unset(256),
            connections_per_address: unset(128),
            lobby: unset(1000),
            lobby_per_address: unset(250),
            header_timeout: unset(Period::secs(10)),
            websocket_origins: Vec::new(),
            open_metrics: unset(false),
        }
    }
}

/// A default stands nowhere in a file.
fn unset<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

impl Config {
    /// Reads the file, or the defaults if none is named and there is none at [`DEFAULT_PATH`], and the
    /// variables over it, and checks what each value may be.
    pub fn load(
        path: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        Self::of(&source(path, variables)?)
    }

    /// The same, and checks the files that the settings name: for who is going to use them. The other commands may run
    /// as somebody who cannot read a key.
    pub fn load_with_files(
        path: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let origin = Origin { path: path.map(Path::to_owned), variables: variables.into_iter().collect() };
        let source = source(path, origin.variables.clone())?;
        let config = Self::of(&source)?;
        config.check_tls_files(&source)?;
        Ok(Self { origin: Some(origin), ..config })
    }

    /// Reads and checks the same file again, with the same variables over it; `None` if there is none.
    pub fn read_again(&self) -> Option<Result<Self, SettingsError>> {
        let Origin { path, variables } = self.origin.as_ref()?;
        Some(Self::load_with_files(path.as_deref(), variables.clone()))
    }

    /// Reads and checks settings.
    pub fn of(source: &Source) -> Result<Self, SettingsError> {
        let config: Self = source.parse()?;
        config.check(source)?;
        Ok(config)
    }

    fn check(&self, source: &Source) -> Result<(), SettingsError> {
        self.tls.check(source)?;
        self.access.check(source, self)?;
        self.ca.check(source)?;
        let (mqtt, http) = (&self.mqtt, &self.http);
        within(source, "mqtt.connections", &mqtt.connections, 1..=1_000_000)?;
        within(source, "mqtt.lobby", &mqtt.lobby, 1..=100_000)?;
        within(source, "mqtt.lobby_per_address", &mqtt.lobby_per_address, 1..=100_000)?;
        // A packet of the largest size fits, whatever else is there.
        within(source, "mqtt.buffers", &mqtt.buffers, ByteSize::mib(4)..=ByteSize::mib(64 * 1024))?;
        within(source, "mqtt.live_buffer", &mqtt.live_buffer, ByteSize::mib(1)..=ByteSize::mib(64 * 1024))?;
        // One batch and one description: the batch may be waiting for it.
        for (key, rate) in [
            ("mqtt.connects_per_address", &mqtt.connects_per_address),
            ("mqtt.connects_per_client", &mqtt.connects_per_client),
            ("mqtt.publishes_per_client", &mqtt.publishes_per_client),
        ] {
            within(source, key, rate, 0..=1_000_000_000)?;
        }
        within(source, "mqtt.receive_maximum", &mqtt.receive_maximum, 2..=u16::MAX)?;
        within(source, "mqtt.connect_timeout", &mqtt.connect_timeout, Period::millis(100)..=Period::secs(600))?;
        // An agent has up to 1.5 MiB of batches in flight, and the description that they wait for comes behind them.
        within(source, "mqtt.connection_budget", &mqtt.connection_budget, ByteSize::mib(2)..=ByteSize::mib(1024))?;
        mqtt.check_sessions(source)?;
        mqtt.check_subscriptions(source)?;
        within(source, "mqtt.topic_levels", &mqtt.topic_levels, 4..=128)?;
        // The longest of Weir's own fit, whatever the names in them.
        within(source, "mqtt.topic_bytes", &mqtt.topic_bytes, 256..=MAX_TOPIC as u32)?;
        within(source, "mqtt.property_bytes", &mqtt.property_bytes, 64..=65_536)?;
        within(source, "http.connections", &http.connections, 1..=100_000)?;
        within(source, "http.connections_per_address", &http.connections_per_address, 1..=100_000)?;
        within(source, "http.lobby", &http.lobby, 1..=100_000)?;
        within(source, "http.lobby_per_address", &http.lobby_per_address, 1..=100_000)?;
        within(source, "http.header_timeout", &http.header_timeout, Period::millis(100)..=Period::secs(600))?;
        http.check_origins(source)?;
        self.kafka.check(source)?;
        self.groups.check(source)?;
        self.topics.check(source, &self.mqtt.store)?;
        let limits = &self.limits;
        within(source, "limits.devices", &limits.devices, 1..=100_000_000)?;
        within(source, "limits.restarts_per_device", &limits.restarts_per_device, 1..=1_000_000)?;
        within(source, "limits.restarts", &limits.restarts, 1..=1_000_000_000)?;
        within(source, "limits.ranges_per_restart", &limits.ranges_per_restart, 16..=16_777_216)?;
        within(source, "limits.schemas_per_device", &limits.schemas_per_device, 1..=65_536)?;
        within(source, "drain", &self.drain, Period::millis(0)..=Period::secs(3600))
    }
}

impl Http {
    fn check_origins(&self, source: &Source) -> Result<(), SettingsError> {
        let is_origin = |text: &str| {
            let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
            text == "*" || host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '*', ' ']))
        };
        match self.websocket_origins.iter().find(|origin| !is_origin(origin.get_ref())) {
            Some(got) => Err(source.error(
                got.span(),
                format!(
                    "http.websocket_origins: got {:?}, expected https://host, with :port if it has one, or *",
                    got.get_ref()
                ),
            )),
            None => Ok(()),
        }
    }
}

fn source(path: Option<&Path>, variables: impl IntoIterator<Item = (String, String)>) -> Result<Source, SettingsError> {
    let default = Path::new(DEFAULT_PATH);
    let source = match path {
        Some(path) => Source::read(path)?,
        None if default.exists() => Source::read(default)?,
        None => Source::new(DEFAULT_PATH, ""),
    };
    Ok(source.with_overrides(ENV_PREFIX, variables))
}

/// Refuses a value outside of `allowed`, at its place.
fn within<T>(source: &Source, key: &str, value: &Spanned<T>, allowed: RangeInclusive<T>) -> Result<(), SettingsError>
where
    T: PartialOrd + std::fmt::Display,
{
    if allowed.contains(value.get_ref()) {
        return Ok(());
    }
    let (got, low, high) = (value.get_ref(), allowed.start(), allowed.end());
    Err(source.error(value.span(), format!("{key}: got {got}, expected {low} to {high}")))
}

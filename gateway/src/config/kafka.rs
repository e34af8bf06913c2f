//! The table `kafka`: the port on which Kafka's own clients read the log.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};
use weir_protocol::settings::{ByteSize, Period, SettingsError, Source, Spanned};

use super::{unset, within};
use crate::kafka::auth::{MOST_USER_NAME, Secret, Users};

/// The table `kafka`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kafka {
    /// Where to listen.
    pub listen: Spanned<SocketAddr>,
    /// The address that clients are told to connect to. Not set: where the gateway listens.
    pub advertised: Option<Spanned<HostPort>>,
    /// The most connections that have sent a request; one more is closed.
    pub connections: Spanned<u32>,
    /// The most of them from one address.
    pub connections_per_address: Spanned<u32>,
    /// The most sockets that have not sent a request; one more sends the oldest of them away.
    pub lobby: Spanned<u32>,
    /// The most of them from one address.
    pub lobby_per_address: Spanned<u32>,
    /// How long a request may take to arrive, the first one from the connect on.
    pub request_timeout: Spanned<Period>,
    /// How long a connection may go without a request.
    pub idle_timeout: Spanned<Period>,
    /// What the records on their way to all clients may take together; beyond it fetches wait.
    pub buffers: Spanned<ByteSize>,
    /// Whether the port speaks TLS.
    pub tls: Spanned<bool>,
    /// Who may read, with what verifies the password. Nobody: everybody may.
    pub users: BTreeMap<String, Spanned<Secret>>,
}

/// The most users.
const MOST_USERS: usize = 10_000;

impl Default for Kafka {
    fn default() -> Self {
        Self {
            listen: unset(SocketAddr::from((Ipv4Addr::LOCALHOST, 9092))),
            advertised: None,
            connections: unset(4000),
            connections_per_address: unset(4000),
            lobby: unset(1000),
            lobby_per_address: unset(250),
            request_timeout: unset(Period::secs(10)),
            idle_timeout: unset(Period::secs(600)),
            buffers: unset(ByteSize::mib(64)),
            tls: unset(false),
            users: BTreeMap::new(),
        }
    }
}

impl Kafka {
    /// Who may read; None: everybody may.
    pub fn users(&self) -> Option<Users> {
        let users = self.users.iter().map(|(name, secret)| (name.clone(), secret.get_ref().clone()));
        Users::new(users.collect())
    }

    pub(super) fn check(&self, source: &Source) -> Result<(), SettingsError> {
        let listen = &self.listen;
        if listen.get_ref().ip().is_unspecified() && self.advertised.is_none() {
            let message = format!(
                "kafka.listen: {} is no address that a client can connect to, and clients are told one",
                listen.get_ref()
            );
            let help = "set kafka.advertised = \"NAME:9092\" to the name by which clients reach this machine";
            return Err(source.error(listen.span(), message).with_help(help.to_owned()));
        }
        self.check_users(source)?;
        within(source, "kafka.connections", &self.connections, 1..=100_000)?;
        within(source, "kafka.connections_per_address", &self.connections_per_address, 1..=100_000)?;
        within(source, "kafka.lobby", &self.lobby, 1..=100_000)?;
        within(source, "kafka.lobby_per_address", &self.lobby_per_address, 1..=100_000)?;
        within(source, "kafka.request_timeout", &self.request_timeout, Period::millis(100)..=Period::secs(600))?;
        within(source, "kafka.idle_timeout", &self.idle_timeout, Period::secs(1)..=Period::secs(86_400))?;
        // The largest record has room, whatever else is on its way.
        within(source, "kafka.buffers", &self.buffers, ByteSize::mib(8)..=ByteSize::mib(64 * 1024))
    }

    fn check_users(&self, source: &Source) -> Result<(), SettingsError> {
        for (number, (name, secret)) in self.users.iter().enumerate() {
            let is_name = !name.is_empty() && name.len() <= MOST_USER_NAME && !name.contains(char::is_control);
            if !is_name {
                let message = format!(
                    "kafka.users: got the name {name:?}, expected 1 to {MOST_USER_NAME} bytes without control characters"
                );
                return Err(source.error(secret.span(), message));
            }
            if number == MOST_USERS {
                return Err(source.error(secret.span(), format!("kafka.users: expected at most {MOST_USERS}")));
            }
        }
        Ok(())
    }
}

/// A name or an IP address, and a port: what a client is told to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// The name or address; an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// The longest DNS name.
const MAX_HOST: usize = 253;

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("got {text:?}, expected a name or an address and a port, such as \"edge-1:9092\"");
        let (host, port) = text.rsplit_once(':').ok_or_else(expected)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(expected)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_host = match bare {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.len() <= MAX_HOST && host.bytes().all(is_name),
        };
        if !is_host {
            return Err(expected());
        }
        Ok(Self { host: bare.unwrap_or(host).to_owned(), port })
    }
}

impl From<SocketAddr> for HostPort {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl<'de> Deserialize<'de> for HostPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advertised_address_is_a_host_and_a_port() {
        let edge: HostPort = "edge-1.example:9092".parse().unwrap();
        assert_eq!(
            (edge.host.as_str(), edge.port, edge.to_string().as_str()),
            ("edge-1.example", 9092, "edge-1.example:9092")
        );
        let six: HostPort = "[::1]:19092".parse().unwrap();
        assert_eq!((six.host.as_str(), six.port, six.to_string().as_str()), ("::1", 19092, "[::1]:19092"));
        for wrong in [
            "edge-1",
            "edge-1:",
            ":9092",
            "edge-1:0",
            "edge-1:65536",
            "::1:9092",
            "[edge]:1",
            "a b:1",
            "PLAINTEXT://a:1",
        ] {
            let error = wrong.parse::<HostPort>().unwrap_err();
            assert!(error.contains("expected a name or an address and a port"), "{error}");
        }
    }
}

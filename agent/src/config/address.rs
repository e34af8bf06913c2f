//! Host and port, as `host:port`, `mqtt://host:port` or, with TLS, `mqtts://host:port`.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// The port of MQTT without TLS.
const DEFAULT_PORT: u16 = 1883;
/// The port of MQTT over TLS.
const DEFAULT_TLS_PORT: u16 = 8883;

/// Where the gateway is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name or an address; one of IPv6 in brackets.
    pub host: String,
    /// The port; 1883 unless it is said, and 8883 with TLS.
    pub port: u16,
    /// Whether with TLS.
    pub tls: bool,
}

impl Default for Address {
    fn default() -> Self {
        Self { host: "127.0.0.1".to_owned(), port: DEFAULT_PORT, tls: false }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "mqtts://" } else { "" };
        write!(f, "{scheme}{}:{}", self.host, self.port)
    }
}

impl Address {
    /// Reads `host` or `host:port`, behind `mqtt://` or `mqtts://` or neither.
    pub fn parse(text: &str) -> Option<Self> {
        let (text, tls) = match text.split_once("://") {
            None => (text, false),
            Some(("mqtt", rest)) => (rest, false),
            Some(("mqtts", rest)) => (rest, true),
            Some(_) => return None,
        };
        let default = if tls { DEFAULT_TLS_PORT } else { DEFAULT_PORT };
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok().filter(|port| *port > 0)?),
            _ => (text, default),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let good = match bare {
            Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-'),
        };
        good.then(|| Self { host: host.to_owned(), port, tls })
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            de::Error::custom(format!(
                "got {text:?}, expected host:port such as \"gateway.example:1883\", or \"mqtts://gateway.example:8883\""
            ))
        })
    }
}

//! Where a gateway is: `host:port`, `mqtt://host:port` or, with TLS, `mqtts://host:port`; over WebSocket
//! `ws://host:port/path` or, with TLS, `wss://host:port/path`.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// The path at which a gateway takes MQTT over WebSocket.
const DEFAULT_PATH: &str = "/mqtt";
/// The longest path, in bytes.
const MAX_PATH: usize = 1024;

/// Where a gateway is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name or an address; one of IPv6 in brackets.
    pub host: String,
    /// The port; unless it is said, 1883, with TLS 8883, over WebSocket 80, over that with TLS 443.
    pub port: u16,
    /// Whether with TLS.
    pub tls: bool,
    /// Over WebSocket: the path, with its `/`, and what is asked there.
    pub websocket: Option<String>,
}

impl Default for Address {
    fn default() -> Self {
        Self { host: "127.0.0.1".to_owned(), port: 1883, tls: false, websocket: None }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, tls, websocket } = self;
        match (websocket, tls) {
            (None, false) => write!(f, "{host}:{port}"),
            (None, true) => write!(f, "mqtts://{host}:{port}"),
            (Some(path), false) => write!(f, "ws://{host}:{port}{path}"),
            (Some(path), true) => write!(f, "wss://{host}:{port}{path}"),
        }
    }
}

impl Address {
    /// Reads an address as the header of this module has it. None: it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("mqtt", text));
        let (default, tls, websocket) = match scheme {
            "mqtt" => (1883, false, false),
            "mqtts" => (8883, true, false),
            "ws" => (80, false, true),
            "wss" => (443, true, true),
            _ => return None,
        };
        let (authority, path) = match rest.find('/').filter(|_| websocket) {
            Some(at) => rest.split_at(at),
            None => (rest, DEFAULT_PATH),
        };
        let (host, port) = host_and_port(authority)?;
        // What a request line may hold: nothing that ends it.
        let good = path.len() <= MAX_PATH && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        let websocket = websocket.then(|| path.to_owned());
        good.then(|| Self { host: host.to_owned(), port: port.unwrap_or(default), tls, websocket })
    }

    /// Whether the host is an address of IPv6.
    pub fn is_ipv6(&self) -> bool {
        self.host.starts_with('[')
    }
}

/// Reads `host` or `host:port`; one of IPv6 in brackets.
pub(super) fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().ok().filter(|port| *port > 0)?)),
        _ => (text, None),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let good = match bare {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-'),
    };
    good.then_some((host, port))
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(&String::deserialize(deserializer)?)
    }
}

fn parsed<E: de::Error>(text: &str) -> Result<Address, E> {
    Address::parse(text).ok_or_else(|| {
        E::custom(format!(
            "got {text:?}, expected host:port such as \"gateway.example:1883\", or \"mqtts://gateway.example:8883\", \
             \"ws://gateway.example:8080/mqtt\", \"wss://gateway.example:443/mqtt\""
        ))
    })
}

/// One address, or several in the order in which they are preferred.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses(pub Vec<Address>);

impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;
        impl<'de> de::Visitor<'de> for OneOrMore {
            type Value = Addresses;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address such as \"gateway.example:1883\", or a list of them")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Addresses, E> {
                Ok(Addresses(vec![parsed(text)?]))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Addresses, A::Error> {
                let mut addresses = Vec::new();
                while let Some(address) = list.next_element()? {
                    addresses.push(address);
                }
                Ok(Addresses(addresses))
            }
        }
        deserializer.deserialize_any(OneOrMore)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_said_again() {
        let table = [
            ("gateway", "gateway:1883"),
            ("gateway:1", "gateway:1"),
            ("mqtt://10.0.0.1:1884", "10.0.0.1:1884"),
            ("mqtts://gateway.example", "mqtts://gateway.example:8883"),
            ("mqtts://[::1]:8884", "mqtts://[::1]:8884"),
            ("[fe80::1]", "[fe80::1]:1883"),
            ("ws://gateway", "ws://gateway:80/mqtt"),
            ("ws://gateway:8080/mqtt?x=1", "ws://gateway:8080/mqtt?x=1"),
            ("wss://gateway", "wss://gateway:443/mqtt"),
            ("wss://gateway:444/", "wss://gateway:444/"),
            ("wss://[::1]/a/b", "wss://[::1]:443/a/b"),
        ];
        for (text, said) in table {
            let address = Address::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(address.to_string(), said);
            assert_eq!(Address::parse(said), Some(address), "{said}");
        }
        let wrong = [
            "",
            ":1883",
            "gateway:",
            "gateway:0",
            "gateway:65536",
            "gateway:1883/mqtt",
            "http://gateway",
            "a b",
            "[::g]",
            "mqtts://",
            "wss://gateway/a b",
            "wss://gateway/\r\nHost: other",
            "wss:///mqtt",
            "ws://user@gateway/mqtt",
        ];
        for text in wrong {
            assert_eq!(Address::parse(text), None, "{text}");
        }
    }
}

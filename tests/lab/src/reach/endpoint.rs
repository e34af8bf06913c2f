//! An address as people type it: HOST:PORT, or with a scheme in front that says whether TLS is spoken there.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};

/// One port of a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// As it was typed, without a scheme: its certificate has to be for this name.
    pub(crate) host: String,
    /// What the name stands for.
    pub(crate) address: SocketAddr,
    /// Whether TLS is spoken, if a scheme says so.
    pub(crate) tls: Option<bool>,
    scheme: Option<&'static str>,
}

/// What may stand in front: without TLS, and with it; and an example.
struct Schemes(&'static str, &'static str, &'static str);

const MQTT: Schemes = Schemes("mqtt", "mqtts", "127.0.0.1:1883");
const HTTP: Schemes = Schemes("http", "https", "127.0.0.1:8080");
/// As brokers call their listeners.
const KAFKA: Schemes = Schemes("plaintext", "ssl", "127.0.0.1:9092");

impl Endpoint {
    /// A port that takes MQTT.
    pub(crate) fn mqtt(text: &str) -> Result<Self, String> {
        Self::parse(text, &MQTT)
    }

    /// A port that answers HTTP.
    pub(crate) fn http(text: &str) -> Result<Self, String> {
        Self::parse(text, &HTTP)
    }

    /// A port that speaks Kafka.
    pub(crate) fn kafka(text: &str) -> Result<Self, String> {
        Self::parse(text, &KAFKA)
    }

    fn parse(text: &str, Schemes(plain, sealed, example): &Schemes) -> Result<Self, String> {
        let expected = |why: String| format!("{why}; expected HOST:PORT, such as {example}, or {sealed}://HOST:PORT");
        let (tls, scheme, rest) = match text.split_once("://") {
            None => (None, None, text),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case(plain) => (Some(false), Some(*plain), rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case(sealed) => (Some(true), Some(*sealed), rest),
            Some((scheme, _)) => return Err(expected(format!("{scheme}:// is not spoken there"))),
        };
        let rest = rest.trim_end_matches('/');
        let (host, port) = rest.rsplit_once(':').ok_or_else(|| expected("the port is missing".to_owned()))?;
        let port: u16 = port.parse().map_err(|_| expected(format!("{port:?} is no port")))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let found = (host, port).to_socket_addrs();
        let all: Vec<_> = found.map_err(|error| expected(format!("nobody is called {host:?}: {error}")))?.collect();
        // The lab's clients come from many addresses of IPv4 loopback.
        let address = all.iter().find(|address| address.is_ipv4()).or(all.first()).copied();
        let address = address.ok_or_else(|| expected(format!("nobody is called {host:?}")))?;
        Ok(Self { host: host.to_owned(), address, tls, scheme })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = self.scheme {
            write!(f, "{scheme}://")?;
        }
        let (host, port) = (&self.host, self.address.port());
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_typed_with_a_scheme_or_without() {
        let plain = Endpoint::mqtt("127.0.0.1:1883").unwrap();
        assert_eq!((plain.address.port(), plain.tls, plain.to_string()), (1883, None, "127.0.0.1:1883".to_owned()));
        let sealed = Endpoint::http("HTTPS://127.0.0.1:8080/").unwrap();
        assert_eq!((sealed.tls, sealed.to_string()), (Some(true), "https://127.0.0.1:8080".to_owned()));
        assert_eq!(Endpoint::kafka("plaintext://127.0.0.1:9092").unwrap().tls, Some(false));
        let wide = Endpoint::mqtt("[::1]:1883").unwrap();
        assert_eq!((&*wide.host, wide.to_string()), ("::1", "[::1]:1883".to_owned()));
    }

    #[test]
    fn what_is_no_address_says_what_to_type() {
        let wrong = [
            ("127.0.0.1", "the port is missing"),
            ("127.0.0.1:mqtt", "\"mqtt\" is no port"),
            ("127.0.0.1:99999", "no port"),
            ("https://127.0.0.1:8080", "https:// is not spoken there"),
            ("no such host.invalid:1883", "nobody is called"),
        ];
        for (text, expected) in wrong {
            let error = Endpoint::mqtt(text).unwrap_err();
            assert!(
                error.contains(expected) && error.contains("expected HOST:PORT, such as 127.0.0.1:1883"),
                "{error}"
            );
        }
    }
}

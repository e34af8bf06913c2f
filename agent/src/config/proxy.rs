//! An HTTP proxy: `http://host:port`, or `http://user:password@host:port` with what is special in them as `%40`.
//!
//! Nothing here prints the password.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

use super::address::host_and_port;

/// A proxy that makes connections for others (CONNECT, RFC 9110, section 9.3.6).
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// A name or an address; one of IPv6 in brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// User and password.
    pub login: Option<(String, String)>,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = if self.login.is_some() { "***@" } else { "" };
        write!(f, "http://{user}{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Proxy {
    /// Reads what the header of this module says. None: it is not that.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("http://")?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (login, authority) = match rest.rsplit_once('@') {
            Some((login, authority)) => {
                let (user, password) = login.split_once(':')?;
                // Basic authentication has no way to say a colon in a user (RFC 7617, section 2).
                let user = unescaped(user).filter(|user| !user.is_empty() && !user.contains(':'))?;
                (Some((user, unescaped(password)?)), authority)
            }
            None => (None, rest),
        };
        let (host, port) = host_and_port(authority)?;
        Some(Self { host: host.to_owned(), port: port?, login })
    }

    /// As a URL with its password, for a library.
    pub fn url(&self) -> String {
        let login = self.login.as_ref().map(|(user, password)| format!("{}:{}@", escaped(user), escaped(password)));
        format!("http://{}{}:{}", login.unwrap_or_default(), self.host, self.port)
    }
}

/// Every `%41` as the byte that it means (RFC 3986, section 2.1).
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

impl<'de> Deserialize<'de> for Proxy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // What was got may hold a password.
        let message =
            "expected \"http://host:port\" or \"http://user:password@host:port\", special characters as \"%40\"";
        Self::parse(&text).ok_or_else(|| de::Error::custom(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_read_and_its_password_never_printed() {
        let proxy = Proxy::parse("http://edge:p%40ss%3a@proxy.example:3128/").unwrap();
        assert_eq!((proxy.host.as_str(), proxy.port), ("proxy.example", 3128));
        assert_eq!(proxy.login, Some(("edge".to_owned(), "p@ss:".to_owned())));
        assert_eq!(format!("{proxy} {proxy:?}"), "http://***@proxy.example:3128 http://***@proxy.example:3128");
        assert_eq!(Proxy::parse(&proxy.url()), Some(proxy));
        assert_eq!(Proxy::parse("http://[::1]:8080").unwrap().login, None);
        let wrong = [
            "proxy:3128",
            "https://proxy:3128",
            "http://proxy",
            "http://:3128",
            "http://user@proxy:1",
            "http://:p@proxy:1",
            "http://a%3Ab:p@proxy:1",
            "http://a:%zz@proxy:1",
            "http://a:%4@proxy:1",
            "http://a:%ff@proxy:1",
        ];
        for text in wrong {
            assert_eq!(Proxy::parse(text), None, "{text}");
        }
    }
}

//! Where a Modbus line is: `tcp://host:502`, or `rtu:///dev/ttyUSB0?baud=9600&parity=even&stop=1`.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, de};

/// The port that is registered for Modbus.
const DEFAULT_PORT: u16 = 502;
/// What the serial line specification (V1.02, 2.5.1) has every device speak unless it is told otherwise.
const DEFAULT_BAUD: u32 = 19_200;
const EXPECTED: &str = "\"tcp://plc.example:502\" or \"rtu:///dev/ttyUSB0?baud=9600&parity=even\"";

/// A line with units on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// Modbus TCP.
    Tcp {
        /// A name or an address; one of IPv6 in brackets.
        host: String,
        /// 502 unless it is said.
        port: u16,
    },
    /// Modbus RTU on a serial line.
    Rtu(Rtu),
}

/// A serial line and how it is set. A character is always eight bits, as RTU needs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rtu {
    /// The whole path.
    pub path: PathBuf,
    /// Bits per second.
    pub baud: u32,
    /// The check bit.
    pub parity: Parity,
    /// One or two.
    pub stop: u8,
}

/// The check bit of a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Parity {
    /// None; two stop bits then keep a character at eleven bits.
    None,
    /// Even, the standard.
    Even,
    /// Odd.
    Odd,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Self::Rtu(rtu) => write!(f, "rtu://{}", rtu.path.display()),
        }
    }
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// What was found, and what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once("://") {
            Some(("tcp", rest)) => tcp(rest).ok_or_else(|| format!("got {text:?}, expected {EXPECTED}")),
            Some(("rtu", rest)) => rtu(rest),
            _ => Err(format!("got {text:?}, expected {EXPECTED}")),
        }
    }

    /// What two entries have in common when they are on the same wire.
    pub fn wire(&self) -> String {
        self.to_string()
    }
}

fn tcp(rest: &str) -> Option<Address> {
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok().filter(|port| *port > 0)?),
        _ => (rest, DEFAULT_PORT),
    };
    let good = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-'),
    };
    good.then(|| Address::Tcp { host: host.to_owned(), port })
}

fn rtu(rest: &str) -> Result<Address, String> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !path.starts_with('/') || path.ends_with('/') {
        return Err(format!("got {path:?}, expected the whole path of a serial line, as in {EXPECTED}"));
    }
    let mut line = Rtu { path: PathBuf::from(path), baud: DEFAULT_BAUD, parity: Parity::Even, stop: 1 };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("baud", baud)) => {
                line.baud = baud
                    .parse()
                    .ok()
                    .filter(|baud| (300..=4_000_000).contains(baud))
                    .ok_or_else(|| format!("got baud={baud}, expected 300 to 4000000 bits per second"))?;
            }
            Some(("parity", "none")) => line.parity = Parity::None,
            Some(("parity", "even")) => line.parity = Parity::Even,
            Some(("parity", "odd")) => line.parity = Parity::Odd,
            Some(("stop", "1")) => line.stop = 1,
            Some(("stop", "2")) => line.stop = 2,
            _ => {
                return Err(format!(
                    "got {pair:?}, expected baud=9600, parity=none, parity=even, parity=odd, stop=1 or stop=2"
                ));
            }
        }
    }
    Ok(Address::Rtu(line))
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

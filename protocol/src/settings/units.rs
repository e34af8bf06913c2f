//! Times and sizes as people write them: a number and a unit, such as `"30s"` and `"64 MiB"`.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use serde::{Deserialize, Deserializer, de};

const TIMES: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZES: [(&str, u64); 9] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// A length of time, in whole milliseconds: `ms`, `s`, `m`, `h` or `d`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(pub Duration);

impl Period {
    /// From seconds.
    pub const fn secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// From milliseconds.
    pub const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }
}

/// A number of bytes: `B`, `KiB`, `MiB`, `GiB`, `TiB`, or by thousands `kB`, `MB`, `GB`, `TB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// From KiB, 1024 bytes.
    pub const fn kib(kib: u64) -> Self {
        Self(kib << 10)
    }

    /// From MiB, 1024 KiB.
    pub const fn mib(mib: u64) -> Self {
        Self(mib << 20)
    }
}

/// Why a text is not a time or a size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitError {
    got: String,
    expected: &'static str,
}

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "got {}, expected {}", self.got, self.expected)
    }
}

impl core::error::Error for UnitError {}

const A_TIME: &str = r#"a time with its unit, such as "500ms", "30s", "10m", "2h" or "7d""#;
const A_SIZE: &str = r#"a size with its unit, such as "512 B", "64 KiB", "256 MiB" or "2 GiB""#;

/// Reads a number, perhaps with a fraction, and a unit of `units`; the answer is in the first unit.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.')?);
    let (_, scale) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if number.ends_with('.') || fraction.len() > 6 {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(*scale)?;
    let part = match fraction {
        "" => 0,
        digits => {
            let scaled = u128::from(digits.parse::<u64>().ok()?) * u128::from(*scale);
            let tenth = 10_u128.pow(digits.len() as u32);
            // A value that is no whole number of the first unit was not meant.
            (scaled % tenth == 0).then_some((scaled / tenth) as u64)?
        }
    };
    whole.checked_add(part)
}

impl FromStr for Period {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let millis = scaled(text, &TIMES);
        millis.map(Self::millis).ok_or_else(|| UnitError { got: format!("{text:?}"), expected: A_TIME })
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        scaled(text, &SIZES).map(Self).ok_or_else(|| UnitError { got: format!("{text:?}"), expected: A_SIZE })
    }
}

/// Writes `amount` in the largest of `units` that it is a whole number of.
fn largest(f: &mut fmt::Formatter<'_>, amount: u64, units: &[(&str, u64)], gap: &str) -> fmt::Result {
    let fits = |(_, scale): &&(&str, u64)| *scale <= amount.max(1) && amount.is_multiple_of(*scale);
    let (name, scale) = units.iter().rev().find(fits).unwrap_or(&units[0]);
    write!(f, "{}{gap}{name}", amount / scale)
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        largest(f, u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX), &TIMES, "")
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        largest(f, self.0, &SIZES[..5], " ")
    }
}

macro_rules! from_text {
    ($type:ident, $expected:ident) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl de::Visitor<'_> for Visitor {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                    // A bare number is the mistake that people make: say it in their terms.
                    fn visit_i64<E: de::Error>(self, number: i64) -> Result<$type, E> {
                        Err(E::custom(UnitError { got: format!("{number} without a unit"), expected: $expected }))
                    }
                    fn visit_u64<E: de::Error>(self, number: u64) -> Result<$type, E> {
                        Err(E::custom(UnitError { got: format!("{number} without a unit"), expected: $expected }))
                    }
                }
                deserializer.deserialize_any(Visitor)
            }
        }
    };
}

from_text!(Period, A_TIME);
from_text!(ByteSize, A_SIZE);

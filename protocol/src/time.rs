//! Time: when a reading was sampled, and how far to trust the clock that said so.

use core::fmt;
use serde::{Deserialize, Serialize};

/// Microseconds since 1970-01-01T00:00:00Z, or since power-on when the clock is [`Clock::Uptime`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// From milliseconds, as Kafka counts them.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1000))
    }

    /// In milliseconds, rounded down, as Kafka counts them.
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// `self` moved by `micros`, held at the ends of the range.
    pub const fn plus_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// Microseconds from `earlier` to `self`, held at the ends of the range.
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}us", self.0)
    }
}

/// Which clock a sample time was read from.
///
/// Append-only: see [`crate::version`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Clock {
    /// Never synchronised: the time counts from power-on.
    Uptime,
    /// Set by a round trip with the agent, or by the host's own clock discipline.
    Synchronised,
}

/// A wall clock, so that tests can own time. Durations come from a monotonic clock instead.
pub trait WallClock: Send + Sync {
    /// Now, by this clock.
    fn now(&self) -> Timestamp;
}

/// The clock of the host.
#[cfg(feature = "std")]
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[cfg(feature = "std")]
impl WallClock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Timestamp(since.map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX)))
    }
}

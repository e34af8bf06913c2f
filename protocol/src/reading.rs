//! A reading: one value of one channel at one time. Its sequence is where it stands, not what it says.

use core::fmt;
use serde::{Deserialize, Serialize};

use crate::channel::ValueKind;
use crate::time::{Clock, Timestamp};

/// The longest text value, in bytes.
pub const MAX_TEXT: usize = 128;

/// A channel of a device; what it means is in the device's description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChannelId(pub u16);

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What was measured, in the unit of its channel. Append-only: see [`crate::version`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value<'a> {
    /// IEEE 754 single precision.
    Float(f32),
    /// IEEE 754 double precision.
    Double(f64),
    /// A count or a raw register.
    Integer(i64),
    /// A switch.
    Boolean(bool),
    /// A state by name; at most [`MAX_TEXT`] bytes.
    Text(&'a str),
}

impl Value<'_> {
    /// The kind that a channel must declare to carry this value.
    pub const fn kind(&self) -> ValueKind {
        match self {
            Self::Float(_) => ValueKind::Float,
            Self::Double(_) => ValueKind::Double,
            Self::Integer(_) => ValueKind::Integer,
            Self::Boolean(_) => ValueKind::Boolean,
            Self::Text(_) => ValueKind::Text,
        }
    }
}

/// One sample, kept.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading<'a> {
    /// Which channel of the device.
    pub channel: ChannelId,
    /// When it was sampled, by `clock`.
    pub time: Timestamp,
    /// How far to trust `time`.
    pub clock: Clock,
    /// What was measured.
    #[serde(borrow)]
    pub value: Value<'a>,
}

//! Channel descriptions: what a device measures, said once; messages then carry only the hash of it.
//!
//! The hash is FNV-1a (32 bit) over the postcard bytes of the channels in the order that the device lists
//! them. It tells apart the few descriptions of *one* device, so 32 bits are plenty; an unknown hash makes
//! the receiver ask.

use core::fmt;
use serde::{Deserialize, Serialize};

use crate::items::Items;
use crate::reading::ChannelId;

/// The most channels that one device may describe.
pub const MAX_CHANNELS: usize = 256;

/// The kind of value a channel carries. Append-only: see [`crate::version`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueKind {
    /// [`crate::Value::Float`].
    Float,
    /// [`crate::Value::Double`].
    Double,
    /// [`crate::Value::Integer`].
    Integer,
    /// [`crate::Value::Boolean`].
    Boolean,
    /// [`crate::Value::Text`].
    Text,
}

/// What one channel of a device measures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Channel<'a> {
    /// The id that readings carry.
    pub id: ChannelId,
    /// A short name, unique in the device, such as `temperature`.
    pub name: &'a str,
    /// The unit as a UCUM case-sensitive code, such as `Cel`, `%` or `By/s` (ucum.org); `1` if it has none.
    pub unit: &'a str,
    /// The kind of every value of this channel.
    pub kind: ValueKind,
    /// The smallest step that the sensor can tell apart, in `unit`; 0 if unknown.
    pub resolution: f32,
}

/// The identity of a description within its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SchemaHash(pub u32);

impl SchemaHash {
    /// The hash of a description, from its encoded channels.
    pub fn of(channels: Items<'_, Channel<'_>>) -> Self {
        let mut hash = 0x811c_9dc5_u32;
        for byte in channels.as_bytes() {
            hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
        Self(hash)
    }
}

impl fmt::Display for SchemaHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

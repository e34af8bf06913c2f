//! The `describe` payload: the channels of one schema of one device.
//!
//! `magic "WD" | version u8 | postcard Description | CRC-32 of all before, little endian`.

use serde::{Deserialize, Serialize};

use super::EnvelopeError;
use crate::channel::{Channel, MAX_CHANNELS, SchemaHash};
use crate::identity::DeviceId;
use crate::items::Items;

const MAGIC: [u8; 2] = *b"WD";

/// How long a gateway keeps a batch waiting for the description that it asked for; an agent that was asked
/// is at least as patient.
pub const WAIT: core::time::Duration = core::time::Duration::from_secs(10);

/// What a device measures under one schema.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description<'a> {
    /// The device.
    pub device: DeviceId,
    /// The hash of `channels`.
    pub schema: SchemaHash,
    /// The channels.
    #[serde(borrow)]
    pub channels: Items<'a, Channel<'a>>,
}

/// Encodes a payload.
pub fn encode(description: &Description<'_>) -> Vec<u8> {
    super::command::seal(MAGIC, description)
}

/// Decodes a payload and checks that the hash is that of the channels, that each decodes, that there are at
/// most [`MAX_CHANNELS`], and that no id or name occurs twice.
pub fn decode(bytes: &[u8]) -> Result<Description<'_>, EnvelopeError> {
    let description: Description<'_> = super::command::unseal(MAGIC, bytes)?;
    if SchemaHash::of(description.channels) != description.schema {
        return Err(EnvelopeError::Body("schema hash does not match the channels"));
    }
    let mut seen: Vec<Channel<'_>> = Vec::new();
    for channel in description.channels {
        let channel = channel.map_err(|_| EnvelopeError::Body("channel encoding"))?;
        if seen.len() == MAX_CHANNELS {
            return Err(EnvelopeError::Body("more than 256 channels"));
        }
        if channel.name.is_empty() || channel.name.len() > 64 || channel.unit.len() > 32 {
            return Err(EnvelopeError::Body("channel name or unit too long or empty"));
        }
        if seen.iter().any(|other| other.id == channel.id || other.name == channel.name) {
            return Err(EnvelopeError::Body("channel id or name occurs twice"));
        }
        seen.push(channel);
    }
    Ok(description)
}

//! The `command` payload: what a gateway asks of an agent.
//!
//! `magic "WC" | version u8 | postcard AgentCommand | CRC-32 of all before, little endian`.

use serde::{Deserialize, Serialize};

use super::EnvelopeError;
use crate::channel::SchemaHash;
use crate::checksum::crc32;
use crate::identity::DeviceId;
use crate::items;
use crate::version::{ENVELOPE_CURRENT, ENVELOPE_MIN};

const MAGIC: [u8; 2] = *b"WC";

/// From gateway to agent. Append-only: see [`crate::version`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AgentCommand {
    /// Send the description of this schema: readings wait for it.
    Describe {
        /// The device.
        device: DeviceId,
        /// The hash that is unknown.
        schema: SchemaHash,
    },
}

/// Encodes a payload.
pub fn encode(command: &AgentCommand) -> Vec<u8> {
    seal(MAGIC, command)
}

/// Decodes a payload.
pub fn decode(bytes: &[u8]) -> Result<AgentCommand, EnvelopeError> {
    unseal(MAGIC, bytes)
}

pub(super) fn seal<T: Serialize>(magic: [u8; 2], message: &T) -> Vec<u8> {
    let mut out = vec![magic[0], magic[1], ENVELOPE_CURRENT];
    items::push(&mut out, message);
    let crc = crc32(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

pub(super) fn unseal<'a, T: Deserialize<'a>>(magic: [u8; 2], bytes: &'a [u8]) -> Result<T, EnvelopeError> {
    let (content, crc) = bytes.split_last_chunk::<4>().ok_or(EnvelopeError::Unreadable("cut short"))?;
    if crc32(content) != u32::from_le_bytes(*crc) {
        return Err(EnvelopeError::Unreadable("checksum"));
    }
    let (header, message) = content.split_first_chunk::<3>().ok_or(EnvelopeError::Unreadable("cut short"))?;
    if header[..2] != magic {
        return Err(EnvelopeError::Unreadable("wrong magic"));
    }
    if !(ENVELOPE_MIN..=ENVELOPE_CURRENT).contains(&header[2]) {
        return Err(EnvelopeError::Version(header[2]));
    }
    match postcard::take_from_bytes(message) {
        Ok((message, [])) => Ok(message),
        _ => Err(EnvelopeError::Body("encoding")),
    }
}

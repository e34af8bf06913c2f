//! The channel descriptions that devices gave, so that the gateway can be told without asking the device.
//!
//! Bounded: at most [`MAX_DESCRIPTIONS`]; one more replaces the one that came first.

use serde::{Deserialize, Serialize};
use weir_protocol::batch::describe::{self, Description};
use weir_protocol::{DeviceId, SchemaHash};

/// The most descriptions that are kept.
pub const MAX_DESCRIPTIONS: usize = 512;

/// What was described, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptions {
    known: Vec<Known>,
    /// Goes up with every change, so that others see that there is something new.
    revision: u64,
}

/// One description.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    device: DeviceId,
    schema: SchemaHash,
    /// As it is sent to the gateway.
    payload: Vec<u8>,
}

impl Descriptions {
    /// The payload that describes this schema of this device.
    pub fn get(&self, device: DeviceId, schema: SchemaHash) -> Option<&[u8]> {
        let wanted = |known: &&Known| known.device == device && known.schema == schema;
        self.known.iter().find(wanted).map(|known| known.payload.as_slice())
    }

    /// Keeps a description. `Err` says what is wrong with it; `Ok(false)` that it was known.
    pub fn insert(&mut self, description: &Description<'_>) -> Result<bool, weir_protocol::batch::EnvelopeError> {
        let payload = describe::encode(description);
        describe::decode(&payload)?;
        if self.get(description.device, description.schema).is_some() {
            return Ok(false);
        }
        if self.known.len() == MAX_DESCRIPTIONS {
            self.known.remove(0);
        }
        self.known.push(Known { device: description.device, schema: description.schema, payload });
        self.revision += 1;
        Ok(true)
    }

    /// See the field.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// All payloads, oldest first.
    pub fn payloads(&self) -> impl Iterator<Item = &[u8]> {
        self.known.iter().map(|known| known.payload.as_slice())
    }
}

//! Identity: `(tenant, device, restart, sequence)`, given where a reading was sampled and never changed.
//!
//! Nothing else (packet id, DUP flag, arrival time) is ever used to recognise a repeat. Sequences start at 0
//! in each restart, one per sample *kept or dropped*, and are never reused.

use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Serialize};

use crate::name::{Name, NameError};

macro_rules! named {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $type(pub Name);

        impl $type {
            /// Checks `text`; see [`Name`] for what it may hold.
            pub const fn new(text: &str) -> Result<Self, NameError> {
                match Name::new(text) {
                    Ok(name) => Ok(Self(name)),
                    Err(error) => Err(error),
                }
            }
            /// The name as text.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
            /// The bytes of that text.
            pub fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }
    };
}

named! {
    /// Who owns devices; identities of different tenants never meet.
    Tenant
}
named! {
    /// The agent that ships; its MQTT client id.
    AgentId
}
named! {
    /// The device that sampled.
    DeviceId
}

impl Tenant {
    /// The tenant of everybody until the front door knows several.
    pub const DEFAULT: Self = match Self::new("default") {
        Ok(tenant) => tenant,
        Err(_) => unreachable!(),
    };
}

/// One run of a device, from a restart to the next; numbers differ between runs, and need not grow.
///
/// From a device with flash and entropy: bit 63 clear, 31 bits of persisted boot counter, 32 bits of nonce.
/// Issued by an agent: bit 63 set, 63 random bits. JSON carries it as a decimal string, because 64 bits do
/// not survive a JavaScript number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Restart(pub u64);

impl Restart {
    /// What a device says that has no flash or no entropy and waits for the agent to assign a restart.
    /// Never part of an identity: a boot counter starts at 1.
    pub const UNBOUND: Self = Self(0);

    /// A restart numbered by the device itself. `boot` counts from 1; its top bit is ignored.
    pub const fn from_boot(boot: u32, nonce: u32) -> Self {
        Self(((boot as u64 & 0x7fff_ffff) << 32) | nonce as u64)
    }

    /// A restart numbered by an agent, from 63 random bits.
    pub const fn from_agent(random: u64) -> Self {
        Self(random | 1 << 63)
    }

    /// Whether an agent issued this number.
    pub const fn is_from_agent(self) -> bool {
        self.0 >> 63 == 1
    }

    /// The boot counter, if the device numbered this restart itself.
    pub const fn boot(self) -> Option<u32> {
        if self.is_from_agent() { None } else { Some((self.0 >> 32) as u32) }
    }
}

impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The place of a sample within its restart, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sequence(pub u64);

impl Sequence {
    /// Every sequence is below this, because a record in the log holds it as an Avro long.
    pub const END: Self = Self(1 << 63);
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

//! The contract of Weir: what device, agent and gateway say to each other.
//!
//! ```text
//! device  -- serial frame: device_to_agent -->  agent  -- MQTT: batch, describe, status -->  gateway
//!         <-- serial frame: agent_to_device --         <-- MQTT: command, PUBACK ----------
//! ```
//!
//! Guarantees: every identity is given once, where the reading was sampled, and no message can change it;
//! decoding never panics and never allocates more than the bytes it was given; nothing here reads a clock,
//! a file or a socket. Without the `std` feature the crate needs no allocator.
//!
//! Read in this order: [`identity`], [`time`], [`reading`], [`channel`] are the nouns; [`serial`] and
//! [`frame`] the serial line; [`batch`] and [`mqtt`] the way to the gateway; [`version`] how all of it may change. Beside the contract,
//! and only for daemons: `settings`, how both read their file.
#![cfg_attr(not(feature = "std"), no_std)]

pub mod channel;
pub mod checksum;
pub mod frame;
pub mod identity;
pub mod items;
pub mod mqtt;
pub mod name;
pub mod reading;
pub mod serial;
pub mod time;
pub mod version;

#[cfg(feature = "std")]
pub mod batch;
#[cfg(feature = "std")]
pub mod ranges;
#[cfg(feature = "settings")]
pub mod settings;

pub use channel::{Channel, SchemaHash, ValueKind};
pub use identity::{AgentId, DeviceId, Restart, Sequence, Tenant};
pub use items::Items;
pub use reading::{ChannelId, Reading, Value};
pub use time::{Clock, Timestamp};

#[cfg(feature = "std")]
pub use ranges::RangeSet;

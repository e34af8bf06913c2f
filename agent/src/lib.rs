//! The Weir agent: reads devices, keeps what they say on disk, ships it to the gateway.
//!
//! ```text
//! boards, buses, brokers,      ┌─ rules ─ commit ─ queue (disk) ─ lanes ─┐ batches
//! programs, this machine ── intake                                       └─ session ══ MQTT ══ gateway
//!      ◂────── ack, credit ──────┘               ◂─ keeper removes ──────────── PUBACK ◂────────────╯
//! ```
//!
//! Guarantees: a device is acknowledged after its readings are on disk; what the gateway has not acknowledged
//! leaves the queue only as a claim; memory, disk and connections are bounded; whatever a line or the gateway
//! sends, the process lives. Read in this order: [`run`] wires everything, [`source`] holds the sources, [`intake`] the
//! rules towards devices, [`processing`] those of the settings, [`queue`] the disk, [`uplink`] the rules towards the gateway;
//! [`transfer`] takes readings out by hand, [`remote`] takes settings and commands from afar, [`local`] answers at a local port.
//!
//! Clock, randomness and filesystem are parameters ([`Environment`]), so that every rule can be tested under
//! faults.

mod backoff;
pub mod cli;
pub mod config;
pub mod counters;
pub mod doctor;
pub mod environment;
mod glob;
pub mod health;
pub mod http;
pub mod identity;
pub mod intake;
pub mod local;
pub mod mqtt;
#[cfg(feature = "plant")]
pub mod plant;
pub mod processing;
pub mod queue;
mod redact;
pub mod reload;
pub mod remote;
mod run;
mod service;
pub mod source;
pub mod transfer;
pub mod uplink;

pub use environment::Environment;
pub use run::{Control, RunError, Shutdown, run};

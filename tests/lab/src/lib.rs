//! Runs a whole Weir on one machine, breaks it on purpose, and proves what is left.
//!
//! The lab stands *outside* the system: it owns both ends of every serial cable and sits on the TCP connection
//! between agent and gateway, so it sees every acknowledgement that was ever given and can compare it with
//! what the log holds at the end. It trusts nothing that the system says about itself.
//!
//! ```text
//! board ══ pty ══ relay ══ pty ══ agent ══ TCP ══ relay ══ TCP ══ gateway ── HTTP ──▸ census
//!                   ╰──────── acks ─────▸ ledger ◂── PUBACKs ─╯                          │
//!                                            ╰──────────── reconcile ◂──────────────────╯
//! ```
//!
//! Read in this order: [`process`] and [`binaries`] start things, [`relay`] sees and disturbs, [`ledger`]
//! remembers, [`census`] reads the log, [`reconcile`] compares; [`deployment`] wires them, [`faults`] break them; [`up`],
//! [`prove`], [`soak`] and [`bench`] are the commands.

pub mod bench;
pub mod binaries;
pub mod board;
pub mod census;
pub mod cli;
mod clients;
pub mod deployment;
pub mod emulator;
pub mod faults;
pub mod kafka;
pub mod ledger;
pub mod load;
pub mod mosquitto;
pub mod plot;
pub mod ports;
pub mod process;
pub mod prove;
pub mod qemu;
pub mod reach;
pub mod reconcile;
pub mod relay;
pub mod soak;
pub mod truth;
pub mod up;

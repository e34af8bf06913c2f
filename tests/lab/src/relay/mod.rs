//! Relays: the wires of the deployment, in the lab's hands.
//!
//! A relay copies bytes unchanged, shows every whole message of both directions to the
//! [ledger](crate::ledger) as it passes, and can be told to misbehave the way wires do.

pub mod mqtt;
pub mod pty;
pub mod seal;
pub mod serial;
pub mod tcp;

//! Who may do what: who a client is, and which topics it may use.

pub mod identity;

pub use identity::{ClientId, Identity, Proof};

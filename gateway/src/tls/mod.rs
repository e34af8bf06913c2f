//! TLS of all ports.

pub mod peer;

pub use peer::PeerCertificate;

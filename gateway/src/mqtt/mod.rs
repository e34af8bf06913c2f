//! MQTT 3.1.1 and 5 without a socket and without a session: packets, what they carry, names of topics.
//!
//! What it guarantees: one set of types for both versions; what a version lacks has the value that it means there.
//!
//! Formats: OASIS MQTT 3.1.1 and 5.0; chapter and section numbers in here are those of 5.0 unless 3.1.1 is named.

pub mod packet;

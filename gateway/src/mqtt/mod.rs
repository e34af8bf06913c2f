//! MQTT 3.1.1 and 5 without a socket and without a session: packets, what they carry, names of topics.
//!
//! What it guarantees: one set of types for both versions; what a version lacks has the value that it means there. What
//! [`read`] lets through is within the standard as far as one packet alone can tell, and takes no more memory than a few
//! times its length; what [`write`] writes is never larger than the client takes.
//!
//! Formats: OASIS MQTT 3.1.1 and 5.0; chapter and section numbers in here are those of 5.0 unless 3.1.1 is named.
//!
//! Bytes flow through [`fixed_header`], [`input`], [`properties`] into [`packet`], and back through [`write`].

mod fixed_header;
mod input;
pub mod malformed;
pub mod packet;
mod properties;
pub mod read;
pub mod topic;
pub mod tree;
pub mod write;

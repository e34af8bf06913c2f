//! Kafka's primitive types on the wire, read with bounds and written without copies of records.
//!
//! What it guarantees: whatever lengths the bytes claim, [`Input`] allocates no more than a small multiple of the
//! bytes that are there, reads nothing twice, never recurses and never panics; [`Output`] carries blocks of records
//! by reference.
//!
//! Format: <https://kafka.apache.org/protocol#protocol_types>. A message is in one of two encodings. The classic one
//! has lengths of 2 bytes (strings) and 4 bytes (bytes, arrays), -1 for null. The *flexible* one, of the newer
//! versions of each API, has a varint of length + 1, 0 for null, and a list of tagged fields after each structure.

mod input;
mod output;

pub use input::{Input, MOST_ELEMENTS, MOST_STRING, Malformed};
pub use output::Output;

#[cfg(test)]
mod tests;

//! `session u64, sequence u64`: the message at QoS 2 that has this packet id until its PUBREL has the sequence.

use super::{begin_of, begun_of};
use crate::keyed_log::fields::Malformed;

/// Replaces `out` by the value.
pub fn encode(number: u64, sequence: u64, out: &mut Vec<u8>) {
    begin_of(out, number);
    out.extend(sequence.to_be_bytes());
}

/// Reads one: the number of the session, and the sequence.
///
/// # Errors
/// [`Malformed`].
pub fn decode(value: &[u8]) -> Result<(u64, u64), Malformed> {
    let (number, mut input) = begun_of(value)?;
    let sequence = u64::from_be_bytes(input.take("sequence")?);
    input.end()?;
    Ok((number, sequence))
}

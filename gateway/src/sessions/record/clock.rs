//! `clock i64`: what the clock of the sessions showed, in milliseconds. Written now and then, so that the time in which
//! nothing else was written counts too.

use super::{CLOCK, VERSION, begin, begun};
use crate::keyed_log::fields::Malformed;

/// Its key.
pub const KEY: [u8; 2] = [VERSION, CLOCK];

/// Replaces `out` by the value.
pub fn encode(clock_ms: i64, out: &mut Vec<u8>) {
    begin(out);
    out.extend(clock_ms.to_be_bytes());
}

/// Reads one.
///
/// # Errors
/// [`Malformed`].
pub fn decode(value: &[u8]) -> Result<i64, Malformed> {
    let mut input = begun(value)?;
    let clock_ms = i64::from_be_bytes(input.take("clock")?);
    input.end()?;
    Ok(clock_ms)
}

//! `number u64, expiry u32, attached u8, clock i64`: a session that outlives its connections. The number is random; a later
//! session of the same client has another. Expiry in seconds, `u32::MAX` for never; attached (0 or 1) and since when on the
//! clock of the sessions, in milliseconds. What is attached when the gateway ends is away from its next start on.

use super::{begin_of, begun_of};
use crate::keyed_log::fields::Malformed;

/// A session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// Its number.
    pub number: u64,
    /// How long it outlives its connection, in seconds.
    pub expiry: u32,
    /// Whether a client is connected.
    pub attached: bool,
    /// Since when, on the clock of the sessions, in milliseconds.
    pub clock_ms: i64,
}

impl SessionRecord {
    /// Replaces `out` by the value.
    pub fn encode(&self, out: &mut Vec<u8>) {
        begin_of(out, self.number);
        out.extend(self.expiry.to_be_bytes());
        out.push(u8::from(self.attached));
        out.extend(self.clock_ms.to_be_bytes());
    }
}

/// Reads one.
///
/// # Errors
/// [`Malformed`].
pub fn decode(value: &[u8]) -> Result<SessionRecord, Malformed> {
    let (number, mut input) = begun_of(value)?;
    let expiry = u32::from_be_bytes(input.take("expiry")?);
    let attached = input.flag("attached")?;
    let clock_ms = i64::from_be_bytes(input.take("clock")?);
    input.end()?;
    Ok(SessionRecord { number, expiry, attached, clock_ms })
}

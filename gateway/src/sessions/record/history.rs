//! `restart u64, next u64`: the restart of a client's messages at QoS 2, and the sequence of the next one. It belongs to the
//! client and to no session, because the log knows these identities whatever becomes of the session.

use weir_protocol::Restart;

use super::{begin, begun};
use crate::keyed_log::fields::Malformed;

/// The numbers that a client's messages at QoS 2 have had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// The restart of all of them.
    pub restart: Restart,
    /// The sequence of the next one: all below it have been given.
    pub next: u64,
}

impl History {
    /// Replaces `out` by the value.
    pub fn encode(&self, out: &mut Vec<u8>) {
        begin(out);
        out.extend(self.restart.0.to_be_bytes());
        out.extend(self.next.to_be_bytes());
    }
}

/// Reads one.
///
/// # Errors
/// [`Malformed`].
pub fn decode(value: &[u8]) -> Result<History, Malformed> {
    let mut input = begun(value)?;
    let restart = Restart(u64::from_be_bytes(input.take("restart")?));
    let next = u64::from_be_bytes(input.take("next")?);
    input.end()?;
    Ok(History { restart, next })
}

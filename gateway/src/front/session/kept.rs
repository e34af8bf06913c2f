//! What of a session outlives a packet.

use weir_protocol::{Restart, Sequence};

/// The session of a client that is connected.
#[derive(Debug, Default)]
pub(in crate::front) struct Session;

/// A message of QoS 2 that begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    /// Its identity in the log.
    pub(super) identity: Option<(Restart, Sequence)>,
}

/// As many packet ids as there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Full;

impl Session {
    pub(super) fn begin(&mut self, _: u16) -> Result<Begun, Full> {
        Ok(Begun { identity: None })
    }

    pub(super) fn release(&mut self, _: u16) -> bool {
        false
    }
}

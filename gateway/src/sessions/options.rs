//! Bounds of sessions.

use std::time::Duration;

/// Bounds of sessions; settings of the table `mqtt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Sessions that outlive their connection; as many histories of clients whose session has ended.
    pub sessions: usize,
    /// Bytes that one of them may take.
    pub session_bytes: usize,
    /// Bytes that all of them may take.
    pub sessions_bytes: usize,
    /// The longest that a session outlives its connection, in seconds; `u32::MAX`: for ever.
    pub expiry_max: u32,
    /// Packet ids that one session may have open at QoS 2.
    pub open_ids: usize,
    /// Bytes of wills of sessions that ended with their connection, while they are being published.
    pub will_bytes: usize,
    /// How long a new connection waits until the one before it lets go of the session.
    pub takeover: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sessions: 100_000,
            session_bytes: 256 << 10,
            sessions_bytes: 512 << 20,
            expiry_max: u32::MAX,
            open_ids: 100,
            will_bytes: 64 << 20,
            takeover: Duration::from_secs(10),
        }
    }
}

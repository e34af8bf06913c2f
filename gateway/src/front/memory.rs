//! What the connections hold: every buffer of one connection in one sum, its bound, and the sum of all of them.
//!
//! | part | at most | where |
//! |---|---|---|
//! | read buffer | a packet and a read of 256 KiB: 1.3 MiB; all together `mqtt.buffers` | [`super::buffer`] |
//! | messages in flight | `mqtt.connection_budget` and the packet that crosses it: 5 MiB | [`super::session`] |
//! | their places in line | twice `mqtt.receive_maximum`, and 8192 packet ids of QoS 2 | [`super::session`] |
//! | topic aliases | 16 of 4 KiB | [`super::session::aliases`] |
//! | answers that wait | 64 KiB and the answers to one packet or event, twice | [`super::session`] |
//! | requests to the agent | 64 | [`super::outbound`] |
//! | subscriptions | `mqtt.subscriptions` filters, 256 packet ids, 64 KiB of messages and one more | [`super::outbound`] |
//!
//! With the defaults [`most`] is 8.9 MiB for one connection. All of them together cannot: read buffers share
//! `mqtt.buffers`, payloads in flight share the budget of [`crate::ingest`], and subscribers are few.

use std::sync::Arc;

use super::counters::Counters;
use super::session::{self, Limits};
use super::{buffer, outbound};
use crate::mqtt::read::MAX_PACKET;

/// The most bytes that one connection may hold.
pub const fn most(limits: Limits, subscriptions: usize) -> usize {
    buffer::MOST
        + limits.budget
        + MAX_PACKET
        + session::most_in_line(limits)
        + session::aliases::MOST
        + session::MOST_ANSWERS
        + outbound::most(subscriptions)
}

/// What one connection holds now, in the sum of all; dropping it takes it out.
#[derive(Debug)]
pub(super) struct Held {
    bytes: usize,
    counters: Arc<Counters>,
}

impl Held {
    /// Nothing yet.
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self { bytes: 0, counters }
    }

    /// Says what the connection holds from here on.
    pub(super) fn set(&mut self, bytes: usize) {
        if bytes != self.bytes {
            self.counters.held(self.bytes, bytes);
            self.bytes = bytes;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The figure that the README and the module headers state.
    #[test]
    fn one_connection_takes_at_most_what_the_documents_say() {
        let most = most(Limits { receive_maximum: 100, budget: 4 << 20 }, 256);
        assert_eq!(format!("{:.1} MiB", most as f64 / f64::from(1 << 20)), "8.9 MiB");
    }
}

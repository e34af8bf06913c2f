//! The session at the broker, over all its connections: what is asked for, and how to get past what a broker that keeps
//! it would send again for ever.
//!
//! A broker of MQTT 5 is told how large a packet may be. One of 3.1.1 cannot be, and whoever closes the connection on a
//! packet that is too large gets the same one on the next. So the next connection reads it, as far as [`MOST`], which
//! is what it takes to name, count and acknowledge it. What is larger still, or the release of a message that nobody
//! here took, costs the session, and with it what the broker kept; health says so.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::timeout;

use super::settings::MOST_PAYLOAD;
use crate::mqtt::{Connection, Event, Options, Stuck};

/// What a packet may have beside its payload: a topic and properties.
pub(super) const BESIDE_PAYLOAD: u32 = 128 * 1024;
/// The largest packet that is read to get past it, in bytes.
const MOST: u32 = MOST_PAYLOAD.0 as u32 + BESIDE_PAYLOAD;
/// How long it may take to throw a session away.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is known of a session between its connections.
#[derive(Debug, Default)]
pub struct Session {
    /// The largest packet that came, if it was larger than is read.
    largest: AtomicU32,
    /// It cannot be taken up again.
    is_lost: AtomicBool,
}

impl Session {
    /// The largest packet that a connection has to read, where `usual` is what the settings say.
    pub(super) fn max_incoming(&self, usual: u32) -> u32 {
        usual.max(self.largest.load(Ordering::Relaxed))
    }

    /// Notes what a connection ended with; what that means, for a person.
    pub(super) fn note(&self, stuck: Stuck) -> String {
        match stuck {
            Stuck::TooLarge(size) if size <= MOST => {
                self.largest.fetch_max(size, Ordering::Relaxed);
                format!("the broker sent a packet of {size} bytes, which the next connection reads and leaves out")
            }
            Stuck::TooLarge(size) => {
                self.is_lost.store(true, Ordering::Relaxed);
                format!(
                    "the broker sent a packet of {size} bytes, and at most {MOST} can be read: its session is given up, \
                     with what the broker kept"
                )
            }
            Stuck::Release(packet) => {
                self.is_lost.store(true, Ordering::Relaxed);
                format!(
                    "the broker releases message {packet} with QoS 2, which another client took: its session is given \
                     up, with what the broker kept"
                )
            }
        }
    }

    /// Throws the session away if it cannot be taken up again; true if it was.
    ///
    /// # Errors
    /// Why that did not come about; it is tried again.
    pub(super) async fn renew(&self, options: &Options) -> Result<bool, String> {
        if !self.is_lost.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let mut connection = Connection::open(&Options { session: 0, ..options.clone() });
        let answer = timeout(PATIENCE, connection.events.recv()).await;
        match answer {
            Ok(Some(Event::Connected(_))) => {}
            Ok(Some(Event::Closed(why))) => return Err(why),
            other => return Err(format!("got {other:?}, expected CONNACK")),
        }
        connection.disconnect().await;
        self.is_lost.store(false, Ordering::Relaxed);
        Ok(true)
    }
}

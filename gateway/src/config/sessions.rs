//! The keys of the table `mqtt` about what is kept of clients that are away.

use std::time::Duration;

use weir_protocol::settings::{ByteSize, Period, SettingsError, Source};

use super::{Mqtt, within};
use crate::{retained, sessions};

/// Packet ids at QoS 2 that a session has room for at least, because clients of 3.1.1 are told of no bound.
const OPEN_IDS: usize = 1000;

impl Mqtt {
    pub(super) fn check_sessions(&self, source: &Source) -> Result<(), SettingsError> {
        within(source, "mqtt.sessions", &self.sessions, 0..=10_000_000)?;
        let bytes = ByteSize(16 << 10)..=ByteSize::mib(16);
        within(source, "mqtt.session_bytes", &self.session_bytes, bytes)?;
        let bytes = ByteSize::mib(1)..=ByteSize::mib(64 * 1024);
        within(source, "mqtt.sessions_bytes", &self.sessions_bytes, bytes.clone())?;
        if let Some(expiry) = &self.session_expiry {
            within(source, "mqtt.session_expiry", expiry, Period::secs(1)..=Period::secs(100 * 366 * 86_400))?;
        }
        within(source, "mqtt.retained", &self.retained, 0..=10_000_000)?;
        within(source, "mqtt.retained_bytes", &self.retained_bytes, bytes)
    }

    /// As sessions take them.
    pub fn session_options(&self) -> sessions::Options {
        let seconds = |expiry: Duration| u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX);
        sessions::Options {
            sessions: *self.sessions.get_ref() as usize,
            session_bytes: self.session_bytes.get_ref().0 as usize,
            sessions_bytes: self.sessions_bytes.get_ref().0 as usize,
            expiry_max: self.session_expiry.as_ref().map_or(u32::MAX, |expiry| seconds(expiry.get_ref().0)),
            open_ids: usize::from(*self.receive_maximum.get_ref()).max(OPEN_IDS),
            ..sessions::Options::default()
        }
    }

    /// As retained messages take them.
    pub fn retained_options(&self) -> retained::Options {
        retained::Options {
            messages: *self.retained.get_ref() as usize,
            bytes: self.retained_bytes.get_ref().0 as usize,
        }
    }
}

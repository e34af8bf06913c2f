//! Since when descriptions are awaited, beyond the end of a connection: on a link that breaks every few seconds each
//! connection would else wait from the beginning, and the batch in front would never come through.
//!
//! Bounded by [`MAX_WAITED`]; what came first is forgotten first, and is then waited for once more.

use std::collections::VecDeque;
use std::time::Duration;

use weir_protocol::{DeviceId, SchemaHash};

use super::Sender;

/// The most descriptions that are remembered.
const MAX_WAITED: usize = 1024;
/// Whoever comes back is asked again, and gets at least this long to answer.
const LEAST: Duration = Duration::from_secs(1);

/// What ended connections waited for, and until when.
#[derive(Debug, Default)]
pub(crate) struct Waited {
    known: VecDeque<(Sender, DeviceId, SchemaHash, Duration)>,
}

impl Waited {
    /// A connection ended that waited until `deadline`, on the monotonic clock.
    pub(crate) fn note(&mut self, sender: Sender, device: DeviceId, schema: SchemaHash, deadline: Duration) {
        self.known.retain(|known| (&known.0, known.1, known.2) != (&sender, device, schema));
        if self.known.len() == MAX_WAITED {
            self.known.pop_front();
        }
        self.known.push_back((sender, device, schema, deadline));
    }

    /// How long to wait at `now`; `full` for what nobody waited for yet.
    pub(crate) fn wait(
        &self,
        sender: &Sender,
        device: DeviceId,
        schema: SchemaHash,
        now: Duration,
        full: Duration,
    ) -> Duration {
        let known = self.known.iter().find(|known| (&known.0, known.1, known.2) == (sender, device, schema));
        known.map_or(full, |known| known.3.saturating_sub(now).max(LEAST).min(full))
    }
}

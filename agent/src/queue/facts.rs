//! A running queue in numbers, for whoever asks how it is.

use serde::{Deserialize, Serialize};

use super::Queue;

/// The queue now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Which life of the queue this is.
    pub incarnation: String,
    /// Records committed that the gateway is not known to have.
    pub unshipped: u64,
    /// The offset that the next record takes.
    pub next_offset: u64,
    /// Bytes on disk.
    pub allocated: u64,
    /// The most bytes on disk.
    pub cap: u64,
    /// What happens when it is full.
    pub policy: String,
    /// Sequences in claims that wait beside the log.
    pub claimed: u64,
    /// Age of the oldest record that the gateway is not known to have, in milliseconds.
    pub oldest_unshipped_ms: Option<i64>,
}

impl Queue {
    /// The queue now; `now_ms` is in milliseconds since 1970. Reads one record.
    pub fn facts(&self, now_ms: i64) -> Facts {
        let reader = self.reader();
        let (start, end) = (reader.start_offset(), reader.end_offset());
        let state = self.state();
        let state = state.lock();
        let first = state.first_unshipped(start).min(end);
        let unshipped = state.shipped.gaps(first..end).map(|gap| gap.end - gap.start).sum();
        let incarnation = state.incarnation.to_string();
        let claimed = state.claims.sequences();
        drop(state);
        let oldest = (first < end).then(|| reader.read(first, 1).ok()).flatten();
        let oldest = oldest.as_ref().and_then(|chunk| chunk.records().flatten().next().map(|r| r.timestamp_ms));
        Facts {
            incarnation,
            unshipped,
            next_offset: end,
            allocated: reader.allocated(),
            cap: self.options().cap,
            policy: self.options().policy.as_str().to_owned(),
            claimed,
            oldest_unshipped_ms: oldest.map(|at| now_ms.saturating_sub(at)),
        }
    }
}

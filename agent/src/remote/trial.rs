//! Whether new settings work: something was committed to the queue, and the gateway acknowledged something, since they
//! took over.
//!
//! There always is something to commit and to acknowledge: that the settings took over is a reading itself, which is
//! put after this begins to look.

use std::time::Duration;

use tokio::time::Instant;

use crate::counters::{Counters, Event};

/// Time between two looks.
pub(super) const LOOK: Duration = Duration::from_millis(200);

/// Settings on trial, since they took over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    ends_at: Instant,
    committed: u64,
    acknowledged: u64,
}

/// How a trial stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stands {
    Open,
    Works,
    Failed,
}

impl Trial {
    pub(super) fn begin(counters: &Counters, patience: Duration) -> Self {
        let (committed, acknowledged) = progress(counters);
        Self { ends_at: Instant::now() + patience, committed, acknowledged }
    }

    pub(super) fn stands(&self, counters: &Counters) -> Stands {
        let (committed, acknowledged) = progress(counters);
        if committed > self.committed && acknowledged > self.acknowledged {
            Stands::Works
        } else if Instant::now() >= self.ends_at {
            Stands::Failed
        } else {
            Stands::Open
        }
    }

    /// What did not come.
    pub(super) fn missing(&self, counters: &Counters) -> &'static str {
        match progress(counters) {
            (committed, _) if committed == self.committed => "the queue took nothing in time",
            _ => "the gateway acknowledged nothing in time",
        }
    }
}

fn progress(counters: &Counters) -> (u64, u64) {
    (counters.get(Event::ReadingsAccepted), counters.get(Event::UnitsShipped))
}

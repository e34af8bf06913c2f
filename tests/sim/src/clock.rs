//! Wall clocks that jump when they are told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use weir_protocol::Timestamp;
use weir_protocol::time::WallClock;

/// When every world begins: 2026-01-01.
const BEGIN: i64 = 1_767_225_600_000_000;

/// The wall clock of one machine; clones are the same clock.
#[derive(Clone)]
pub(crate) struct Clock(Arc<AtomicI64>);

impl Clock {
    /// A clock that is right.
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(BEGIN)))
    }

    /// It goes on.
    pub(crate) fn pass(&self, micros: u64) {
        self.jump(micros as i64);
    }

    /// Somebody sets it, forwards or back.
    pub(crate) fn jump(&self, micros: i64) {
        self.0.fetch_add(micros, Ordering::Relaxed);
    }

    /// What it shows.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

impl WallClock for Clock {
    fn now(&self) -> Timestamp {
        Clock::now(self)
    }
}

//! What the agent takes from the world outside, as parameters.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use weir_protocol::time::{SystemClock, WallClock};
use weir_storage::{Fs, RealFs};

/// The world outside. Durations come from tokio's clock, which tests can pause.
pub struct Environment {
    /// Where the queue is kept.
    pub fs: Arc<dyn Fs>,
    /// The time that readings of this machine and records get.
    pub clock: Arc<dyn WallClock>,
    /// Whether that clock is disciplined, as the kernel says.
    pub is_synchronised: fn() -> bool,
    /// For restarts, the incarnation and jitter.
    pub random: StdRng,
}

impl Environment {
    /// The real one.
    pub fn real() -> Self {
        let is_synchronised = crate::source::clock::is_synchronised;
        Self { fs: Arc::new(RealFs), clock: Arc::new(SystemClock), is_synchronised, random: StdRng::from_os_rng() }
    }

    /// Randomness of its own for a part.
    pub(crate) fn fork_random(&mut self) -> StdRng {
        StdRng::from_seed(self.random.random())
    }
}
